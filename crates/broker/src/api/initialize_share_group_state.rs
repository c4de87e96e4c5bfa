//! InitializeShareGroupState (KIP-932): the group coordinator has a group begin in partitions.

use std::sync::Arc;

use ottla_wire::messages::InitializeShareGroupStateRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<InitializeShareGroupStateRequest>) {
    let (context, request, answer) = call.into_parts();
    node.share.coordinator.initialize_state(request, context.now, move |response| answer.reply(&response));
}
