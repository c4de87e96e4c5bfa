//! From which replica a consumer should fetch (KIP-392).

use std::sync::Arc;

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset};

/// `replica.selector.class`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// From the leader.
    #[default]
    Leader,
    /// From one in the consumer's rack, if there is one and the leader is elsewhere.
    RackAware,
}

/// What is known of a consumer that reads from followers too (Fetch since version 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchClient {
    /// None if it does not tell.
    pub rack: Option<Arc<str>>,
    /// By which it has come, and reaches other brokers.
    pub listener: Arc<str>,
    /// A tool that compares replicas (replica id -2): it asks each.
    pub compares_replicas: bool,
}

impl FetchClient {
    /// Whether it may mean a follower when it asks one. Who tells neither rack nor leader epoch was never sent there, and takes
    /// for the leader what led once: that log may have been cut off.
    pub(crate) fn may_mean_a_follower(&self, knows: LeaderEpoch) -> bool {
        self.compares_replicas || self.rack.is_some() || knows != LeaderEpoch::NONE
    }
}

/// An in-sync follower that has what the consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub log_end_offset: Offset,
    /// When it last had all that the leader had.
    pub last_caught_up: Option<MonoMs>,
    pub node: NodeId,
}

/// The one that lacks the least of the leader's log; of those, the one that had it all most recently.
pub(crate) fn most_caught_up(candidates: impl IntoIterator<Item = Candidate>) -> Option<NodeId> {
    candidates.into_iter().max().map(|candidate| candidate.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(candidates: &[(i64, Option<u64>, i32)], expected: Option<i32>) {
        let candidate = |(end, caught_up, node): &(i64, Option<u64>, i32)| Candidate {
            log_end_offset: Offset(*end),
            last_caught_up: caught_up.map(MonoMs),
            node: NodeId(*node),
        };
        assert_eq!(most_caught_up(candidates.iter().map(candidate)), expected.map(NodeId));
    }

    #[test]
    fn who_lacks_least_is_read_from() {
        check(&[], None);
        check(&[(10, Some(5), 1), (11, None, 2), (9, Some(9), 3)], Some(2));
        check(&[(10, Some(5), 1), (10, Some(7), 2), (10, Some(6), 3)], Some(2));
        check(&[(10, Some(5), 1), (10, Some(5), 3), (10, Some(5), 2)], Some(3));
    }
}
