//! WriteShareGroupState (KIP-932): the leader of a partition has the state of a share group kept.

use std::sync::Arc;

use ottla_wire::messages::WriteShareGroupStateRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<WriteShareGroupStateRequest>) {
    let (context, request, answer) = call.into_parts();
    node.share.coordinator.write_state(request, context.now, move |response| answer.reply(&response));
}
