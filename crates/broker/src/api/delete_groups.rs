//! DeleteGroups (KIP-229): empty groups go, and with them what they have committed.

use std::sync::Arc;

use ottla_wire::messages::DeleteGroupsRequest;

use super::bounds::keep_first_of_each_name;
use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DeleteGroupsRequest>) {
    let (context, mut request, answer) = call.into_parts();
    keep_first_of_each_name(&mut request.groups_names);
    let context = request_context(node, &context);
    node.share_groups().delete_groups(context, request, move |response| answer.reply(&response));
}
