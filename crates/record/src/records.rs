//! The records of a batch, one after another, decompressed as they are read.

use ottla_types::{Offset, Timestamp};

use crate::attributes::TimestampType;
use crate::batch::Batch;
use crate::compression::{Codec, DecompressedStream};
use crate::error::RecordError;
use crate::header::increment_sequence;
use crate::layout::NO_SEQUENCE;
use crate::legacy::LegacyRecords;
use crate::record::{RawRecord, Record};
use crate::varint::{VARINT_BYTES_MAX, decode_varint, varint_bytes};

/// Reads the records of a batch of any magic. A record lives until the next one is asked for.
///
/// Memory is bounded: of compressed records, a chunk and the current one are held (of compressed legacy messages, all),
/// and they are never expanded to more than the bound given to [`Batch::records`].
///
/// After an error the rest is not to be read.
pub struct Records<'a> {
    source: Source<'a>,
    /// How many records the header promises that weren't read; negative for legacy messages, which aren't counted.
    remaining: i32,
    base_offset: Offset,
    base_timestamp: Timestamp,
    base_sequence: i32,
    log_append_time: Option<Timestamp>,
}

enum Source<'a> {
    Slice(&'a [u8]),
    Stream(Box<RecordStream<'a>>),
    Legacy(Box<LegacyRecords<'a>>),
}

impl<'a> Batch<'a> {
    /// Starts reading the records. `bytes_max` bounds the size of all records of the batch when decompressed; it
    /// doesn't concern batches that aren't compressed.
    pub fn records(&self, bytes_max: usize) -> Result<Records<'a>, RecordError> {
        let codec = Codec::from_id(self.attributes.codec_id())?;
        let source = if self.is_legacy() {
            Source::Legacy(Box::new(LegacyRecords::open(self, codec, bytes_max)?))
        } else if self.record_count < 0 {
            return Err(RecordError::InvalidRecordCount(self.record_count));
        } else if codec == Codec::None || self.record_count == 0 {
            Source::Slice(self.body())
        } else {
            Source::Stream(Box::new(RecordStream::open(codec, self.body(), bytes_max)?))
        };
        Ok(Records {
            source,
            remaining: self.record_count,
            base_offset: self.base_offset,
            base_timestamp: self.base_timestamp,
            base_sequence: self.base_sequence,
            log_append_time: (self.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(self.max_timestamp),
        })
    }
}

impl Records<'_> {
    /// The next record; `None` after the last one, if nothing follows it.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, RecordError> {
        if self.remaining == 0 {
            return self.check_end().map(|()| None);
        }
        self.remaining = self.remaining.saturating_sub(1);
        let body = match &mut self.source {
            Source::Slice(bytes) => split_record(bytes)?,
            Source::Stream(stream) => stream.next_body()?,
            Source::Legacy(messages) => return messages.next(),
        };
        let raw = RawRecord::parse(body)?;
        let timestamp = Timestamp(self.base_timestamp.0.wrapping_add(raw.timestamp_delta));
        let sequence = match self.base_sequence {
            0.. => increment_sequence(self.base_sequence, raw.offset_delta),
            _ => NO_SEQUENCE,
        };
        Ok(Some(Record {
            offset: Offset(self.base_offset.0.wrapping_add(i64::from(raw.offset_delta))),
            timestamp: self.log_append_time.unwrap_or(timestamp),
            sequence,
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
            size_in_bytes: varint_bytes(body.len() as i32) + body.len(),
        }))
    }

    /// Calls `f` for each record, up to the first error of either.
    pub fn for_each<E: From<RecordError>>(
        &mut self,
        mut f: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(record) = self.next()? {
            f(record)?;
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), RecordError> {
        let left = match &mut self.source {
            Source::Slice(bytes) => bytes.len(),
            Source::Stream(stream) => stream.bytes_left()?,
            Source::Legacy(_) => 0,
        };
        if left == 0 { Ok(()) } else { Err(RecordError::BytesAfterRecords(left)) }
    }
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

/// Takes the record that `bytes` start with off them; returns it without its length.
pub(crate) fn split_record<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], RecordError> {
    if bytes.is_empty() {
        return Err(RecordError::RecordsEndEarly);
    }
    let (size, prefix) = decode_varint(bytes).ok_or(RecordError::MalformedVarint)?;
    let len = usize::try_from(size).map_err(|_| RecordError::InvalidRecordSize(size))?;
    let rest = bytes.get(prefix..).unwrap_or_default();
    let (body, rest) = rest.split_at_checked(len).ok_or(RecordError::RecordsEndEarly)?;
    *bytes = rest;
    Ok(body)
}

/// Records in a compressed stream. Where a record lies within one chunk it is used in place, otherwise it is put
/// together in a buffer that grows with what the stream really yields.
struct RecordStream<'a> {
    stream: DecompressedStream<'a>,
    assembled: Vec<u8>,
}

impl<'a> RecordStream<'a> {
    fn open(codec: Codec, input: &'a [u8], bytes_max: usize) -> Result<RecordStream<'a>, RecordError> {
        let stream = DecompressedStream::open(codec, input, bytes_max, false)?;
        Ok(RecordStream { stream, assembled: Vec::new() })
    }

    fn next_body(&mut self) -> Result<&[u8], RecordError> {
        let size = read_varint(&mut self.stream)?;
        let len = usize::try_from(size).map_err(|_| RecordError::InvalidRecordSize(size))?;
        if len <= self.stream.available().len() {
            return Ok(self.stream.take(len));
        }
        self.assembled.clear();
        while self.assembled.len() < len {
            if !self.stream.refill()? {
                return Err(RecordError::RecordsEndEarly);
            }
            let missing = len - self.assembled.len();
            let available = self.stream.available().len();
            self.assembled.extend_from_slice(self.stream.take(missing.min(available)));
        }
        Ok(&self.assembled)
    }

    /// Not zero if the stream goes on.
    fn bytes_left(&mut self) -> Result<usize, RecordError> {
        self.stream.refill()?;
        Ok(self.stream.available().len())
    }
}

/// Reads a number that may lie across chunks.
pub(crate) fn read_varint(stream: &mut DecompressedStream<'_>) -> Result<i32, RecordError> {
    if let Some((value, len)) = decode_varint(stream.available()) {
        stream.consume(len);
        return Ok(value);
    }
    let mut bytes = [0; VARINT_BYTES_MAX];
    for (i, byte) in bytes.iter_mut().enumerate() {
        if !stream.refill()? {
            return Err(if i == 0 { RecordError::RecordsEndEarly } else { RecordError::MalformedVarint });
        }
        *byte = stream.take(1).first().copied().unwrap_or_default();
        if *byte < 0x80 {
            break;
        }
    }
    decode_varint(&bytes).map(|(value, _)| value).ok_or(RecordError::MalformedVarint)
}
