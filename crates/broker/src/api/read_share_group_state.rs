//! ReadShareGroupState (KIP-932): the leader of a partition begins with what is kept of a share group.

use std::sync::Arc;

use ottla_wire::messages::ReadShareGroupStateRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ReadShareGroupStateRequest>) {
    let (context, request, answer) = call.into_parts();
    node.share.coordinator.read_state(request, context.now, move |response| answer.reply(&response));
}
