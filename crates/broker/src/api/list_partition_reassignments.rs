//! ListPartitionReassignments (KIP-455).

use std::sync::Arc;

use ottla_controller::{Outcome, list_partition_reassignments};
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_wire::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ListPartitionReassignmentsRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    forward(
        node,
        call,
        due,
        |controller, request, _| Outcome::answer(list_partition_reassignments(controller.image(), request)),
        |_, code| {
            let (error_code, error_message) = fields(code);
            ListPartitionReassignmentsResponse {
                error_code,
                error_message,
                ..ListPartitionReassignmentsResponse::default()
            }
        },
    );
}
