//! ListGroups: the groups that this node coordinates (KIP-518, KIP-848).

use std::sync::Arc;

use ottla_wire::messages::ListGroupsRequest;

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ListGroupsRequest>) {
    let (context, request, answer) = call.into_parts();
    let context = request_context(node, &context);
    node.groups.list_groups(context, request, move |response| answer.reply(&response));
}
