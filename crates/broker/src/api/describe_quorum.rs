//! DescribeQuorum (KIP-595, KIP-836, KIP-853): what the quorum's leader knows of its replicas.

use std::sync::Arc;

use ottla_raft::wire::describe_quorum_response;
use ottla_wire::messages::describe_quorum_request::DescribeQuorumRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeQuorumRequest>) {
    let (_, request, answer) = call.into_parts();
    node.controller.describe_quorum(move |view| answer.reply(&describe_quorum_response(&request, view.info)));
}
