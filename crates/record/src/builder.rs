//! Writes batches of magic 2.

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;

use crate::attributes::{Attributes, TimestampType};
use crate::batch::Batch;
use crate::compression::{CompressError, Compression};
use crate::control::{ControlRecordType, EndTxnMarker};
use crate::crc::crc32c;
use crate::header::BatchHeader;
use crate::layout::{self, NO_SEQUENCE, put};
use crate::record::{Header, Record};
use crate::varint::{put_varint, put_varlong, varint_bytes, varlong_bytes};

/// A record to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Not negative, or [`Timestamp::NONE`].
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

/// What is the same for all records of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    pub compression: Compression,
    pub base_offset: Offset,
    pub partition_leader_epoch: LeaderEpoch,
    /// `Some`: the batch has `LogAppendTime`, and this is the time. `None`: it has `CreateTime`.
    pub log_append_time: Option<Timestamp>,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub transactional: bool,
    /// All records are control records.
    pub control: bool,
    /// When tombstones and markers may be removed (KIP-534); it takes the place of the base timestamp.
    pub delete_horizon: Option<Timestamp>,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            compression: Compression::NONE,
            base_offset: Offset::ZERO,
            partition_leader_epoch: LeaderEpoch::NONE,
            log_append_time: None,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
            delete_horizon: None,
        }
    }
}

impl BatchOptions {
    /// What a batch that takes the place of `header`'s needs: everything but the codec, which isn't copied.
    pub fn like(header: &BatchHeader, compression: Compression) -> BatchOptions {
        BatchOptions {
            compression,
            base_offset: header.base_offset,
            partition_leader_epoch: header.partition_leader_epoch,
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.is_transactional(),
            control: header.is_control(),
            delete_horizon: header.delete_horizon(),
        }
    }
}

/// Why a batch can't be written as asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    #[error("offset {offset} doesn't follow {last}")]
    OffsetNotIncreasing { offset: Offset, last: Offset },
    #[error("offset {offset} is too far from the batch's base offset {base_offset}")]
    OffsetOutOfRange { offset: Offset, base_offset: Offset },
    #[error("negative timestamp {0}")]
    NegativeTimestamp(Timestamp),
    #[error("control records and others don't mix in a batch")]
    ControlMismatch,
    #[error("a transactional batch needs a producer id")]
    TransactionalWithoutProducerId,
    #[error("a batch with producer id needs a producer epoch")]
    NegativeProducerEpoch,
    #[error("a batch with producer id needs a base sequence, unless it is a control batch")]
    NegativeSequence,
    #[error("the batch exceeds 2 GiB")]
    TooLarge,
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// Writes one batch. Records are encoded as they are appended and compressed at the end.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the encoded records.
    bytes: Vec<u8>,
    base_timestamp: Option<Timestamp>,
    max_timestamp: Timestamp,
    last_offset: Option<Offset>,
    count: i32,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder::with_capacity(options, 1024)
    }

    /// `bytes`: expected size before compression.
    pub fn with_capacity(options: BatchOptions, bytes: usize) -> BatchBuilder {
        let mut buffer = Vec::with_capacity(bytes.max(layout::BATCH_HEADER_BYTES));
        buffer.resize(layout::BATCH_HEADER_BYTES, 0);
        BatchBuilder {
            options,
            bytes: buffer,
            base_timestamp: options.delete_horizon,
            max_timestamp: Timestamp::NONE,
            last_offset: None,
            count: 0,
        }
    }

    /// Appends a record at the next offset, which is returned.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<Offset, BuildError> {
        let offset = self.next_offset();
        self.append_at(offset, record)?;
        Ok(offset)
    }

    /// Appends a record at an offset beyond the last one.
    pub fn append_at(&mut self, offset: Offset, record: &NewRecord<'_>) -> Result<(), BuildError> {
        if self.options.control {
            return Err(BuildError::ControlMismatch);
        }
        self.encode(offset, record.timestamp, record.key, record.value, RecordHeaders::List(record.headers))
    }

    /// Appends a record of another batch, at `offset`.
    pub fn append_copy(&mut self, offset: Offset, record: &Record<'_>) -> Result<(), BuildError> {
        let headers = RecordHeaders::Encoded(record.headers.len(), record.headers.encoded());
        self.encode(offset, record.timestamp, record.key, record.value, headers)
    }

    /// Appends a control record at the next offset, which is returned. `value` is encoded by the schema of the type.
    pub fn append_control(
        &mut self,
        record_type: ControlRecordType,
        timestamp: Timestamp,
        value: &[u8],
    ) -> Result<Offset, BuildError> {
        if !self.options.control {
            return Err(BuildError::ControlMismatch);
        }
        let offset = self.next_offset();
        self.encode(offset, timestamp, Some(&record_type.key()), Some(value), RecordHeaders::List(&[]))?;
        Ok(offset)
    }

    /// Says under which producer the batch goes out: of a batch that waits, that is known only at its end.
    pub fn set_producer(
        &mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: i32,
        transactional: bool,
    ) {
        self.options =
            BatchOptions { producer_id, producer_epoch, base_sequence, transactional, ..self.options };
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// The offset that [`BatchBuilder::append`] would assign.
    pub fn next_offset(&self) -> Offset {
        self.last_offset.map_or(self.options.base_offset, Offset::next)
    }

    /// The batch's size so far, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch's size before compression if `record` were appended: exact for the next offset.
    pub fn uncompressed_bytes_with(&self, record: &NewRecord<'_>) -> usize {
        let offset_delta = self.next_offset().0.wrapping_sub(self.options.base_offset.0) as i32;
        let base = self.base_timestamp.unwrap_or(record.timestamp);
        let headers = RecordHeaders::List(record.headers);
        let deltas = (record.timestamp.0.wrapping_sub(base.0), offset_delta);
        let body = body_bytes(deltas, record.key, record.value, &headers);
        self.bytes.len() + varint_bytes(body as i32) + body
    }

    /// The finished batch; empty if there is no record in it.
    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        match self.last_offset {
            Some(last_offset) => self.build_with_last_offset(last_offset),
            None => Ok(Vec::new()),
        }
    }

    /// Like [`BatchBuilder::build`], for a batch whose last offset is beyond its last record's, since compaction
    /// removed what was there.
    pub fn build_with_last_offset(mut self, last_offset: Offset) -> Result<Vec<u8>, BuildError> {
        self.check_producer()?;
        let last_offset_delta = self.offset_delta(last_offset)?;
        if !self.is_empty() && self.options.compression.codec().id() != 0 {
            let mut compressed = Vec::with_capacity(self.bytes.len() / 2);
            compressed.resize(layout::BATCH_HEADER_BYTES, 0);
            let records = self.bytes.get(layout::BATCH_HEADER_BYTES..).unwrap_or_default();
            self.options.compression.compress(records, &mut compressed)?;
            self.bytes = compressed;
        }
        let header = BatchHeader {
            base_offset: self.options.base_offset,
            size_in_bytes: self.bytes.len(),
            partition_leader_epoch: self.options.partition_leader_epoch,
            magic: layout::MAGIC_V2,
            crc: 0,
            attributes: self.attributes(),
            last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(Timestamp::NONE),
            max_timestamp: self.options.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: self.options.producer_id,
            producer_epoch: self.options.producer_epoch,
            base_sequence: self.options.base_sequence,
            record_count: self.count,
        };
        write_header(&mut self.bytes, &header)?;
        Ok(self.bytes)
    }

    fn attributes(&self) -> Attributes {
        let options = &self.options;
        let timestamp_type = match options.log_append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        Attributes::default()
            .with_codec_id(options.compression.codec().id())
            .with_timestamp_type(timestamp_type)
            .with_transactional(options.transactional)
            .with_control(options.control)
            .with_delete_horizon(options.delete_horizon.is_some())
    }

    fn check_producer(&self) -> Result<(), BuildError> {
        let options = &self.options;
        if options.producer_id == ProducerId::NONE {
            return match options.transactional {
                true => Err(BuildError::TransactionalWithoutProducerId),
                false => Ok(()),
            };
        }
        if options.producer_epoch == ProducerEpoch::NONE {
            return Err(BuildError::NegativeProducerEpoch);
        }
        if options.base_sequence < 0 && !options.control {
            return Err(BuildError::NegativeSequence);
        }
        Ok(())
    }

    fn offset_delta(&self, offset: Offset) -> Result<i32, BuildError> {
        let base_offset = self.options.base_offset;
        offset
            .0
            .checked_sub(base_offset.0)
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(|delta| *delta >= 0)
            .ok_or(BuildError::OffsetOutOfRange { offset, base_offset })
    }

    fn encode(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: RecordHeaders<'_>,
    ) -> Result<(), BuildError> {
        if let Some(last) = self.last_offset.filter(|last| offset <= *last) {
            return Err(BuildError::OffsetNotIncreasing { offset, last });
        }
        if timestamp < Timestamp::NONE {
            return Err(BuildError::NegativeTimestamp(timestamp));
        }
        let offset_delta = self.offset_delta(offset)?;
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(base_timestamp.0);
        let body = body_bytes((timestamp_delta, offset_delta), key, value, &headers);
        let size = i32::try_from(body).map_err(|_| BuildError::TooLarge)?;
        let end = self.bytes.len() + varint_bytes(size) + body;
        if i32::try_from(end).is_err() || self.count == i32::MAX {
            return Err(BuildError::TooLarge);
        }
        let out = &mut self.bytes;
        put_varint(out, size);
        out.push(0); // attributes, of which none is in use
        put_varlong(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_nullable_bytes(out, key);
        put_nullable_bytes(out, value);
        headers.put(out);
        debug_assert_eq!(out.len(), end);
        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset = Some(offset);
        self.count += 1;
        Ok(())
    }
}

/// An upper bound of what one record adds to a batch before compression.
pub fn record_bytes_max(record: &NewRecord<'_>) -> usize {
    const SIZE_AND_DELTAS_BYTES_MAX: usize = 5 + 10 + 5;
    SIZE_AND_DELTAS_BYTES_MAX
        + body_bytes((0, 0), record.key, record.value, &RecordHeaders::List(record.headers))
}

/// The header alone that compaction leaves of a batch whose records it removed, to keep what the producer's state
/// needs.
pub fn empty_batch(original: &BatchHeader) -> Vec<u8> {
    let mut bytes = vec![0; layout::BATCH_HEADER_BYTES];
    let attributes = original.attributes.known().with_codec_id(0).with_delete_horizon(false);
    let header = BatchHeader {
        size_in_bytes: bytes.len(),
        attributes,
        base_timestamp: Timestamp::NONE,
        record_count: 0,
        ..*original
    };
    // It has the size of a header, so it isn't too large.
    let _ = write_header(&mut bytes, &header);
    bytes
}

/// A batch with the record that ends a transaction. It isn't in anybody's sequence.
pub fn end_txn_batch(
    marker: EndTxnMarker,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    timestamp: Timestamp,
    partition_leader_epoch: LeaderEpoch,
) -> Result<Vec<u8>, BuildError> {
    let options = BatchOptions {
        partition_leader_epoch,
        producer_id,
        producer_epoch,
        transactional: true,
        control: true,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::with_capacity(options, 100);
    builder.append_control(marker.record_type(), timestamp, &marker.value())?;
    builder.build()
}

/// A batch with one control record of KRaft's log.
pub fn control_batch(
    record_type: ControlRecordType,
    value: &[u8],
    base_offset: Offset,
    timestamp: Timestamp,
    partition_leader_epoch: LeaderEpoch,
) -> Result<Vec<u8>, BuildError> {
    let options =
        BatchOptions { base_offset, partition_leader_epoch, control: true, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.append_control(record_type, timestamp, value)?;
    builder.build()
}

impl Batch<'_> {
    /// Options for a batch that takes this one's place, with `compression`.
    pub fn options(&self, compression: Compression) -> BatchOptions {
        BatchOptions::like(self.header(), compression)
    }
}

/// Writes the header of the finished batch in `bytes`, and its checksum.
pub(crate) fn write_header(bytes: &mut [u8], header: &BatchHeader) -> Result<(), BuildError> {
    let length = i32::try_from(bytes.len() - layout::LOG_OVERHEAD_BYTES).map_err(|_| BuildError::TooLarge)?;
    put(bytes, layout::BASE_OFFSET, header.base_offset.0.to_be_bytes());
    put(bytes, layout::BATCH_LENGTH, length.to_be_bytes());
    put(bytes, layout::PARTITION_LEADER_EPOCH, header.partition_leader_epoch.0.to_be_bytes());
    put(bytes, layout::MAGIC, header.magic.to_be_bytes());
    put(bytes, layout::ATTRIBUTES, header.attributes.0.to_be_bytes());
    put(bytes, layout::LAST_OFFSET_DELTA, header.last_offset_delta.to_be_bytes());
    put(bytes, layout::BASE_TIMESTAMP, header.base_timestamp.0.to_be_bytes());
    put(bytes, layout::MAX_TIMESTAMP, header.max_timestamp.0.to_be_bytes());
    put(bytes, layout::PRODUCER_ID, header.producer_id.0.to_be_bytes());
    put(bytes, layout::PRODUCER_EPOCH, header.producer_epoch.0.to_be_bytes());
    put(bytes, layout::BASE_SEQUENCE, header.base_sequence.to_be_bytes());
    put(bytes, layout::RECORD_COUNT, header.record_count.to_be_bytes());
    let crc = crc32c(bytes.get(layout::ATTRIBUTES..).unwrap_or_default());
    put(bytes, layout::CRC, crc.to_be_bytes());
    Ok(())
}

enum RecordHeaders<'a> {
    List(&'a [Header<'a>]),
    /// Count and encoded headers of a record that was read.
    Encoded(usize, &'a [u8]),
}

impl RecordHeaders<'_> {
    fn len(&self) -> usize {
        match self {
            RecordHeaders::List(list) => list.len(),
            RecordHeaders::Encoded(count, _) => *count,
        }
    }

    fn encoded_bytes(&self) -> usize {
        varint_bytes(self.len() as i32)
            + match self {
                RecordHeaders::List(list) => list.iter().map(header_bytes).sum(),
                RecordHeaders::Encoded(_, bytes) => bytes.len(),
            }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as i32);
        match self {
            RecordHeaders::List(list) => {
                for header in *list {
                    put_nullable_bytes(out, Some(header.key));
                    put_nullable_bytes(out, header.value);
                }
            }
            RecordHeaders::Encoded(_, bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn body_bytes(
    (timestamp_delta, offset_delta): (i64, i32),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &RecordHeaders<'_>,
) -> usize {
    1 + varlong_bytes(timestamp_delta)
        + varint_bytes(offset_delta)
        + nullable_bytes_bytes(key)
        + nullable_bytes_bytes(value)
        + headers.encoded_bytes()
}

fn header_bytes(header: &Header<'_>) -> usize {
    nullable_bytes_bytes(Some(header.key)) + nullable_bytes_bytes(header.value)
}

fn nullable_bytes_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_bytes(bytes.len() as i32) + bytes.len())
}

fn put_nullable_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i32));
    out.extend_from_slice(bytes.unwrap_or_default());
}

#[cfg(test)]
mod tests;
