//! DescribeTopicPartitions (KIP-966): topics in the order of their names, a page of partitions at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_config::keys;
use ottla_metadata::MetadataImage;
use ottla_metadata::image::TopicImage;
use ottla_types::is_internal_topic;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use ottla_wire::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponse, NextCursor, Partition, Topic,
};

use super::authorized_operations::ON_TOPIC;
use super::call::Call;
use crate::metadata_cache::{PartitionView, partitions, raw_ids};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeTopicPartitionsRequest>) {
    let image = node.metadata.image();
    let limit = node.config.get(keys::MAX_REQUEST_PARTITION_SIZE_LIMIT);
    let limit = usize::try_from(limit.min(call.request.response_partition_limit)).unwrap_or(0).max(1);
    let response = describe(&image, &call.request, &call.context.connection.listener, limit);
    call.reply(&response);
}

fn describe(
    image: &MetadataImage,
    request: &DescribeTopicPartitionsRequest,
    listener: &str,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let (start_topic, start_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index.max(0)),
        None => ("", 0),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut left = limit;
    for name in names(image, request, start_topic) {
        let Some(topic) = image.topics.by_name(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let first = if name == start_topic { start_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(cursor(name, first));
            break;
        }
        let page: Vec<_> = partitions(image, topic, listener, first).take(left).map(partition).collect();
        left -= page.len();
        let next = first + i32::try_from(page.len()).unwrap_or(i32::MAX);
        let is_cut = topic.partitions.range(next..).next().is_some();
        response.topics.push(described(topic, page));
        if is_cut {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

/// The asked topics, or all, from the cursor's on, in order and once each.
fn names(image: &MetadataImage, request: &DescribeTopicPartitionsRequest, start: &str) -> BTreeSet<String> {
    if request.topics.is_empty() {
        return image.topics.iter_from(start).map(|topic| topic.name.to_string()).collect();
    }
    request.topics.iter().map(|topic| topic.name.clone()).filter(|name| name.as_str() >= start).collect()
}

fn cursor(topic_name: String, partition_index: i32) -> NextCursor {
    NextCursor { topic_name, partition_index, ..NextCursor::default() }
}

fn unknown(name: String) -> Topic {
    let error = if ottla_types::topic_name::is_valid(&name) {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::InvalidTopicException
    };
    Topic {
        error_code: error.code(),
        is_internal: is_internal_topic(&name),
        name: Some(name),
        ..Topic::default()
    }
}

fn described(topic: &TopicImage, partitions: Vec<Partition>) -> Topic {
    Topic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions,
        topic_authorized_operations: ON_TOPIC,
        ..Topic::default()
    }
}

fn partition(view: PartitionView<'_>) -> Partition {
    let registration = view.registration;
    Partition {
        error_code: view.error.code(),
        partition_index: view.partition,
        leader_id: view.leader.map_or(-1, |leader| leader.0),
        leader_epoch: registration.leader_epoch.0,
        replica_nodes: raw_ids(&registration.replicas),
        isr_nodes: raw_ids(&registration.isr),
        eligible_leader_replicas: Some(raw_ids(&registration.elr)),
        last_known_elr: Some(raw_ids(&registration.last_known_elr)),
        offline_replicas: raw_ids(&view.offline_replicas),
        ..Partition::default()
    }
}
