//! Consumers that read from the nearest replica (KIP-392): whom the leader sends where, and how followers come to know what
//! consumers may see.

use ottla_types::{NodeId, Offset};

use super::leading::Leading;
use super::{Partition, Role, State};
use crate::replica_selector::{Candidate, FetchClient, ReplicaSelector, most_caught_up};

impl Partition {
    /// The follower that a consumer should read from instead of this leader; none if it is to read here.
    pub(super) fn preferred_read_replica(
        &self,
        state: &State,
        client: &FetchClient,
        offset: Offset,
    ) -> Option<NodeId> {
        let Role::Leader(leading) = &state.role else { return None };
        let rack = match self.rules.selector {
            ReplicaSelector::Leader => return None,
            ReplicaSelector::RackAware => client.rack.as_deref()?,
        };
        let is_near = |node| self.rules.brokers.rack(node, &client.listener).as_deref() == Some(rack);
        if is_near(self.local) {
            return None;
        }
        let having = leading.in_sync_having(state, offset);
        most_caught_up(having.into_iter().filter(|candidate| is_near(candidate.node)))
    }

    /// Whether a follower that consumers may read from does not know the high watermark yet: it is told at once, for those
    /// who wait there.
    pub(crate) fn has_high_watermark_for(&self, follower: NodeId) -> bool {
        if self.rules.selector == ReplicaSelector::Leader {
            return false;
        }
        let high_watermark = self.log().high_watermark();
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else { return false };
        leading.told_high_watermark(follower).is_some_and(|told| told < high_watermark)
    }

    /// A follower is told the high watermark with an answer.
    pub(crate) fn tell_high_watermark(&self, follower: NodeId, high_watermark: Offset) {
        if self.rules.selector == ReplicaSelector::Leader {
            return;
        }
        if let Role::Leader(leading) = &self.state.read().role {
            leading.tell_high_watermark(follower, high_watermark);
        }
    }
}

impl Leading {
    /// The followers that have `offset`. One that is not in sync may lag behind for good, and its readers with it.
    fn in_sync_having(&self, state: &State, offset: Offset) -> Vec<Candidate> {
        let followers = self.followers.lock();
        let in_sync = followers.iter().filter(|(id, follower)| {
            state.assignment.isr.contains(id)
                && follower.log_start_offset <= offset
                && offset <= follower.log_end_offset.message_offset
        });
        in_sync
            .map(|(id, follower)| Candidate {
                log_end_offset: follower.log_end_offset.message_offset,
                last_caught_up: follower.last_caught_up(),
                node: *id,
            })
            .collect()
    }

    fn told_high_watermark(&self, follower: NodeId) -> Option<Offset> {
        self.followers.lock().get(&follower).map(|follower| follower.told_high_watermark)
    }

    fn tell_high_watermark(&self, follower: NodeId, high_watermark: Offset) {
        if let Some(follower) = self.followers.lock().get_mut(&follower) {
            follower.told_high_watermark = high_watermark;
        }
    }
}
