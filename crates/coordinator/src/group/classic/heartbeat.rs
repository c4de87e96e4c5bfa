use ottla_wire::ErrorCode;
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::group::{ClassicGroup, ClassicState};
use super::rebalance::keep_alive;
use crate::group::shard::{Found, GroupShard, GroupTurn};
use crate::runtime::Responder;

impl GroupShard {
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: HeartbeatRequest,
        responder: Responder<HeartbeatResponse>,
    ) {
        if let Found::Consumer(_) = self.find(turn.state, &request.group_id) {
            match self.heartbeat_to_consumer_group(turn, &request) {
                Ok(response) => turn.reply(responder, response),
                Err(code) => turn.reply_at_once(responder, Err(code)),
            }
            return;
        }
        let result = match self.live.get(request.group_id.as_str()) {
            Some(group) => heartbeat(group, turn, &request),
            None => Err(ErrorCode::UnknownMemberId),
        };
        match result {
            Ok(error) => {
                let error_code = error.code();
                turn.reply(responder, HeartbeatResponse { error_code, ..HeartbeatResponse::default() });
            }
            Err(code) => turn.reply_at_once(responder, Err(code)),
        }
    }
}

/// A member that is told of a rebalance is alive too.
fn heartbeat(
    group: &ClassicGroup,
    turn: &mut GroupTurn<'_>,
    request: &HeartbeatRequest,
) -> Result<ErrorCode, ErrorCode> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation_id {
        return Err(ErrorCode::IllegalGeneration);
    }
    keep_alive(group, turn, &request.member_id);
    match group.state() {
        ClassicState::PreparingRebalance => Ok(ErrorCode::RebalanceInProgress),
        _ => Ok(ErrorCode::None),
    }
}
