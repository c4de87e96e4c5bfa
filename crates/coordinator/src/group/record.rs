//! Records of `__consumer_offsets`: the key is an int16 type and the key's fields, the value an int16 version and the
//! value's fields.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_wire::records::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use ottla_wire::{Decoder, ErrorCode, Message};
use tracing::warn;

use super::consumer::record::{self as consumer, ConsumerRecord};
use super::share::record::{self as share, ShareRecord};
use crate::runtime::{DecodeError, EncodedRecord};

const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
/// Flexible versions of this value are for readers only.
const GROUP_METADATA_VALUE_VERSION: i16 = 3;

/// A record, with `None` for the value of a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupRecord {
    OffsetCommit { key: OffsetCommitKey, value: Option<OffsetCommitValue> },
    GroupMetadata { group_id: String, value: Option<GroupMetadataValue> },
    Consumer(ConsumerRecord),
    Share(ShareRecord),
    Foreign(ForeignRecord),
}

/// A record of a group of another kind: what must be known of it without understanding it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignRecord {
    pub(crate) group_id: Arc<str>,
    pub(crate) kind: ForeignKind,
    pub(crate) subject: ForeignSubject,
    pub(crate) is_tombstone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForeignKind {
    Streams,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ForeignSubject {
    /// The group itself: it is gone with this record.
    Group,
    Member(Arc<str>),
    Other,
}

impl ForeignKind {
    /// As ListGroups calls the type of such groups; their protocol type has the same name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ForeignKind::Streams => "streams",
        }
    }

    fn of_record_type(record_type: i16) -> Option<ForeignKind> {
        match record_type {
            17..=23 => Some(ForeignKind::Streams),
            _ => None,
        }
    }
}

pub(crate) fn encode(record: &GroupRecord) -> Result<EncodedRecord, ErrorCode> {
    let (key, value) = match record {
        GroupRecord::OffsetCommit { key, value } => {
            let version = |value: &OffsetCommitValue| if value.expire_timestamp == -1 { 4 } else { 1 };
            let value = value.as_ref().map(|value| prefixed(version(value), value, version(value)));
            (prefixed(OFFSET_COMMIT, key, 0)?, value)
        }
        GroupRecord::GroupMetadata { group_id, value } => {
            let key = GroupMetadataKey { group: group_id.clone() };
            let version = GROUP_METADATA_VALUE_VERSION;
            let value = value.as_ref().map(|value| prefixed(version, value, version));
            (prefixed(GROUP_METADATA, &key, 0)?, value)
        }
        GroupRecord::Consumer(record) => return consumer::encode(record),
        GroupRecord::Share(record) => return share::encode(record),
        // Other kinds of groups are only read.
        GroupRecord::Foreign(_) => return Err(ErrorCode::UnknownServerError),
    };
    Ok(EncodedRecord { key, value: value.transpose()? })
}

pub(crate) fn prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, ErrorCode> {
    let body = message.to_bytes(version).map_err(|error| {
        warn!(%error, "a record can't be encoded");
        ErrorCode::UnknownServerError
    })?;
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(prefix);
    bytes.put_slice(&body);
    Ok(bytes.freeze())
}

pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
    let mut reader = Decoder::new(key);
    let record_type = reader.i16("key type").map_err(|error| failed(-1, &error))?;
    let record = match record_type {
        LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => GroupRecord::OffsetCommit {
            key: message(record_type, reader, 0)?,
            value: versioned(record_type, value)?,
        },
        GROUP_METADATA => {
            let key: GroupMetadataKey = message(record_type, reader, 0)?;
            GroupRecord::GroupMetadata { group_id: key.group, value: versioned(record_type, value)? }
        }
        _ if consumer::is_consumer_record(record_type) => {
            GroupRecord::Consumer(consumer::decode(record_type, reader, value)?)
        }
        _ if share::is_share_record(record_type) => {
            GroupRecord::Share(share::decode(record_type, reader, value)?)
        }
        _ => {
            let Some(kind) = ForeignKind::of_record_type(record_type) else {
                warn!(record_type, "a record of an unknown type is left alone");
                return Ok(None);
            };
            GroupRecord::Foreign(foreign(kind, record_type, reader, value.is_none())?)
        }
    };
    Ok(Some(record))
}

pub(crate) fn message<M: Message>(
    record_type: i16,
    mut reader: Decoder,
    version: i16,
) -> Result<M, DecodeError> {
    M::decode(&mut reader, version).map_err(|error| failed(record_type, &error))
}

pub(crate) fn versioned<M: Message>(
    record_type: i16,
    value: Option<Bytes>,
) -> Result<Option<M>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Decoder::new(value);
    let version = reader.i16("value version").map_err(|error| failed(record_type, &error))?;
    message(record_type, reader, version).map(Some)
}

/// All keys of these kinds begin with the group's id, and those of members go on with the member's.
fn foreign(
    kind: ForeignKind,
    record_type: i16,
    mut reader: Decoder,
    is_tombstone: bool,
) -> Result<ForeignRecord, DecodeError> {
    let mut string = || reader.string(false, "key").map_err(|error| failed(record_type, &error));
    let group_id = Arc::from(string()?);
    let subject = match record_type {
        17 => ForeignSubject::Group,
        19 => ForeignSubject::Member(Arc::from(string()?)),
        _ => ForeignSubject::Other,
    };
    Ok(ForeignRecord { group_id, kind, subject, is_tombstone })
}

fn failed(record_type: i16, error: &dyn std::fmt::Display) -> DecodeError {
    DecodeError { record_type, reason: error.to_string() }
}
