//! AlterPartitionReassignments (KIP-455).

use std::sync::Arc;

use ottla_wire::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ottla_wire::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<AlterPartitionReassignmentsRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    forward(
        node,
        call,
        due,
        |controller, request, _| controller.alter_partition_reassignments(request),
        |_, code| {
            let (error_code, error_message) = fields(code);
            AlterPartitionReassignmentsResponse {
                error_code,
                error_message,
                ..AlterPartitionReassignmentsResponse::default()
            }
        },
    );
}
