//! DescribeQuorum (KIP-595, KIP-836, KIP-853): what the quorum's leader knows of its replicas. A broker asks the leader, a
//! controller tells what it knows itself.

use std::sync::Arc;

use ottla_controller::Outcome;
use ottla_raft::wire::describe_quorum_response;
use ottla_wire::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_wire::messages::describe_quorum_response::DescribeQuorumResponse;

use super::call::Call;
use super::forward::{default_due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeQuorumRequest>) {
    let asked = Arc::clone(node);
    node.controller.describe_quorum(move |view| {
        let is_here = view.info.is_some() || call.context.connection.is_controller_listener;
        if is_here {
            // A broker that has passed it on learns in no other way that the quorum's leader is another by now.
            if view.info.is_none() {
                call.mark_elsewhere();
            }
            let response = describe_quorum_response(&call.request, view.info);
            return call.reply(&response);
        }
        let due = default_due(&asked, &call.context);
        forward(
            &asked,
            call,
            due,
            // This node has come to lead meanwhile: whoever asks again is answered by it.
            |_, request, _| Outcome::answer(describe_quorum_response(request, None)),
            |_, code| {
                let (error_code, error_message) = fields(code);
                DescribeQuorumResponse { error_code, error_message, ..DescribeQuorumResponse::default() }
            },
        );
    });
}
