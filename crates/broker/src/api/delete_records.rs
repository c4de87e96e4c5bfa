//! DeleteRecords (KIP-107): moves partitions' log start offsets.

use std::sync::Arc;

use ottla_types::{Offset, is_internal_topic};
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_records_request::{DeleteRecordsRequest, Topic as AskedTopic};
use ottla_wire::messages::delete_records_response::{DeleteRecordsResponse, Partition, Topic};

use super::call::Call;
use super::partitions;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DeleteRecordsRequest>) {
    let (context, request, answer) = call.into_parts();
    let mut deletions = Vec::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let partition = partitions::by_name(node, &topic.name, asked.partition_index);
            let partition = partition.and_then(|partition| {
                let is_internal = is_internal_topic(&topic.name);
                if is_internal { Err(ErrorCode::InvalidTopicException) } else { Ok(partition) }
            });
            deletions.push((partition, Offset(asked.offset)));
        }
    }
    let topics = request.topics;
    node.replicas.delete_records(deletions, request.timeout_ms, context.now, move |results| {
        answer.reply(&response(topics, results));
    });
}

fn response(topics: Vec<AskedTopic>, results: Vec<Result<Offset, ErrorCode>>) -> DeleteRecordsResponse {
    let mut results = results.into_iter();
    let topic = |topic: AskedTopic| Topic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .zip(&mut results)
            .map(|(asked, result)| {
                let (low_watermark, error) = match result {
                    Ok(low_watermark) => (low_watermark, ErrorCode::None),
                    Err(code) => (Offset::UNKNOWN, code),
                };
                Partition {
                    partition_index: asked.partition_index,
                    low_watermark: low_watermark.0,
                    error_code: error.code(),
                    ..Partition::default()
                }
            })
            .collect(),
        ..Topic::default()
    };
    DeleteRecordsResponse {
        topics: topics.into_iter().map(topic).collect(),
        ..DeleteRecordsResponse::default()
    }
}
