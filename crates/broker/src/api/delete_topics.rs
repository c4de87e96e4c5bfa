//! DeleteTopics (KIP-4, KIP-516): answered when the topics are gone from this node's published metadata.

use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_wire::messages::delete_topics_response::{DeleteTopicsResponse, Response};

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DeleteTopicsRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    let version = call.context.version();
    forward(
        node,
        call,
        due,
        move |controller, request, _| controller.delete_topics(request, version),
        |request, code| {
            let (error_code, error_message) = fields(code);
            let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
            let named = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
            let refused = |(name, topic_id)| Response {
                name,
                topic_id,
                error_code,
                error_message: error_message.clone(),
                ..Response::default()
            };
            DeleteTopicsResponse {
                responses: by_name.chain(named).map(refused).collect(),
                ..DeleteTopicsResponse::default()
            }
        },
    );
}
