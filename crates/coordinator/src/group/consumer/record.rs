//! The records of consumer groups.

use std::sync::Arc;

use ottla_wire::records::consumer_group_target_assignment_member_value::TopicPartition;
use ottla_wire::records::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue,
};
use ottla_wire::{Decoder, ErrorCode};

use super::member::CurrentAssignment;
use crate::group::modern::assignor::Assignment;
use crate::group::record::{message, prefixed, versioned};
use crate::runtime::{DecodeError, EncodedRecord};

const GROUP_METADATA: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER_METADATA: i16 = 5;
const TARGET_METADATA: i16 = 6;
const TARGET_MEMBER: i16 = 7;
const CURRENT_MEMBER: i16 = 8;
const REGULAR_EXPRESSION: i16 = 16;
/// Of every value here.
const VALUE_VERSION: i16 = 0;

/// A record of a consumer group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConsumerRecord {
    pub(crate) group_id: Arc<str>,
    pub(crate) content: ConsumerContent,
}

/// What a record says; `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ConsumerContent {
    /// The group and its epoch.
    Group(Option<ConsumerGroupMetadataValue>),
    /// The partitions behind a group's subscriptions, as Kafka wrote them before 4.1.
    PartitionMetadata(Option<ConsumerGroupPartitionMetadataValue>),
    Member(Arc<str>, Option<Box<ConsumerGroupMemberMetadataValue>>),
    /// The epoch of the target.
    Target(Option<ConsumerGroupTargetAssignmentMetadataValue>),
    TargetOf(Arc<str>, Option<ConsumerGroupTargetAssignmentMemberValue>),
    CurrentOf(Arc<str>, Option<ConsumerGroupCurrentMemberAssignmentValue>),
    /// The topics that a pattern matches.
    Regex(Arc<str>, Option<ConsumerGroupRegularExpressionValue>),
}

impl ConsumerContent {
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            ConsumerContent::Group(value) => value.is_none(),
            ConsumerContent::PartitionMetadata(value) => value.is_none(),
            ConsumerContent::Member(_, value) => value.is_none(),
            ConsumerContent::Target(value) => value.is_none(),
            ConsumerContent::TargetOf(_, value) => value.is_none(),
            ConsumerContent::CurrentOf(_, value) => value.is_none(),
            ConsumerContent::Regex(_, value) => value.is_none(),
        }
    }

    pub(crate) fn is_tombstone_of_group(&self) -> bool {
        matches!(self, ConsumerContent::Group(None))
    }
    pub(crate) fn target_of(member_id: &Arc<str>, assignment: &Assignment) -> ConsumerContent {
        let topic_partitions = assignment.iter().map(|(topic_id, partitions)| TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
            ..TopicPartition::default()
        });
        let value = ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: topic_partitions.collect(),
            ..Default::default()
        };
        ConsumerContent::TargetOf(Arc::clone(member_id), Some(value))
    }

    pub(crate) fn current_of(member_id: &Arc<str>, current: &CurrentAssignment) -> ConsumerContent {
        ConsumerContent::CurrentOf(Arc::clone(member_id), Some(current.into()))
    }
}

/// Is this the type of a record of consumer groups?
pub(crate) fn is_consumer_record(record_type: i16) -> bool {
    matches!(record_type, GROUP_METADATA..=CURRENT_MEMBER | REGULAR_EXPRESSION)
}

pub(crate) fn encode(record: &ConsumerRecord) -> Result<EncodedRecord, ErrorCode> {
    let group_id = record.group_id.to_string();
    macro_rules! encoded {
        ($type:expr, $key:expr, $value:expr) => {{
            let value = $value.as_ref().map(|value| prefixed(VALUE_VERSION, value, VALUE_VERSION));
            EncodedRecord { key: prefixed($type, &$key, 0)?, value: value.transpose()? }
        }};
    }
    let encoded = match &record.content {
        ConsumerContent::Group(value) => {
            encoded!(GROUP_METADATA, ConsumerGroupMetadataKey { group_id }, value)
        }
        ConsumerContent::PartitionMetadata(value) => {
            encoded!(PARTITION_METADATA, ConsumerGroupPartitionMetadataKey { group_id }, value)
        }
        ConsumerContent::Member(member_id, value) => {
            let member_id = member_id.to_string();
            encoded!(
                MEMBER_METADATA,
                ConsumerGroupMemberMetadataKey { group_id, member_id },
                value.as_deref().cloned()
            )
        }
        ConsumerContent::Target(value) => {
            encoded!(TARGET_METADATA, ConsumerGroupTargetAssignmentMetadataKey { group_id }, value)
        }
        ConsumerContent::TargetOf(member_id, value) => {
            let member_id = member_id.to_string();
            encoded!(TARGET_MEMBER, ConsumerGroupTargetAssignmentMemberKey { group_id, member_id }, value)
        }
        ConsumerContent::CurrentOf(member_id, value) => {
            let member_id = member_id.to_string();
            encoded!(CURRENT_MEMBER, ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id }, value)
        }
        ConsumerContent::Regex(regex, value) => {
            let regular_expression = regex.to_string();
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression };
            encoded!(REGULAR_EXPRESSION, key, value)
        }
    };
    Ok(encoded)
}

/// `reader` stands behind the key's type.
pub(crate) fn decode(
    record_type: i16,
    reader: Decoder,
    value: Option<bytes::Bytes>,
) -> Result<ConsumerRecord, DecodeError> {
    let of_group = |group_id: String, content| Ok(ConsumerRecord { group_id: Arc::from(group_id), content });
    match record_type {
        GROUP_METADATA => {
            let key: ConsumerGroupMetadataKey = message(record_type, reader, 0)?;
            of_group(key.group_id, ConsumerContent::Group(versioned(record_type, value)?))
        }
        PARTITION_METADATA => {
            let key: ConsumerGroupPartitionMetadataKey = message(record_type, reader, 0)?;
            of_group(key.group_id, ConsumerContent::PartitionMetadata(versioned(record_type, value)?))
        }
        MEMBER_METADATA => {
            let key: ConsumerGroupMemberMetadataKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?.map(Box::new);
            of_group(key.group_id, ConsumerContent::Member(Arc::from(key.member_id), value))
        }
        TARGET_METADATA => {
            let key: ConsumerGroupTargetAssignmentMetadataKey = message(record_type, reader, 0)?;
            of_group(key.group_id, ConsumerContent::Target(versioned(record_type, value)?))
        }
        TARGET_MEMBER => {
            let key: ConsumerGroupTargetAssignmentMemberKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?;
            of_group(key.group_id, ConsumerContent::TargetOf(Arc::from(key.member_id), value))
        }
        CURRENT_MEMBER => {
            let key: ConsumerGroupCurrentMemberAssignmentKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?;
            of_group(key.group_id, ConsumerContent::CurrentOf(Arc::from(key.member_id), value))
        }
        _ => {
            let key: ConsumerGroupRegularExpressionKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?;
            of_group(key.group_id, ConsumerContent::Regex(Arc::from(key.regular_expression), value))
        }
    }
}
