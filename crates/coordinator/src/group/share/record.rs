//! The records of share groups.

use std::sync::Arc;

use ottla_wire::records::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue, ShareGroupMetadataKey,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue,
    ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue,
    ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue,
};
use ottla_wire::{Decoder, ErrorCode};

use crate::group::record::{message, prefixed, versioned};
use crate::runtime::{DecodeError, EncodedRecord};

const MEMBER_METADATA: i16 = 10;
const GROUP_METADATA: i16 = 11;
const TARGET_METADATA: i16 = 12;
const TARGET_MEMBER: i16 = 13;
const CURRENT_MEMBER: i16 = 14;
const STATE_PARTITIONS: i16 = 15;
/// Of every value here.
const VALUE_VERSION: i16 = 0;

/// A record of a share group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShareRecord {
    pub(crate) group_id: Arc<str>,
    pub(crate) content: ShareContent,
}

/// What a record says; `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ShareContent {
    /// The group and its epoch.
    Group(Option<ShareGroupMetadataValue>),
    Member(Arc<str>, Option<Box<ShareGroupMemberMetadataValue>>),
    /// The epoch of the target.
    Target(Option<ShareGroupTargetAssignmentMetadataValue>),
    TargetOf(Arc<str>, Option<ShareGroupTargetAssignmentMemberValue>),
    CurrentOf(Arc<str>, Option<ShareGroupCurrentMemberAssignmentValue>),
    /// What the share coordinator knows of.
    Topics(Option<ShareGroupStatePartitionMetadataValue>),
}

impl ShareContent {
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            ShareContent::Group(value) => value.is_none(),
            ShareContent::Member(_, value) => value.is_none(),
            ShareContent::Target(value) => value.is_none(),
            ShareContent::TargetOf(_, value) => value.is_none(),
            ShareContent::CurrentOf(_, value) => value.is_none(),
            ShareContent::Topics(value) => value.is_none(),
        }
    }

    pub(crate) fn is_tombstone_of_group(&self) -> bool {
        matches!(self, ShareContent::Group(None))
    }
}

/// Is this the type of a record of share groups?
pub(crate) fn is_share_record(record_type: i16) -> bool {
    matches!(record_type, MEMBER_METADATA..=STATE_PARTITIONS)
}

pub(crate) fn encode(record: &ShareRecord) -> Result<EncodedRecord, ErrorCode> {
    let group_id = record.group_id.to_string();
    macro_rules! encoded {
        ($type:expr, $key:expr, $value:expr) => {{
            let value = $value.as_ref().map(|value| prefixed(VALUE_VERSION, value, VALUE_VERSION));
            EncodedRecord { key: prefixed($type, &$key, 0)?, value: value.transpose()? }
        }};
    }
    Ok(match &record.content {
        ShareContent::Group(value) => encoded!(GROUP_METADATA, ShareGroupMetadataKey { group_id }, value),
        ShareContent::Member(member_id, value) => {
            let member_id = member_id.to_string();
            let key = ShareGroupMemberMetadataKey { group_id, member_id };
            encoded!(MEMBER_METADATA, key, value.as_deref().cloned())
        }
        ShareContent::Target(value) => {
            encoded!(TARGET_METADATA, ShareGroupTargetAssignmentMetadataKey { group_id }, value)
        }
        ShareContent::TargetOf(member_id, value) => {
            let member_id = member_id.to_string();
            encoded!(TARGET_MEMBER, ShareGroupTargetAssignmentMemberKey { group_id, member_id }, value)
        }
        ShareContent::CurrentOf(member_id, value) => {
            let member_id = member_id.to_string();
            encoded!(CURRENT_MEMBER, ShareGroupCurrentMemberAssignmentKey { group_id, member_id }, value)
        }
        ShareContent::Topics(value) => {
            encoded!(STATE_PARTITIONS, ShareGroupStatePartitionMetadataKey { group_id }, value)
        }
    })
}

/// `reader` stands behind the key's type.
pub(crate) fn decode(
    record_type: i16,
    reader: Decoder,
    value: Option<bytes::Bytes>,
) -> Result<ShareRecord, DecodeError> {
    let of_group = |group_id: String, content| Ok(ShareRecord { group_id: Arc::from(group_id), content });
    match record_type {
        GROUP_METADATA => {
            let key: ShareGroupMetadataKey = message(record_type, reader, 0)?;
            of_group(key.group_id, ShareContent::Group(versioned(record_type, value)?))
        }
        MEMBER_METADATA => {
            let key: ShareGroupMemberMetadataKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?.map(Box::new);
            of_group(key.group_id, ShareContent::Member(Arc::from(key.member_id), value))
        }
        TARGET_METADATA => {
            let key: ShareGroupTargetAssignmentMetadataKey = message(record_type, reader, 0)?;
            of_group(key.group_id, ShareContent::Target(versioned(record_type, value)?))
        }
        TARGET_MEMBER => {
            let key: ShareGroupTargetAssignmentMemberKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?;
            of_group(key.group_id, ShareContent::TargetOf(Arc::from(key.member_id), value))
        }
        CURRENT_MEMBER => {
            let key: ShareGroupCurrentMemberAssignmentKey = message(record_type, reader, 0)?;
            let value = versioned(record_type, value)?;
            of_group(key.group_id, ShareContent::CurrentOf(Arc::from(key.member_id), value))
        }
        _ => {
            let key: ShareGroupStatePartitionMetadataKey = message(record_type, reader, 0)?;
            of_group(key.group_id, ShareContent::Topics(versioned(record_type, value)?))
        }
    }
}
