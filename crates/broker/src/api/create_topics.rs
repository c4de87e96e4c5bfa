//! CreateTopics (KIP-4, KIP-525): answered when the topics are in this node's published metadata.

use std::sync::Arc;

use ottla_wire::messages::create_topics_request::CreateTopicsRequest;
use ottla_wire::messages::create_topics_response::{CreateTopicsResponse, Topic};

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<CreateTopicsRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    forward(
        node,
        call,
        due,
        |controller, request, _| controller.create_topics(request),
        |request, code| {
            let (error_code, error_message) = fields(code);
            let refused = |name: &String| Topic {
                name: name.clone(),
                error_code,
                error_message: error_message.clone(),
                ..Topic::default()
            };
            CreateTopicsResponse {
                topics: request.topics.iter().map(|topic| refused(&topic.name)).collect(),
                ..CreateTopicsResponse::default()
            }
        },
    );
}
