//! AddOffsetsToTxn: the group's partition of `__consumer_offsets` takes part in a transaction (KIP-98).

use std::sync::Arc;

use ottla_types::{CONSUMER_OFFSETS_TOPIC, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_wire::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;

use super::call::Call;
use super::transactions::{of_version, producer};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<AddOffsetsToTxnRequest>) {
    let (context, request, answer) = call.into_parts();
    let version = context.version();
    let reply = move |result: Result<(), ErrorCode>| {
        let code = of_version(result.err().unwrap_or(ErrorCode::None), version);
        answer.reply(&AddOffsetsToTxnResponse {
            error_code: code.code(),
            ..AddOffsetsToTxnResponse::default()
        });
    };
    let Some(partition) = node.groups.partition_for(&request.group_id) else {
        return reply(Err(ErrorCode::CoordinatorNotAvailable));
    };
    let who = producer(request.producer_id, request.producer_epoch);
    let partitions = vec![TopicPartition::new(CONSUMER_OFFSETS_TOPIC, partition)];
    // Clients that let the leader add partitions do not ask here.
    node.transactions.add_partitions(&request.transactional_id, who, 0, partitions, context.now, reply);
}
