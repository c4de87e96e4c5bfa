//! Heartbeat: keeps a member's session alive, and tells it of rebalances.

use std::sync::Arc;

use ottla_wire::messages::HeartbeatRequest;

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<HeartbeatRequest>) {
    let (context, request, answer) = call.into_parts();
    let context = request_context(node, &context);
    node.groups.heartbeat(context, request, move |response| answer.reply(&response));
}
