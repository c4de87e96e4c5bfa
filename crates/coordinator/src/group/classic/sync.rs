use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};
use tracing::{info, warn};

use super::group::{ClassicGroup, ClassicState};
use super::rebalance::{answer_syncs, prepare, reset_assignments, write};
use crate::group::errors;
use crate::group::shard::{Found, GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::runtime::Responder;

impl GroupShard {
    pub(crate) fn sync(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: SyncGroupRequest,
        responder: Responder<SyncGroupResponse>,
    ) {
        if let Found::Consumer(_) = self.find(turn.state, &request.group_id) {
            self.sync_with_consumer_group(turn, request, responder);
            return;
        }
        let Some(group) = self.live.get_mut(request.group_id.as_str()) else {
            turn.reply(responder, errors::sync(ErrorCode::UnknownMemberId));
            return;
        };
        if let Err(code) = validate(group, &request) {
            turn.reply(responder, errors::sync(code));
            return;
        }
        match group.state() {
            ClassicState::PreparingRebalance => {
                turn.reply(responder, errors::sync(ErrorCode::RebalanceInProgress));
            }
            ClassicState::CompletingRebalance => wait_for_assignment(group, turn, request, responder),
            ClassicState::Stable => {
                synced(group, turn, &request.member_id);
                let assignment = group.member(&request.member_id).map(|member| &member.assignment);
                let response = assigned(group, assignment.unwrap_or(&Bytes::new()));
                turn.reply(responder, response);
            }
            ClassicState::Empty => turn.reply(responder, errors::sync(ErrorCode::UnknownMemberId)),
        }
    }

    /// The assignment of a generation is committed, or failed to be: then everybody must join again.
    pub(crate) fn assigned(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &str,
        generation_id: i32,
        mut assignments: BTreeMap<String, Bytes>,
        result: Result<(), ErrorCode>,
    ) {
        let Some(group) = self.live.get_mut(group_id) else { return };
        if !group.is_in(ClassicState::CompletingRebalance) || group.generation_id != generation_id {
            return;
        }
        match result {
            Ok(()) => {
                for member in group.members_mut() {
                    member.assignment = assignments.remove(&member.member_id).unwrap_or_default();
                }
                answer_syncs(group, turn, assigned);
                group.transition(ClassicState::Stable, turn.now.wall);
                group.is_ahead_of_log = false;
                info!(group = group_id, generation = generation_id, "the group is stable");
            }
            Err(code) => {
                warn!(group = group_id, ?code, "the assignment could not be written");
                reset_assignments(group, turn, errors::of_operation(code));
                prepare(group, &self.config, turn, "the assignment could not be written");
            }
        }
    }
}

fn validate(group: &ClassicGroup, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation_id {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs = |said: &Option<String>, is: &Option<String>| matches!((said, is), (Some(said), Some(is)) if said != is);
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

fn wait_for_assignment(
    group: &mut ClassicGroup,
    turn: &mut GroupTurn<'_>,
    request: SyncGroupRequest,
    responder: Responder<SyncGroupResponse>,
) {
    synced(group, turn, &request.member_id);
    let displaced =
        group.member_mut(&request.member_id).and_then(|member| member.awaiting_sync.replace(responder));
    if let Some(displaced) = displaced {
        turn.reply(displaced, errors::sync(ErrorCode::RebalanceInProgress));
    }
    if !group.is_leader(&request.member_id) {
        return;
    }
    let mut assignments: BTreeMap<String, Bytes> =
        request.assignments.into_iter().map(|member| (member.member_id, member.assignment)).collect();
    assignments.retain(|member_id, _| group.has_member(member_id));
    write(group, turn, &assignments);
    turn.on_completion(GroupCompletion::Assigned {
        group_id: Arc::clone(&group.group_id),
        generation_id: group.generation_id,
        assignments,
    });
}

/// Notes that the member has asked for its assignment; the group waits for nobody once all have.
fn synced(group: &mut ClassicGroup, turn: &mut GroupTurn<'_>, member_id: &str) {
    group.pending_syncs.remove(member_id);
    if group.pending_syncs.is_empty() {
        turn.cancel(GroupTimer::Sync(Arc::clone(&group.group_id)));
    }
}

fn assigned(group: &ClassicGroup, assignment: &Bytes) -> SyncGroupResponse {
    SyncGroupResponse {
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol_name.clone(),
        assignment: assignment.clone(),
        ..SyncGroupResponse::default()
    }
}
