//! JoinGroup: a member joins a group, or a rebalance of it (KIP-394, KIP-345, KIP-559, KIP-800).

use std::sync::Arc;

use ottla_wire::messages::JoinGroupRequest;

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<JoinGroupRequest>) {
    let (context, request, answer) = call.into_parts();
    let context = request_context(node, &context);
    node.groups.join_group(context, request, move |response| answer.reply(&response));
}
