//! Messages of magic 0 and 1, which adopted segments may still hold: one message, or a compressed one whose value is
//! a set of messages.
//!
//! Inside a compressed message of magic 1 offsets are relative, and the outer message has the offset of the last one
//! inside (KIP-31).

use std::borrow::Cow;

use ottla_types::{Offset, Timestamp};

use crate::attributes::TimestampType;
use crate::batch::Batch;
use crate::batches::Batches;
use crate::compression::{Codec, DecompressedStream};
use crate::error::RecordError;
use crate::layout::{MAGIC_V0, MAGIC_V1, NO_SEQUENCE};
use crate::record::{Headers, Record};

pub(crate) struct LegacyRecords<'a> {
    messages: Cow<'a, [u8]>,
    position: usize,
    /// Added to the messages' own offsets.
    base_offset: i64,
    log_append_time: Option<Timestamp>,
    compressed: bool,
}

impl<'a> LegacyRecords<'a> {
    pub(crate) fn open(
        batch: &Batch<'a>,
        codec: Codec,
        bytes_max: usize,
    ) -> Result<LegacyRecords<'a>, RecordError> {
        let mut records = LegacyRecords {
            messages: Cow::Borrowed(batch.bytes()),
            position: 0,
            base_offset: 0,
            log_append_time: None,
            compressed: codec != Codec::None,
        };
        if records.compressed {
            records.messages = Cow::Owned(inner_messages(batch, codec, bytes_max)?);
            records.base_offset = inner_base_offset(batch, &records.messages)?;
            records.log_append_time =
                (batch.timestamp_type() == TimestampType::LogAppendTime).then_some(batch.max_timestamp);
        }
        Ok(records)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>, RecordError> {
        let rest = self.messages.get(self.position..).unwrap_or_default();
        // Like Kafka, take a message that is cut off as the end of the set.
        let Some(message) = Batches::new(rest).next().transpose()? else { return Ok(None) };
        self.position += message.size_in_bytes;
        if !message.is_legacy() {
            return Err(RecordError::InvalidMessageSet("a batch of magic 2 lies inside"));
        }
        if self.compressed && message.is_compressed() {
            return Err(RecordError::InvalidMessageSet("a compressed message lies inside"));
        }
        let (key, value) = key_and_value(message.body())?;
        let timestamp = match self.log_append_time {
            Some(timestamp) if message.magic != MAGIC_V0 => timestamp,
            _ => message.max_timestamp,
        };
        Ok(Some(Record {
            offset: Offset(self.base_offset.wrapping_add(message.base_offset.0)),
            timestamp,
            sequence: NO_SEQUENCE,
            key,
            value,
            headers: Headers::default(),
            size_in_bytes: message.size_in_bytes,
        }))
    }
}

fn inner_messages(batch: &Batch<'_>, codec: Codec, bytes_max: usize) -> Result<Vec<u8>, RecordError> {
    if codec == Codec::Zstd {
        return Err(RecordError::InvalidMessageSet("zstd needs magic 2"));
    }
    let (_, value) = key_and_value(batch.body())?;
    let value = value.ok_or(RecordError::InvalidMessageSet("the value is null"))?;
    let mut stream = DecompressedStream::open(codec, value, bytes_max, true)?;
    let mut messages = Vec::new();
    while stream.refill()? {
        let len = stream.available().len();
        messages.extend_from_slice(stream.take(len));
    }
    Ok(messages)
}

fn inner_base_offset(batch: &Batch<'_>, messages: &[u8]) -> Result<i64, RecordError> {
    let mut last_inner_offset = None;
    for message in Batches::new(messages) {
        last_inner_offset = Some(message?.base_offset.0);
    }
    let Some(last_inner_offset) = last_inner_offset else {
        return Err(RecordError::InvalidMessageSet("it is empty"));
    };
    let outer_offset = batch.base_offset.0;
    // An outer offset of 0 is what some versions of librdkafka sent.
    if batch.magic != MAGIC_V1 || outer_offset == 0 {
        return Ok(0);
    }
    if outer_offset < last_inner_offset {
        return Err(RecordError::InvalidMessageSet("the outer offset is less than the last inner one"));
    }
    Ok(outer_offset.wrapping_sub(last_inner_offset))
}

type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn key_and_value(mut body: &[u8]) -> Result<KeyAndValue<'_>, RecordError> {
    Ok((nullable_bytes(&mut body)?, nullable_bytes(&mut body)?))
}

fn nullable_bytes<'a>(body: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let remaining = body.len();
    let exceeds = |length| RecordError::FieldExceedsRecord { length, remaining };
    let (length, rest) = body.split_first_chunk::<4>().ok_or_else(|| exceeds(4))?;
    *body = rest;
    let length = i32::from_be_bytes(*length);
    let Ok(len) = usize::try_from(length) else { return Ok(None) };
    let (field, rest) = body.split_at_checked(len).ok_or_else(|| exceeds(length))?;
    *body = rest;
    Ok(Some(field))
}
