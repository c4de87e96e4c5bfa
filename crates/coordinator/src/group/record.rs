//! Records of `__consumer_offsets`: the key is an int16 type and the key's fields, the value an int16 version and the
//! value's fields.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_types::TopicPartition;
use ottla_wire::records::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use ottla_wire::{Decoder, EncodeError, Encoder, ErrorCode, Message};
use tracing::warn;

use super::consumer::record::{self as consumer, ConsumerRecord};
use super::share::record::{self as share, ShareRecord};
use crate::runtime::{DecodeError, EncodedRecord};

const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
/// Flexible versions of this value are for readers only.
const GROUP_METADATA_VALUE_VERSION: i16 = 3;
/// Of a record of a commit, key and value, beside the names in it.
const OFFSET_COMMIT_BYTES_MAX: usize = 64;
/// The same with the names, of most: what one of many has room for at first.
const OFFSET_COMMIT_BYTES_USUAL: usize = 128;
/// What is reserved at once for the commits of one request.
const ROOM_BYTES_MAX: usize = 64 * 1024;

/// A record, with `None` for the value of a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupRecord {
    /// The name of the group and that of the topic are shared: there may be many of these in one request.
    OffsetCommit {
        group_id: Arc<str>,
        partition: TopicPartition,
        value: Option<OffsetCommitValue>,
    },
    GroupMetadata {
        group_id: String,
        value: Option<GroupMetadataValue>,
    },
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

/// The records of one operation. Commits of many partitions lie behind each other in buffers that they share.
pub(crate) fn encode_all(records: &[GroupRecord]) -> Result<Vec<EncodedRecord>, ErrorCode> {
    let room = if records.len() > 1 { records.len() * OFFSET_COMMIT_BYTES_USUAL } else { 0 };
    let mut room = BytesMut::with_capacity(room.min(ROOM_BYTES_MAX));
    records.iter().map(|record| encode_in(&mut room, record)).collect()
}

pub(crate) fn encode(record: &GroupRecord) -> Result<EncodedRecord, ErrorCode> {
    encode_in(&mut BytesMut::new(), record)
}

fn encode_in(room: &mut BytesMut, record: &GroupRecord) -> Result<EncodedRecord, ErrorCode> {
    let (key, value) = match record {
        GroupRecord::OffsetCommit { group_id, partition, value } => {
            return offset_commit(room, group_id, partition, value.as_ref()).map_err(not_encoded);
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

/// Most of what coordinators write: key and value lie behind each other in `room`, and the key is written field by field from
/// names that others share.
fn offset_commit(
    room: &mut BytesMut,
    group_id: &str,
    partition: &TopicPartition,
    value: Option<&OffsetCommitValue>,
) -> Result<EncodedRecord, EncodeError> {
    let names = group_id.len() + partition.topic.len() + value.map_or(0, |value| value.metadata.len());
    room.reserve(OFFSET_COMMIT_BYTES_MAX + names);
    let mut encoder = Encoder::appending_to(std::mem::take(room));
    encoder.i16(OFFSET_COMMIT);
    encoder.string(false, group_id, "OffsetCommitKey.Group")?;
    encoder.string(false, &partition.topic, "OffsetCommitKey.Topic")?;
    encoder.i32(partition.partition);
    let key_len = encoder.len();
    if let Some(value) = value {
        // An older version alone has the time at which the commit expires.
        let version = if value.expire_timestamp == -1 { 4 } else { 1 };
        encoder.i16(version);
        value.encode(&mut encoder, version)?;
    }
    let (mut bytes, _) = encoder.into_parts();
    let key = bytes.split_to(key_len).freeze();
    let value = value.map(|_| bytes.split().freeze());
    *room = bytes;
    Ok(EncodedRecord { key, value })
}

pub(crate) fn prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, ErrorCode> {
    let written = || {
        let mut encoder = Encoder::with_capacity(2 + message.encoded_len(version)?);
        encoder.i16(prefix);
        message.encode(&mut encoder, version)?;
        Ok(encoder.into_parts().0.freeze())
    };
    written().map_err(not_encoded)
}

fn not_encoded(error: EncodeError) -> ErrorCode {
    warn!(%error, "a record can't be encoded");
    ErrorCode::UnknownServerError
}

pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
    let mut reader = Decoder::new(key);
    let record_type = reader.i16("key type").map_err(|error| failed(-1, &error))?;
    let record = match record_type {
        LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
            let key: OffsetCommitKey = message(record_type, reader, 0)?;
            GroupRecord::OffsetCommit {
                group_id: Arc::from(key.group),
                partition: TopicPartition::new(key.topic, key.partition),
                value: versioned(record_type, value)?,
            }
        }
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
