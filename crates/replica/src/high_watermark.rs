//! How far a partition is replicated.

use std::collections::BTreeMap;

use ottla_log::OffsetMetadata;
use ottla_types::{NodeId, Offset};

use crate::follower_state::FollowerState;

/// The offset up to which all that count have the log: the smallest of their ends. None while one of them has not told
/// its end in this leader epoch.
pub fn replicated_up_to(
    log_end: OffsetMetadata,
    followers: &BTreeMap<NodeId, FollowerState>,
    counts: impl Fn(NodeId, &FollowerState) -> bool,
) -> Option<OffsetMetadata> {
    let mut lowest = log_end;
    for (id, follower) in followers {
        let end = follower.log_end_offset;
        if end.message_offset >= lowest.message_offset || !counts(*id, follower) {
            continue;
        }
        if end.message_offset == Offset::UNKNOWN {
            return None;
        }
        lowest = end;
    }
    Some(lowest)
}

#[cfg(test)]
mod tests {
    use ottla_types::MonoMs;

    use super::*;

    fn at(offset: i64) -> OffsetMetadata {
        OffsetMetadata::offset_only(Offset(offset))
    }

    /// Leader is 1, whose log ends at 10.
    fn check(isr: &[i32], ends: &[(i32, i64)], expected: Option<i64>) {
        let state = |end| {
            let mut state = FollowerState::at_start_of_epoch(false, MonoMs(0));
            state.log_end_offset = at(end);
            state
        };
        let followers = ends.iter().map(|(id, end)| (NodeId(*id), state(*end))).collect();
        let found = replicated_up_to(at(10), &followers, |id, _| isr.contains(&id.value()));
        assert_eq!(found.map(|offset| offset.message_offset.0), expected);
    }

    #[test]
    fn the_slowest_of_those_that_count_decides() {
        check(&[1], &[], Some(10));
        check(&[1, 2, 3], &[(2, 7), (3, 9)], Some(7));
        check(&[1, 3], &[(2, 7), (3, 9)], Some(9));
        check(&[1, 2], &[(2, 12)], Some(10));
        check(&[1, 2], &[(2, -1)], None);
        check(&[1, 2, 3], &[(2, 7), (3, -1)], None);
        check(&[1, 2], &[(2, 7), (3, -1)], Some(7));
    }
}
