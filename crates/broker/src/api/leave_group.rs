//! LeaveGroup: members leave, several at once from version 3 on (KIP-345).

use std::sync::Arc;

use ottla_wire::messages::LeaveGroupRequest;

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<LeaveGroupRequest>) {
    let (context, request, answer) = call.into_parts();
    let context = request_context(node, &context);
    node.groups.leave_group(context, request, move |response| answer.reply(&response));
}
