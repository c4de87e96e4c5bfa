//! CreatePartitions (KIP-195).

use std::sync::Arc;

use ottla_wire::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_wire::messages::create_partitions_response::{CreatePartitionsResponse, Result as TopicResult};

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<CreatePartitionsRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    forward(
        node,
        call,
        due,
        |controller, request, _| controller.create_partitions(request),
        |request, code| {
            let (error_code, error_message) = fields(code);
            let refused = |name: &String| TopicResult {
                name: name.clone(),
                error_code,
                error_message: error_message.clone(),
                ..TopicResult::default()
            };
            CreatePartitionsResponse {
                results: request.topics.iter().map(|topic| refused(&topic.name)).collect(),
                ..CreatePartitionsResponse::default()
            }
        },
    );
}
