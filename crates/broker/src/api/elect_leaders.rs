//! ElectLeaders (KIP-183, KIP-460).

use std::sync::Arc;

use ottla_wire::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_wire::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ElectLeadersRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    let has_code = call.context.version() >= 1;
    forward(
        node,
        call,
        due,
        |controller, request, _| controller.elect_leaders(request),
        move |request, code| {
            let (error_code, error_message) = fields(code);
            let result = |partition_id: &i32| PartitionResult {
                partition_id: *partition_id,
                error_code,
                error_message: error_message.clone(),
                ..PartitionResult::default()
            };
            let topics = request.topic_partitions.iter().flatten();
            let topics = topics.map(|topic| ReplicaElectionResult {
                topic: topic.topic.clone(),
                partition_result: topic.partitions.iter().map(result).collect(),
                ..ReplicaElectionResult::default()
            });
            ElectLeadersResponse {
                // Before version 1 there was no code for the whole.
                error_code: if has_code { error_code } else { 0 },
                replica_election_results: topics.collect(),
                ..ElectLeadersResponse::default()
            }
        },
    );
}
