use std::sync::Arc;

use tracing::info;

use super::draft::Draft;
use super::member::MemberState;
use crate::group::shard::{GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::group::state::StoredGroup;

/// What a member may take too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ConsumerTimer {
    /// To be heard of.
    Session,
    /// To give up what it must.
    Rebalance,
    /// To join again, for a member of the classic protocol that was told to.
    Join,
    /// To ask for its assignment, for a member of the classic protocol that has joined.
    Sync,
}

/// How long after a removal that could not be written it is tried again, in milliseconds.
const RETRY_MS: i64 = 500;

impl ConsumerTimer {
    pub(crate) fn of(self, group_id: &Arc<str>, member_id: &Arc<str>) -> GroupTimer {
        GroupTimer::Consumer(self, Arc::clone(group_id), Arc::clone(member_id))
    }
}

impl GroupShard {
    /// The member is removed, if it still is in the state that there is a limit for.
    pub(crate) fn consumer_timer_fired(
        &mut self,
        turn: &mut GroupTurn<'_>,
        timer: ConsumerTimer,
        group_id: &Arc<str>,
        member_id: &Arc<str>,
    ) {
        let Some(StoredGroup::Consumer(group)) = turn.state.groups.get(group_id) else { return };
        let Some(member) = group.member(member_id).cloned() else { return };
        let reason = match timer {
            ConsumerTimer::Session => "its session expired",
            ConsumerTimer::Rebalance if member.current.state == MemberState::UnrevokedPartitions => {
                "it did not give partitions up in time"
            }
            ConsumerTimer::Join if member.uses_classic_protocol() => "it did not join again in time",
            ConsumerTimer::Sync if member.uses_classic_protocol() => "it did not sync in time",
            _ => return,
        };
        info!(group = %group_id, member = %member_id, reason, "a member is removed");
        let draft = Draft::new(Arc::clone(group_id), Arc::clone(group));
        self.remove_consumer_members(turn, draft, &[member]);
        turn.on_completion(GroupCompletion::ConsumerRemoved(timer.of(group_id, member_id)));
    }

    /// A removal that could not be written is tried again; unless the member is back and has a timer of its own by now.
    pub(crate) fn consumer_removal_failed(turn: &mut GroupTurn<'_>, timer: GroupTimer) {
        turn.schedule_if_absent(timer, RETRY_MS);
    }

    pub(super) fn cancel_consumer_timers(
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        member_id: &Arc<str>,
    ) {
        for timer in
            [ConsumerTimer::Session, ConsumerTimer::Rebalance, ConsumerTimer::Join, ConsumerTimer::Sync]
        {
            turn.cancel(timer.of(group_id, member_id));
        }
    }

    /// Gives the members of all groups a full session, and those that are to give partitions up their time for it.
    pub(crate) fn revive_consumer_groups(&mut self, turn: &mut GroupTurn<'_>) {
        for (group_id, stored) in &turn.state.groups {
            if let StoredGroup::Consumer(group) = stored {
                self.start_consumer_sessions(turn, group_id, group);
            }
        }
    }

    pub(super) fn start_consumer_sessions(
        &self,
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        group: &super::group::ConsumerGroup,
    ) {
        let session_timeout_ms = self.consumer_settings(group_id).session_timeout_ms;
        for member in group.members() {
            let timeout_ms =
                member.classic().map_or(session_timeout_ms, |classic| classic.session_timeout_ms);
            let member_id = &member.member_id;
            turn.schedule(ConsumerTimer::Session.of(group_id, member_id), i64::from(timeout_ms));
            if member.current.state == MemberState::UnrevokedPartitions && !member.uses_classic_protocol() {
                let timeout_ms = i64::from(member.metadata.rebalance_timeout_ms);
                turn.schedule(ConsumerTimer::Rebalance.of(group_id, member_id), timeout_ms);
            }
        }
    }
}
