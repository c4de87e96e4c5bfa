use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::leave_group_request::Member as LeavingMember;
use ottla_wire::messages::leave_group_response::Member as LeftMember;
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};
use tracing::info;

use super::group::{ClassicGroup, ClassicState};
use super::rebalance::{complete_join_if_all_joined, prepare, remove_member};
use crate::group::shard::{Found, GroupShard, GroupTimer, GroupTurn};
use crate::runtime::Responder;

impl GroupShard {
    pub(crate) fn leave(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: LeaveGroupRequest,
        responder: Responder<LeaveGroupResponse>,
    ) {
        if let Found::Consumer(_) = self.find(turn.state, &request.group_id) {
            self.leave_consumer_group(turn, request, responder);
            return;
        }
        let group_id = request.group_id.as_str();
        let Some(group) = self.live.get_mut(group_id) else {
            turn.reply_at_once(responder, Err(ErrorCode::UnknownMemberId));
            return;
        };
        let mut members = Vec::with_capacity(request.members.len());
        for member in &request.members {
            let left = leave(group, turn, member);
            members.push(LeftMember {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code: left.err().unwrap_or(ErrorCode::None).code(),
                ..LeftMember::default()
            });
        }
        if members.iter().any(|member| member.error_code == ErrorCode::None.code()) {
            match group.state() {
                ClassicState::Stable | ClassicState::CompletingRebalance => {
                    prepare(group, &self.config, turn, "members have left");
                }
                ClassicState::PreparingRebalance => complete_join_if_all_joined(group, turn),
                ClassicState::Empty => {}
            }
        }
        turn.reply(responder, LeaveGroupResponse { members, ..LeaveGroupResponse::default() });
        self.forget_if_idle(group_id);
    }
}

/// A static member may be named by its instance id alone: so administrators remove it.
fn leave(
    group: &mut ClassicGroup,
    turn: &mut GroupTurn<'_>,
    member: &LeavingMember,
) -> Result<(), ErrorCode> {
    let reason = member.reason.as_deref().unwrap_or("not provided");
    let member_id = if member.member_id.is_empty() {
        let instance_id = member.group_instance_id.as_deref().ok_or(ErrorCode::UnknownMemberId)?;
        group.static_member_id(instance_id).cloned().ok_or(ErrorCode::UnknownMemberId)?
    } else {
        member.member_id.clone()
    };
    if group.pending_joins.remove(&member_id) {
        turn.cancel(GroupTimer::Session(Arc::clone(&group.group_id), member_id));
        return Ok(());
    }
    if !member.member_id.is_empty() {
        group.validate_member(&member_id, member.group_instance_id.as_deref())?;
    }
    info!(group = %group.group_id, member = member_id, reason, "a member leaves");
    remove_member(group, turn, &member_id);
    Ok(())
}
