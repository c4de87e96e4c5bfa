//! OffsetDelete (KIP-496): takes back what a group has committed for topics that it does not read.

use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_wire::ErrorCode;
use ottla_wire::messages::OffsetDeleteRequest;
use ottla_wire::messages::offset_delete_request::Topic as AskedTopic;
use ottla_wire::messages::offset_delete_response::{OffsetDeleteResponse, Partition, Topic};

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<OffsetDeleteRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let image = node.metadata.image();
    let mut refused = Vec::new();
    request.topics.retain_mut(|topic| leave_known(&image, topic, &mut refused));
    drop(image);
    let context = request_context(node, &context);
    node.groups.offset_delete(context, request, move |deleted| answer.reply(&merge(refused, deleted)));
}

/// Leaves those partitions of a topic that exist; false if none are left. What was taken out is answered for in
/// `refused`.
fn leave_known(image: &MetadataImage, topic: &mut AskedTopic, refused: &mut Vec<Topic>) -> bool {
    let known = image.topics.by_name(&topic.name);
    let mut errors = Vec::new();
    topic.partitions.retain(|partition| {
        let partition_index = partition.partition_index;
        let exists = known.is_some_and(|known| known.partitions.contains_key(&partition_index));
        if !exists {
            let error_code = ErrorCode::UnknownTopicOrPartition.code();
            errors.push(Partition { partition_index, error_code });
        }
        exists
    });
    if !errors.is_empty() {
        refused.push(Topic { name: topic.name.clone(), partitions: errors });
    }
    !topic.partitions.is_empty()
}

/// A topic has one entry, with its partitions that were refused in front. An error of the whole request stands alone.
fn merge(refused: Vec<Topic>, mut deleted: OffsetDeleteResponse) -> OffsetDeleteResponse {
    if deleted.error_code != ErrorCode::None.code() {
        return deleted;
    }
    let mut topics = refused;
    for topic in std::mem::take(&mut deleted.topics) {
        match topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    OffsetDeleteResponse { topics, ..deleted }
}
