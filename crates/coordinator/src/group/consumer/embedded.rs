//! What members of the classic protocol say and are told, as bytes that only they are to understand: the version, then
//! the fields of the consumer protocol.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_metadata::MetadataImage;
use ottla_types::Uuid;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition;
use ottla_wire::records::consumer_protocol_assignment::AssignedPartition;
use ottla_wire::records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::{Decoder, Message};

use super::member::Owned;

/// Later versions only add to this one.
const NEWEST_VERSION: i16 = 3;

/// A subscription, and the version that its member speaks. `None` if it is none.
pub(super) fn subscription(bytes: &Bytes) -> Option<(i16, ConsumerProtocolSubscription)> {
    decode(bytes)
}

pub(super) fn assignment(bytes: &Bytes) -> Option<ConsumerProtocolAssignment> {
    decode(bytes).map(|(_, assignment)| assignment)
}

fn decode<M: Message>(bytes: &Bytes) -> Option<(i16, M)> {
    let mut reader = Decoder::new(bytes.clone());
    let version = reader.i16("version").ok().filter(|version| *version >= 0)?;
    let version = version.min(NEWEST_VERSION);
    Some((version, M::decode(&mut reader, version).ok()?))
}

/// What these partitions are as an assignment in this version. Topics that are gone are left out.
pub(super) fn encode_assignment(
    image: &MetadataImage,
    version: i16,
    assigned: impl IntoIterator<Item = (Uuid, Vec<i32>)>,
) -> Bytes {
    let named = assigned.into_iter().filter_map(|(topic_id, partitions)| {
        let topic = image.topics.by_id(topic_id)?.name.to_string();
        Some(AssignedPartition { topic, partitions })
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    // No version leaves out any of these fields.
    if let Ok(body) = assignment.to_bytes(version) {
        bytes.put_slice(&body);
    }
    bytes.freeze()
}

/// The partitions of topics that exist, by their ids.
pub(super) fn by_id<'a>(
    image: &MetadataImage,
    topics: impl Iterator<Item = (&'a str, &'a [i32])>,
) -> Vec<TopicPartition> {
    let known = topics.filter_map(|(name, partitions)| {
        let topic_id = image.topics.by_name(name)?.id;
        Some(TopicPartition { topic_id, partitions: partitions.to_vec(), ..TopicPartition::default() })
    });
    known.collect()
}

/// The same as a member has it, all got at this epoch.
pub(super) fn owned(topics: &[TopicPartition], epoch: i32) -> Owned {
    let topics = topics.iter().filter(|topic| !topic.partitions.is_empty());
    topics.map(|topic| (topic.topic_id, topic.partitions.iter().map(|p| (*p, epoch)).collect())).collect()
}
