//! The APIs of groups of the classic protocol, as the rest of the broker sees them.

use ottla_wire::ErrorCode;
use ottla_wire::messages::leave_group_request::Member as LeavingMember;
use ottla_wire::messages::leave_group_response::Member as LeftMember;
use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use crate::group::context::RequestContext;
use crate::group::coordinator::{GroupCoordinator, responder};
use crate::group::errors;

impl GroupCoordinator {
    pub fn join_group(
        &self,
        context: RequestContext,
        mut request: JoinGroupRequest,
        reply: impl FnOnce(JoinGroupResponse) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let reply = move |mut response: JoinGroupResponse| {
            if api_version < 7 {
                // These versions have no null here.
                response.protocol_name.get_or_insert_default();
            } else {
                response.protocol_name = response.protocol_name.filter(|name| !name.is_empty());
            }
            reply(response);
        };
        if api_version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let timeouts = self.config.group_min_session_timeout_ms..=self.config.group_max_session_timeout_ms;
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(_) if !timeouts.contains(&request.session_timeout_ms) => {
                return reply(errors::join(ErrorCode::InvalidSessionTimeout, &request.member_id));
            }
            Ok(partition) => partition,
            Err(code) => return reply(errors::join(code, &request.member_id)),
        };
        let now = context.now;
        let responder = responder(reply, |code| errors::join(code, ""));
        self.runtime.submit(partition, now, responder, move |shard, turn, responder| {
            shard.join(turn, &context, request, responder);
        });
    }

    pub fn sync_group(
        &self,
        context: RequestContext,
        request: SyncGroupRequest,
        reply: impl FnOnce(SyncGroupResponse) + Send + 'static,
    ) {
        let partition = self.partition_of_named(&request.group_id);
        self.submit(partition, context.now, reply, errors::sync, move |shard, turn, responder| {
            shard.sync(turn, request, responder);
        });
    }

    pub fn heartbeat(
        &self,
        context: RequestContext,
        request: HeartbeatRequest,
        reply: impl FnOnce(HeartbeatResponse) + Send + 'static,
    ) {
        let error = |code: ErrorCode| {
            // The session is not over while the coordinator is loading: the member need not know.
            let code = if code == ErrorCode::CoordinatorLoadInProgress { ErrorCode::None } else { code };
            HeartbeatResponse { error_code: code.code(), ..HeartbeatResponse::default() }
        };
        let partition = self.partition_of_named(&request.group_id);
        self.submit(partition, context.now, reply, error, move |shard, turn, responder| {
            shard.heartbeat(turn, request, responder);
        });
    }

    pub fn leave_group(
        &self,
        context: RequestContext,
        mut request: LeaveGroupRequest,
        reply: impl FnOnce(LeaveGroupResponse) + Send + 'static,
    ) {
        let is_batched = context.api_version >= 3;
        if !is_batched {
            let member_id = std::mem::take(&mut request.member_id);
            request.members = vec![LeavingMember { member_id, ..LeavingMember::default() }];
        }
        let reply = move |mut response: LeaveGroupResponse| {
            if !is_batched {
                let of_member = response.members.first().map_or(0, |member| member.error_code);
                response.error_code = if response.error_code == 0 { of_member } else { response.error_code };
                response.members.clear();
            }
            reply(response);
        };
        let error =
            |code: ErrorCode| LeaveGroupResponse { error_code: code.code(), ..LeaveGroupResponse::default() };
        let partition = match self.partition_of_named(&request.group_id) {
            Ok(partition) => partition,
            Err(code) => return reply(error(code)),
        };
        let members = request.members.clone();
        let responder = responder(reply, move |code| match code {
            ErrorCode::UnknownMemberId => {
                let members = members.into_iter().map(unknown).collect();
                LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
            }
            code => error(code),
        });
        self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
            shard.leave(turn, request, responder);
        });
    }
}

fn unknown(member: LeavingMember) -> LeftMember {
    LeftMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: ErrorCode::UnknownMemberId.code(),
        ..LeftMember::default()
    }
}
