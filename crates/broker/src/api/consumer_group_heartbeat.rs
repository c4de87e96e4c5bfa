//! ConsumerGroupHeartbeat: a member of a consumer group says what it wants and has, and is told what it shall have
//! (KIP-848).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::call::Call;
use super::groups::{request_context, serves_consumer_groups};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ConsumerGroupHeartbeatRequest>) {
    let (context, request, answer) = call.into_parts();
    if !serves_consumer_groups(node) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return answer.reply(&ConsumerGroupHeartbeatResponse {
            error_code,
            ..ConsumerGroupHeartbeatResponse::default()
        });
    }
    let context = request_context(node, &context);
    node.groups.consumer_group_heartbeat(context, request, move |response| answer.reply(&response));
}
