//! DeleteShareGroupState (KIP-932): the group coordinator drops what is kept of a share group.

use std::sync::Arc;

use ottla_wire::messages::DeleteShareGroupStateRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DeleteShareGroupStateRequest>) {
    let (context, request, answer) = call.into_parts();
    node.share.coordinator.delete_state(request, context.now, move |response| answer.reply(&response));
}
