//! OffsetCommit: a group's positions are written to its partition of `__consumer_offsets`.

use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_wire::ErrorCode;
use ottla_wire::messages::OffsetCommitRequest;
use ottla_wire::messages::offset_commit_request::Topic as AskedTopic;
use ottla_wire::messages::offset_commit_response::{OffsetCommitResponse, Partition, Topic};

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

const TOPIC_IDS_SINCE: i16 = 10;

pub(super) fn handle(node: &Arc<Node>, call: Call<OffsetCommitRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let image = node.metadata.image();
    let uses_topic_ids = context.version() >= TOPIC_IDS_SINCE;
    let mut refused = Vec::new();
    request.topics.retain_mut(|topic| resolve(&image, topic, uses_topic_ids, &mut refused));
    drop(image);
    let response = OffsetCommitResponse { topics: refused, ..OffsetCommitResponse::default() };
    if request.topics.is_empty() {
        return answer.reply(&response);
    }
    let context = request_context(node, &context);
    node.groups.offset_commit(context, request, move |committed| {
        answer.reply(&merge(response, committed));
    });
}

/// Completes a topic's name or id and leaves those of its partitions that exist; false if none are left. What was taken
/// out is answered for in `refused`.
fn resolve(
    image: &MetadataImage,
    topic: &mut AskedTopic,
    uses_topic_ids: bool,
    refused: &mut Vec<Topic>,
) -> bool {
    let known = match uses_topic_ids {
        true => image.topics.by_id(topic.topic_id),
        false => image.topics.by_name(&topic.name),
    };
    let unknown_topic =
        if uses_topic_ids { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let error = |partition_index, code: ErrorCode| Partition {
        partition_index,
        error_code: code.code(),
        ..Partition::default()
    };
    let mut errors = Vec::new();
    match known {
        Some(known) => {
            topic.name = known.name.to_string();
            topic.topic_id = known.id;
            topic.partitions.retain(|partition| {
                let exists = known.partitions.contains_key(&partition.partition_index);
                if !exists {
                    errors.push(error(partition.partition_index, ErrorCode::UnknownTopicOrPartition));
                }
                exists
            });
        }
        None => {
            let partitions = topic.partitions.drain(..);
            errors.extend(partitions.map(|partition| error(partition.partition_index, unknown_topic)));
        }
    }
    if !errors.is_empty() {
        refused.push(Topic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: errors,
            ..Topic::default()
        });
    }
    !topic.partitions.is_empty()
}

/// A topic has one entry, with its partitions that were refused in front.
fn merge(mut refused: OffsetCommitResponse, committed: OffsetCommitResponse) -> OffsetCommitResponse {
    for topic in committed.topics {
        match refused.topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => refused.topics.push(topic),
        }
    }
    refused
}
