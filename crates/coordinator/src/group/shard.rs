//! One partition of `__consumer_offsets` as a state machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::Offset;
use ottla_wire::ErrorCode;

use super::classic::{ClassicGroup, StaticReplacement};
use super::config::GroupCoordinatorConfig;
use super::record::{self, GroupRecord};
use super::state::{GroupState, StoredGroup};
use crate::runtime::{DecodeError, EncodedRecord, Producer, Shard, Turn};

pub(crate) type GroupTurn<'a> = Turn<'a, GroupShard>;

pub(crate) struct GroupShard {
    pub(super) config: Arc<GroupCoordinatorConfig>,
    /// Classic groups with members, or with somebody about to be one.
    pub(super) live: BTreeMap<Arc<str>, ClassicGroup>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum GroupTimer {
    /// Time to look for offsets and groups that have expired.
    Expiry,
    /// The join phase of the group is over.
    Join(Arc<str>),
    /// All members should have asked for their assignment.
    Sync(Arc<str>),
    /// Nothing was heard of the member for too long.
    Session(Arc<str>, String),
}

pub(crate) enum GroupCompletion {
    /// The record of a new group.
    Created {
        group_id: Arc<str>,
    },
    /// The leader's assignment for a generation.
    Assigned {
        group_id: Arc<str>,
        generation_id: i32,
        assignments: BTreeMap<String, Bytes>,
    },
    /// The group without members.
    Emptied {
        group_id: Arc<str>,
    },
    StaticMemberReplaced(Box<StaticReplacement>),
}

/// A group as requests find it.
pub(crate) enum Found<'a> {
    Live(&'a mut ClassicGroup),
    /// A classic group without members.
    Idle,
    Foreign(&'a super::state::ForeignGroup),
    Nothing,
}

impl GroupShard {
    pub(crate) fn new(config: Arc<GroupCoordinatorConfig>) -> GroupShard {
        GroupShard { config, live: BTreeMap::new() }
    }

    pub(crate) fn find<'a>(&'a mut self, state: &'a GroupState, group_id: &str) -> Found<'a> {
        if let Some(group) = self.live.get_mut(group_id) {
            return Found::Live(group);
        }
        match state.groups.get(group_id) {
            Some(StoredGroup::Foreign(group)) => Found::Foreign(group),
            Some(_) => Found::Idle,
            None => Found::Nothing,
        }
    }

    /// Takes the group from memory if the log knows all there is to know of it.
    pub(crate) fn forget_if_idle(&mut self, group_id: &str) {
        if self.live.get(group_id).is_some_and(ClassicGroup::is_idle) {
            self.live.remove(group_id);
        }
    }
}

impl Shard for GroupShard {
    type State = GroupState;
    type Record = GroupRecord;
    type Timer = GroupTimer;
    type Completion = GroupCompletion;

    fn encode(record: &GroupRecord) -> Result<EncodedRecord, ErrorCode> {
        record::encode(record)
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        record::decode(key, value)
    }

    fn replay(state: &mut GroupState, offset: Offset, producer: Option<Producer>, record: GroupRecord) {
        state.replay(offset, producer, record);
    }

    fn replay_end_transaction(state: &mut GroupState, producer: Producer, committed: bool) {
        state.offsets.replay_end_transaction(producer, committed);
    }

    fn loaded(&mut self, turn: &mut GroupTurn<'_>) {
        turn.schedule(GroupTimer::Expiry, self.config.offsets_retention_check_interval_ms);
        self.revive_groups(turn);
    }

    fn timer_fired(&mut self, turn: &mut GroupTurn<'_>, timer: GroupTimer) {
        match timer {
            GroupTimer::Expiry => self.expire(turn),
            GroupTimer::Join(group_id) => self.join_phase_over(turn, &group_id),
            GroupTimer::Sync(group_id) => self.sync_phase_over(turn, &group_id),
            GroupTimer::Session(group_id, member_id) => self.session_expired(turn, &group_id, &member_id),
        }
    }

    fn completed(
        &mut self,
        turn: &mut GroupTurn<'_>,
        completion: GroupCompletion,
        result: Result<(), ErrorCode>,
    ) {
        match completion {
            GroupCompletion::Created { group_id } => self.created(turn, &group_id, result),
            GroupCompletion::Assigned { group_id, generation_id, assignments } => {
                self.assigned(turn, &group_id, generation_id, assignments, result);
            }
            GroupCompletion::Emptied { group_id } => self.emptied(&group_id, result),
            GroupCompletion::StaticMemberReplaced(replacement) => {
                self.static_member_replaced(turn, *replacement, result);
            }
        }
    }
}
