//! How far a partition is replicated.

use std::collections::BTreeMap;

use ottla_log::OffsetMetadata;
use ottla_types::{NodeId, Offset};

/// What the leader knows of a follower's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// Where the follower's log ends; [`Offset::UNKNOWN`] until its first fetch in this leader epoch.
    pub log_end_offset: OffsetMetadata,
}

impl Default for FollowerState {
    fn default() -> FollowerState {
        FollowerState { log_end_offset: OffsetMetadata::offset_only(Offset::UNKNOWN) }
    }
}

/// The offset up to which every in-sync replica has the log: the smallest of their ends. None while some member of
/// the ISR has not told its end in this leader epoch.
pub fn replicated_up_to(
    local: NodeId,
    log_end: OffsetMetadata,
    isr: &[NodeId],
    followers: &BTreeMap<NodeId, FollowerState>,
) -> Option<OffsetMetadata> {
    let mut lowest = log_end;
    for member in isr.iter().filter(|member| **member != local) {
        let end = followers.get(member)?.log_end_offset;
        if end.message_offset == Offset::UNKNOWN {
            return None;
        }
        if end.message_offset < lowest.message_offset {
            lowest = end;
        }
    }
    Some(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> OffsetMetadata {
        OffsetMetadata::offset_only(Offset(offset))
    }

    fn check(isr: &[i32], ends: &[(i32, i64)], expected: Option<i64>) {
        let isr: Vec<_> = isr.iter().copied().map(NodeId).collect();
        let followers =
            ends.iter().map(|(id, end)| (NodeId(*id), FollowerState { log_end_offset: at(*end) })).collect();
        let found = replicated_up_to(NodeId(1), at(10), &isr, &followers);
        assert_eq!(found.map(|offset| offset.message_offset.0), expected);
    }

    #[test]
    fn the_slowest_member_of_the_isr_decides() {
        check(&[1], &[], Some(10));
        check(&[1, 2, 3], &[(2, 7), (3, 9)], Some(7));
        check(&[1, 3], &[(2, 7), (3, 9)], Some(9));
        check(&[1, 2], &[(2, 12)], Some(10));
        check(&[1, 2], &[(2, -1)], None);
        check(&[1, 2], &[], None);
    }
}
