//! The quorum's own APIs (KIP-595, 630, 853, 996): Vote, BeginQuorumEpoch, EndQuorumEpoch, FetchSnapshot, UpdateRaftVoter, and
//! Fetch where it is the metadata log's. The replica answers where it is driven.

use std::sync::Arc;

use ottla_raft::wire::{error_to_wire, request_from_wire, response_to_wire};

use super::call::{Answer, Call, Context};
use crate::node::Node;
use crate::quorum_channel::{QuorumEvent, QuorumMessage};

pub(super) fn handle<R: QuorumMessage>(node: &Arc<Node>, call: Call<R>) {
    let (context, request, answer) = call.into_parts();
    hand_over(node, &context, request, answer);
}

/// Has this node's replica answer.
pub(super) fn hand_over<R: QuorumMessage>(
    node: &Arc<Node>,
    context: &Context,
    request: R,
    answer: Answer<R>,
) {
    let version = context.version();
    let reply = move |response| match R::response_of(response) {
        Some(response) => {
            if R::is_elsewhere(&response) {
                answer.mark_elsewhere();
            }
            answer.reply(&response);
        }
        None => answer.close("the quorum's replica answered something else".to_owned()),
    };
    match request_from_wire(request.wrap(), version) {
        Err(error) => reply(error_to_wire(R::API, error)),
        Ok(request) => {
            let listener = Arc::clone(&context.connection.listener);
            let replied = Box::new(move |response| reply(response_to_wire(response, version, &listener)));
            node.quorum.push(QuorumEvent::Request(request, replied));
        }
    }
}
