//! Offsets of groups that nobody uses any more expire, and the groups with the last of them (KIP-211).

use std::sync::Arc;

use ottla_types::{Timestamp, TopicPartition};
use tracing::info;

use super::by_partition::GroupOffsets;
use super::{CommittedOffset, tombstone};
use crate::group::classic::{ClassicGroup, ClassicState};
use crate::group::consumer::removal;
use crate::group::record::GroupRecord;
use crate::group::shard::{GroupShard, GroupTimer, GroupTurn};
use crate::group::state::StoredGroup;

/// From when on an offset's retention counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retention {
    /// The group is in use: its offsets stay.
    Forever,
    SinceCommit,
    /// Since the group became empty.
    Since(Timestamp),
}

impl GroupShard {
    pub(crate) fn expire(&mut self, turn: &mut GroupTurn<'_>) {
        turn.schedule(GroupTimer::Expiry, self.config.offsets_retention_check_interval_ms);
        turn.allow_split();
        let mut tombstones = Vec::new();
        for (group_id, stored) in &turn.state.groups {
            self.expire_group(turn, group_id, stored, &mut tombstones);
        }
        if !tombstones.is_empty() {
            info!(records = tombstones.len(), "offsets and groups have expired");
        }
        for tombstone in tombstones {
            turn.record(tombstone);
        }
        self.tell_of_emptied_groups(turn);
    }

    fn expire_group(
        &self,
        turn: &GroupTurn<'_>,
        group_id: &Arc<str>,
        stored: &StoredGroup,
        tombstones: &mut Vec<GroupRecord>,
    ) {
        let live = self.live.get(group_id);
        let retention = match (live, stored) {
            (Some(group), _) => of_live(group),
            (None, StoredGroup::Simple | StoredGroup::Consumer(_)) => Retention::SinceCommit,
            (None, StoredGroup::Classic(stored)) if stored.protocol_type.is_empty() => Retention::SinceCommit,
            (None, StoredGroup::Classic(stored)) => since(Timestamp(stored.current_state_timestamp)),
            // What its members subscribe to is not known here.
            (None, StoredGroup::Foreign(_) | StoredGroup::Share(_)) => return,
        };
        let offsets = &turn.state.offsets;
        let mut all_expired = true;
        let all = offsets.of_group(group_id).into_iter().flat_map(GroupOffsets::iter);
        for (topic, partition, committed) in all {
            let is_subscribed = match (live, stored) {
                (Some(group), _) => group.is_subscribed_to(topic),
                (None, StoredGroup::Consumer(group)) => group.subscribed().contains(topic),
                (None, _) => false,
            };
            let is_expired = !is_subscribed
                && self.is_expired(retention, committed, turn.now.wall)
                && !offsets.has_pending(group_id, topic, partition);
            if is_expired {
                let partition = TopicPartition::new(Arc::clone(topic), partition);
                tombstones.push(tombstone(group_id, &partition));
            }
            all_expired &= is_expired;
        }
        let is_unused = match stored {
            StoredGroup::Consumer(group) => group.is_empty(),
            _ => live.is_none_or(ClassicGroup::is_idle),
        };
        if !all_expired || !is_unused || offsets.has_open_transactions(group_id) {
            return;
        }
        if let StoredGroup::Consumer(group) = stored {
            tombstones.extend(removal(group_id, group).into_records());
        } else {
            tombstones.push(GroupRecord::GroupMetadata { group_id: group_id.to_string(), value: None });
        }
    }

    fn is_expired(&self, retention: Retention, committed: &CommittedOffset, now: Timestamp) -> bool {
        let since = match retention {
            Retention::Forever => return false,
            Retention::SinceCommit => committed.commit_timestamp,
            Retention::Since(since) => since,
        };
        match committed.expire_timestamp {
            Some(expires) => now >= expires,
            None => now.value().saturating_sub(since.value()) >= self.config.offsets_retention_ms,
        }
    }
}

fn of_live(group: &ClassicGroup) -> Retention {
    match group.state() {
        _ if group.protocol_type.is_none() => Retention::SinceCommit,
        ClassicState::Empty => since(group.state_since()),
        // Topics that a consumer group no longer subscribes to expire while the group goes on.
        ClassicState::Stable if group.subscribed_topics.is_some() => Retention::SinceCommit,
        _ => Retention::Forever,
    }
}

fn since(state_since: Timestamp) -> Retention {
    if state_since == Timestamp::NONE { Retention::SinceCommit } else { Retention::Since(state_since) }
}
