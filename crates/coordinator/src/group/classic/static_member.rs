//! Static members (KIP-345): a client that comes back under its instance id takes the place of its earlier self. Where
//! that changes nothing for the others, there is no rebalance (KIP-814).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::JoinGroupResponse;
use tracing::{info, warn};

use super::group::{ClassicGroup, ClassicState, MemberUpdate};
use super::rebalance::{joined, keep_alive, write};
use crate::group::errors;
use crate::group::shard::{GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::runtime::Responder;

/// Since this version a leader can be told to leave the assignment as it is.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// A static member that got a new id without a rebalance, until that is committed.
#[derive(Debug)]
pub(crate) struct StaticReplacement {
    group_id: Arc<str>,
    old_member_id: String,
    new_member_id: String,
    /// What to return to if it can't be written.
    before: MemberUpdate,
    leader_before: Option<String>,
    api_version: i16,
}

/// Gives the member its new id and what it says now. Answers whether the group must rebalance, or `None` where the
/// generation goes on and only the log has to be told.
pub(super) fn replace(
    group: &mut ClassicGroup,
    turn: &mut GroupTurn<'_>,
    api_version: i16,
    (old_member_id, new_member_id): (String, String),
    update: MemberUpdate,
    responder: Responder<JoinGroupResponse>,
) -> Option<bool> {
    let leader_before = group.leader.clone();
    rename(group, turn, &old_member_id, &new_member_id);
    keep_alive(group, turn, &new_member_id);
    let before = group.member(&new_member_id).map(|member| MemberUpdate {
        protocols: member.protocols.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
    })?;
    group.update_member(&new_member_id, update, Some(responder));
    match group.state() {
        ClassicState::Stable if group.select_protocol() == group.protocol_name => {}
        ClassicState::Stable | ClassicState::CompletingRebalance => return Some(true),
        ClassicState::PreparingRebalance | ClassicState::Empty => return Some(false),
    }
    let assignments: BTreeMap<String, Bytes> =
        group.members().map(|member| (member.member_id.clone(), member.assignment.clone())).collect();
    write(group, turn, &assignments);
    turn.on_completion(GroupCompletion::StaticMemberReplaced(Box::new(StaticReplacement {
        group_id: Arc::clone(&group.group_id),
        old_member_id,
        new_member_id,
        before,
        leader_before,
        api_version,
    })));
    None
}

/// Requests that wait under the old id are fenced.
fn rename(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>, old_member_id: &str, new_member_id: &str) {
    info!(group = %group.group_id, old_member_id, new_member_id, "a static member gets a new id");
    turn.cancel(GroupTimer::Session(Arc::clone(&group.group_id), old_member_id.to_owned()));
    let Some(displaced) = group.rename_member(old_member_id, new_member_id) else { return };
    if let Some(responder) = displaced.join {
        turn.reply(responder, errors::join(ErrorCode::FencedInstanceId, old_member_id));
    }
    if let Some(responder) = displaced.sync {
        turn.reply(responder, errors::sync(ErrorCode::FencedInstanceId));
    }
}

impl GroupShard {
    pub(crate) fn static_member_replaced(
        &mut self,
        turn: &mut GroupTurn<'_>,
        replacement: StaticReplacement,
        result: Result<(), ErrorCode>,
    ) {
        let Some(group) = self.live.get_mut(&replacement.group_id) else { return };
        match result {
            Ok(()) => confirm(group, turn, &replacement),
            Err(code) => undo(group, turn, replacement, code),
        }
    }
}

fn confirm(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>, replacement: &StaticReplacement) {
    // A rebalance that has begun since will answer it.
    if group.is_in(ClassicState::PreparingRebalance) {
        return;
    }
    group.is_ahead_of_log &= !group.is_in(ClassicState::Stable);
    let member_id = &replacement.new_member_id;
    let Some(responder) = group.take_awaiting_join(member_id) else { return };
    let mut response = joined(group, member_id);
    if replacement.api_version >= SKIP_ASSIGNMENT_SINCE {
        response.skip_assignment = group.is_leader(member_id);
    } else {
        // An older leader would take being the leader for the order to make an assignment: it is told that its earlier
        // self still is.
        response.members = Vec::new();
        response.leader = replacement.leader_before.clone().unwrap_or_default();
    }
    turn.reply(responder, response);
}

fn undo(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>, replacement: StaticReplacement, code: ErrorCode) {
    let StaticReplacement { old_member_id, new_member_id, before, leader_before, .. } = replacement;
    warn!(group = %group.group_id, ?code, new_member_id, "a static member keeps its old id");
    let responder = group.update_member(&new_member_id, before, None);
    turn.cancel(GroupTimer::Session(Arc::clone(&group.group_id), new_member_id.clone()));
    group.rename_member(&new_member_id, &old_member_id);
    keep_alive(group, turn, &old_member_id);
    if let Some(responder) = responder {
        let response = JoinGroupResponse {
            generation_id: group.generation_id,
            protocol_type: group.protocol_type.clone(),
            protocol_name: group.protocol_name.clone(),
            leader: leader_before.unwrap_or_default(),
            ..errors::join(errors::of_operation(code), "")
        };
        turn.reply_at_once(responder, Ok(response));
    }
}
