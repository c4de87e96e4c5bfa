//! From one generation to the next: members join, the leader is told who they are, and all wait for its assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_wire::records::GroupMetadataValue;
use tracing::{debug, info, warn};

use super::group::{ClassicGroup, ClassicState, JoinPhase};
use crate::group::config::GroupCoordinatorConfig;
use crate::group::errors;
use crate::group::record::GroupRecord;
use crate::group::shard::{GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::group::state::StoredGroup;

impl GroupShard {
    /// Brings the groups that had members back to life, each member with a full session before it.
    pub(crate) fn revive_groups(&mut self, turn: &mut GroupTurn<'_>) {
        for (group_id, stored) in &turn.state.groups {
            if let StoredGroup::Classic(stored) = stored {
                self.revive_group(turn, group_id, stored);
            }
        }
    }

    pub(crate) fn revive_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        stored: &GroupMetadataValue,
    ) {
        if stored.members.is_empty() {
            return;
        }
        let mut group = ClassicGroup::from_stored(Arc::clone(group_id), stored);
        for member in group.members() {
            let timer = GroupTimer::Session(Arc::clone(group_id), member.member_id.clone());
            turn.schedule(timer, i64::from(member.session_timeout_ms));
        }
        if group.members().len() > self.config.group_max_size {
            prepare(&mut group, &self.config, turn, "the loaded group is over its size");
        } else if stored.leader.is_none() {
            prepare(
                &mut group,
                &self.config,
                turn,
                "the group became a classic one, and has not rebalanced since",
            );
        }
        self.live.insert(Arc::clone(group_id), group);
    }

    pub(crate) fn join_phase_over(&mut self, turn: &mut GroupTurn<'_>, group_id: &str) {
        let Some(group) = self.live.get_mut(group_id) else { return };
        match group.join_phase {
            JoinPhase::Initial { delay_ms, remaining_ms } if group.new_member_added && remaining_ms != 0 => {
                group.new_member_added = false;
                let next_delay_ms = self.config.group_initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = remaining_ms.saturating_sub(delay_ms).max(0);
                group.join_phase = JoinPhase::Initial { delay_ms: next_delay_ms, remaining_ms };
                turn.schedule(GroupTimer::Join(Arc::clone(&group.group_id)), i64::from(next_delay_ms));
            }
            _ => complete_join(group, turn),
        }
        self.forget_if_idle(group_id);
    }

    pub(crate) fn sync_phase_over(&mut self, turn: &mut GroupTurn<'_>, group_id: &str) {
        let Some(group) = self.live.get_mut(group_id) else { return };
        if group.pending_syncs.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut group.pending_syncs) {
            remove_member(group, turn, &member_id);
        }
        prepare(group, &self.config, turn, "members did not sync in time");
        self.forget_if_idle(group_id);
    }

    pub(crate) fn session_expired(&mut self, turn: &mut GroupTurn<'_>, group_id: &str, member_id: &str) {
        let Some(group) = self.live.get_mut(group_id) else { return };
        if group.pending_joins.contains(member_id) {
            info!(group = group_id, member = member_id, "a member never used the id that it was given");
            group.remove(member_id);
            if group.is_in(ClassicState::PreparingRebalance) && group.has_all_members_joined() {
                complete_join(group, turn);
            }
        } else if group.member(member_id).is_some_and(|member| !member.is_kept_alive_by_request()) {
            info!(group = group_id, member = member_id, "a member's session has expired");
            remove_member(group, turn, member_id);
            after_removal(group, &self.config, turn, "a member's session expired");
        }
        self.forget_if_idle(group_id);
    }

    /// What the log was not told of groups that have nobody left: a group that the log believes to have members never expires.
    pub(crate) fn tell_of_emptied_groups(&mut self, turn: &mut GroupTurn<'_>) {
        let untold = |group: &&mut ClassicGroup| group.is_in(ClassicState::Empty) && group.is_ahead_of_log;
        for group in self.live.values_mut().filter(untold) {
            write_emptied(group, turn);
        }
    }

    /// The record of a group that had nobody left is committed, or failed to be; then it is written with the next look for
    /// what has expired.
    pub(crate) fn emptied(&mut self, group_id: &str, result: Result<(), ErrorCode>) {
        let Some(group) = self.live.get_mut(group_id) else { return };
        match result {
            Ok(()) => group.is_ahead_of_log &= !group.is_in(ClassicState::Empty),
            Err(code) => warn!(group = group_id, ?code, "the log was not told that the group is empty"),
        }
        self.forget_if_idle(group_id);
    }
}

/// Lets the member's session begin anew.
pub(crate) fn keep_alive(group: &ClassicGroup, turn: &mut GroupTurn<'_>, member_id: &str) {
    if let Some(member) = group.member(member_id) {
        let timer = GroupTimer::Session(Arc::clone(&group.group_id), member_id.to_owned());
        turn.schedule(timer, i64::from(member.session_timeout_ms));
    }
}

/// Takes a member out and tells its requests so.
pub(crate) fn remove_member(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>, member_id: &str) {
    turn.cancel(GroupTimer::Session(Arc::clone(&group.group_id), member_id.to_owned()));
    let Some(mut member) = group.remove(member_id) else { return };
    if let Some(responder) = member.awaiting_join.take() {
        turn.reply(responder, errors::join(ErrorCode::UnknownMemberId, ""));
    }
    if let Some(responder) = member.awaiting_sync.take() {
        turn.reply(responder, errors::sync(ErrorCode::UnknownMemberId));
    }
}

/// Does what the loss of a member makes necessary.
pub(crate) fn after_removal(
    group: &mut ClassicGroup,
    config: &GroupCoordinatorConfig,
    turn: &mut GroupTurn<'_>,
    reason: &str,
) {
    match group.state() {
        ClassicState::Stable | ClassicState::CompletingRebalance => prepare(group, config, turn, reason),
        ClassicState::PreparingRebalance if group.has_all_members_joined() => complete_join(group, turn),
        _ => {}
    }
}

/// Begins a rebalance, or goes on with the one that is under way.
pub(crate) fn prepare_or_complete_join(
    group: &mut ClassicGroup,
    config: &GroupCoordinatorConfig,
    turn: &mut GroupTurn<'_>,
    reason: &str,
) {
    if group.is_in(ClassicState::PreparingRebalance) {
        complete_join_if_all_joined(group, turn);
    } else {
        prepare(group, config, turn, reason);
    }
}

/// Ends the join phase once nobody is missing. The first rebalance of a group waits out its delay all the same.
pub(crate) fn complete_join_if_all_joined(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>) {
    if group.is_in(ClassicState::PreparingRebalance)
        && group.previous_state() != ClassicState::Empty
        && group.has_all_members_joined()
    {
        complete_join(group, turn);
    }
}

/// Asks all members to join the next generation.
pub(crate) fn prepare(
    group: &mut ClassicGroup,
    config: &GroupCoordinatorConfig,
    turn: &mut GroupTurn<'_>,
    reason: &str,
) {
    if group.is_in(ClassicState::CompletingRebalance) {
        reset_assignments(group, turn, ErrorCode::RebalanceInProgress);
    }
    group.pending_syncs.clear();
    turn.cancel(GroupTimer::Sync(Arc::clone(&group.group_id)));
    let is_initial = group.is_in(ClassicState::Empty);
    info!(group = %group.group_id, generation = group.generation_id, reason, "rebalancing");
    group.transition(ClassicState::PreparingRebalance, turn.now.wall);
    if is_initial {
        let delay_ms = config.group_initial_rebalance_delay_ms;
        let remaining_ms = group.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
        group.join_phase = JoinPhase::Initial { delay_ms, remaining_ms };
        group.new_member_added = false;
        turn.schedule(GroupTimer::Join(Arc::clone(&group.group_id)), i64::from(delay_ms));
    } else if group.has_all_members_joined() {
        complete_join(group, turn);
    } else {
        wait_for_joins(group, turn);
    }
}

fn wait_for_joins(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>) {
    group.join_phase = JoinPhase::Rebalance;
    let timer = GroupTimer::Join(Arc::clone(&group.group_id));
    turn.schedule(timer, i64::from(group.rebalance_timeout_ms()));
}

/// Begins the next generation with those who have joined, and with the static members that have not: they may be on
/// their way back.
pub(crate) fn complete_join(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>) {
    if !group.is_in(ClassicState::PreparingRebalance) {
        return;
    }
    turn.cancel(GroupTimer::Join(Arc::clone(&group.group_id)));
    let is_late = |member: &&super::member::Member| member.awaiting_join.is_none() && !member.is_static();
    let late: Vec<String> = group.members().filter(is_late).map(|member| member.member_id.clone()).collect();
    for member_id in late {
        info!(group = %group.group_id, member = member_id, "a member did not join in time");
        remove_member(group, turn, &member_id);
    }
    if !group.elect_joined_leader() && group.members().len() > 0 {
        warn!(group = %group.group_id, "no member has joined: waiting on");
        wait_for_joins(group, turn);
        return;
    }
    group.init_next_generation(turn.now.wall);
    if group.is_in(ClassicState::Empty) {
        info!(group = %group.group_id, generation = group.generation_id, "the group is empty");
        write_emptied(group, turn);
    } else {
        answer_joins(group, turn);
    }
}

fn write_emptied(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>) {
    write(group, turn, &BTreeMap::new());
    turn.on_completion(GroupCompletion::Emptied { group_id: Arc::clone(&group.group_id) });
}

fn answer_joins(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>) {
    info!(
        group = %group.group_id, generation = group.generation_id, members = group.members().len(),
        "a generation begins"
    );
    let member_ids: Vec<String> = group.members().map(|member| member.member_id.clone()).collect();
    for member_id in member_ids {
        let response = joined(group, &member_id);
        if let Some(responder) = group.take_awaiting_join(&member_id) {
            turn.reply(responder, response);
        }
        keep_alive(group, turn, &member_id);
        if let Some(member) = group.member_mut(&member_id) {
            member.is_new = false;
        }
        group.pending_syncs.insert(member_id);
    }
    let timer = GroupTimer::Sync(Arc::clone(&group.group_id));
    turn.schedule(timer, i64::from(group.rebalance_timeout_ms()));
}

/// The member's part in the current generation. The leader is told who the members are.
pub(crate) fn joined(group: &ClassicGroup, member_id: &str) -> JoinGroupResponse {
    let is_leader = group.is_leader(member_id);
    JoinGroupResponse {
        generation_id: group.generation_id,
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol_name.clone(),
        leader: group.leader.clone().unwrap_or_default(),
        member_id: member_id.to_owned(),
        members: if is_leader { group.joined_members() } else { Vec::new() },
        ..JoinGroupResponse::default()
    }
}

/// Records the group with these assignments.
pub(crate) fn write(
    group: &mut ClassicGroup,
    turn: &mut GroupTurn<'_>,
    assignments: &BTreeMap<String, Bytes>,
) {
    group.is_ahead_of_log = true;
    let value = Some(group.to_stored(assignments));
    turn.record(GroupRecord::GroupMetadata { group_id: group.group_id.to_string(), value });
}

/// Takes all assignments back and tells those who wait for one why.
pub(crate) fn reset_assignments(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>, code: ErrorCode) {
    for member in group.members_mut() {
        member.assignment = Bytes::new();
    }
    answer_syncs(group, turn, |_, _| errors::sync(code));
}

/// Answers all who wait for an assignment, and lets their sessions begin anew.
pub(crate) fn answer_syncs(
    group: &mut ClassicGroup,
    turn: &mut GroupTurn<'_>,
    response: impl Fn(&ClassicGroup, &Bytes) -> SyncGroupResponse,
) {
    let take = |member: &mut super::member::Member| {
        let responder = member.awaiting_sync.take()?;
        Some((member.member_id.clone(), member.assignment.clone(), responder))
    };
    let waiting: Vec<_> = group.members_mut().filter_map(take).collect();
    for (member_id, assignment, responder) in waiting {
        turn.reply(responder, response(group, &assignment));
        keep_alive(group, turn, &member_id);
    }
    debug!(group = %group.group_id, "all who waited for an assignment are answered");
}
