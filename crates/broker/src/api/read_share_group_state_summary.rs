//! ReadShareGroupStateSummary (KIP-932): where a share group stands, without its records in flight.

use std::sync::Arc;

use ottla_wire::messages::ReadShareGroupStateSummaryRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ReadShareGroupStateSummaryRequest>) {
    let (context, request, answer) = call.into_parts();
    node.share
        .coordinator
        .read_state_summary(context.version(), request, context.now, move |response| answer.reply(&response));
}
