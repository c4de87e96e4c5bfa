//! DeleteGroups (KIP-229): empty groups go, and with them what they have committed.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_wire::messages::DeleteGroupsRequest;

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DeleteGroupsRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let mut seen = HashSet::new();
    request.groups_names.retain(|name| seen.insert(name.clone()));
    let context = request_context(node, &context);
    node.share_groups().delete_groups(context, request, move |response| answer.reply(&response));
}
