//! What a leader does with a batch before it appends it: checks it by the topic's rules and gives its records their
//! offsets.
//!
//! A batch that only needs its header changed isn't copied: the result is the new header and the old body. A batch
//! whose codec must change, or whose offsets have gaps, is written again.

mod checker;
mod error;
mod walk;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

use self::checker::RecordChecker;
pub use self::error::{InvalidBatch, InvalidRecord, InvalidRecords, ValidationError};
use self::walk::{Cursor, WalkedRecord};
use crate::attributes::TimestampType;
use crate::batch::Batch;
use crate::batches::Batches;
use crate::builder::{BatchBuilder, BatchOptions};
use crate::compression::{Codec, Compression, DecompressedStream};
use crate::crc::crc32c_of_parts;
use crate::error::RecordError;
use crate::header::BatchHeader;
use crate::layout::{self, BASE_OFFSET, BATCH_HEADER_BYTES, put};

/// Who appends: clients are trusted least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendOrigin {
    Client,
    /// The coordinators of groups, transactions and share groups.
    Coordinator,
    /// KRaft's leader, which assigned offsets and epoch itself.
    RaftLeader,
}

/// The rules of one append.
#[derive(Clone, Debug)]
pub struct AppendRules<'a> {
    /// For messages.
    pub topic_partition: &'a TopicPartition,
    pub origin: AppendOrigin,
    pub partition_leader_epoch: LeaderEpoch,
    /// The wall clock: append time, and what record timestamps are compared with.
    pub now: Timestamp,
    /// `compression.type`; `None` is "producer": the batch's own.
    pub compression: Option<Compression>,
    /// Is `cleanup.policy` compaction, so that records need keys?
    pub compacted: bool,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// Bound on the size of the batch's records when they are decompressed.
    pub decompressed_bytes_max: usize,
    /// The same for a batch that is written anew, whose records are all in memory at once.
    pub rewritten_bytes_max: usize,
}

impl AppendRules<'_> {
    /// The time that all records get, for `LogAppendTime`.
    fn append_time(&self) -> Option<Timestamp> {
        (self.timestamp_type == TimestampType::LogAppendTime).then_some(self.now)
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    header: BatchHeader,
    header_bytes: [u8; BATCH_HEADER_BYTES],
    body: Bytes,
    rewritten: bool,
    decompressed_bytes: usize,
}

impl ValidatedBatch {
    /// As it is to be stored, with offsets and epoch assigned.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Numbers the records from `offset` on: for a caller that validates before it holds the lock under which offsets are
    /// given. The checksum doesn't cover it.
    pub fn set_first_offset(&mut self, offset: Offset) {
        self.header.base_offset = offset;
        put(&mut self.header_bytes, BASE_OFFSET, offset.0.to_be_bytes());
    }

    pub fn first_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Also the offset that the time index notes for the batch's maximum timestamp.
    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    pub fn max_timestamp(&self) -> Timestamp {
        self.header.max_timestamp
    }

    /// What the produce response says: the append time for `LogAppendTime`, otherwise none.
    pub fn log_append_time(&self) -> Timestamp {
        match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            _ => Timestamp::NONE,
        }
    }

    pub fn size_in_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.body.len()
    }

    /// Was the batch compressed or numbered anew, so that its size may differ from the one that came?
    pub fn is_rewritten(&self) -> bool {
        self.rewritten
    }

    /// Size of the records when decompressed, as encoded.
    pub fn decompressed_bytes(&self) -> usize {
        self.decompressed_bytes
    }

    /// The bytes to store, in two parts for one vectored write.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.header_bytes, &self.body]
    }

    /// The bytes to store in one piece, copied.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from(self.parts().concat())
    }
}

/// Checks the one batch in `records` (what follows it as the start of another is ignored) and numbers its records from
/// `first_offset` on.
///
/// Sizes are the caller's to check, before (the batch as it came) and after (if [`ValidatedBatch::is_rewritten`]).
pub fn validate_and_assign(
    records: &Bytes,
    first_offset: Offset,
    rules: &AppendRules<'_>,
) -> Result<ValidatedBatch, ValidationError> {
    let batch = the_batch(records)?;
    check_origin(&batch, rules)?;
    batch.check_crc()?;
    if rules.origin == AppendOrigin::Client {
        check_client_batch(&batch)?;
    }
    let codec = Codec::from_id(batch.attributes.codec_id())?;
    let target = rules.compression.filter(|target| target.codec() != codec);
    let keeps_codec = batch.is_control() || batch.record_count == 0;
    if let Some(target) = target.filter(|_| !keeps_codec) {
        return rewrite(&batch, first_offset, target, rules);
    }
    let walked = walk_records(&batch, codec, rules)?;
    if !walked.consecutive {
        let own = rules.compression.filter(|c| c.codec() == codec).unwrap_or(Compression::new(codec));
        return rewrite(&batch, first_offset, own, rules);
    }
    let body = records.slice(BATCH_HEADER_BYTES..batch.size_in_bytes);
    Ok(assign_in_place(&batch, body, first_offset, walked, rules))
}

fn the_batch(records: &Bytes) -> Result<Batch<'_>, ValidationError> {
    let mut batches = Batches::new(records);
    let batch = batches.next().transpose()?.ok_or(ValidationError::InvalidBatch(InvalidBatch::None))?;
    if batch.is_legacy() {
        let magic = batch.magic;
        return Err(ValidationError::InvalidBatch(InvalidBatch::UnsupportedMagic { magic }));
    }
    match batches.next().transpose()? {
        Some(_) => Err(ValidationError::InvalidBatch(InvalidBatch::MoreThanOne)),
        None => Ok(batch),
    }
}

fn check_origin(batch: &Batch<'_>, rules: &AppendRules<'_>) -> Result<(), ValidationError> {
    let expected = rules.partition_leader_epoch.0;
    let found = batch.partition_leader_epoch.0;
    let invalid = match rules.origin {
        AppendOrigin::RaftLeader if found != expected => InvalidBatch::WrongLeaderEpoch { expected, found },
        AppendOrigin::Client if batch.base_offset != Offset::ZERO => {
            InvalidBatch::BaseOffsetNotZero(batch.base_offset)
        }
        _ => return Ok(()),
    };
    Err(ValidationError::InvalidBatch(invalid))
}

fn check_client_batch(header: &BatchHeader) -> Result<(), ValidationError> {
    let count = header.record_count;
    let invalid = if count <= 0 {
        InvalidBatch::NoRecords(count)
    } else if i64::from(header.last_offset_delta) + 1 != i64::from(count) {
        let (first, last) = (header.base_offset, header.last_offset());
        InvalidBatch::OffsetsDoNotMatchCount { first, last, count }
    } else if header.is_control() {
        InvalidBatch::ControlBatchFromClient
    } else if header.has_producer_id() && header.base_sequence < 0 {
        let (base_sequence, producer_id) = (header.base_sequence, header.producer_id.0);
        InvalidBatch::NegativeSequence { base_sequence, producer_id }
    } else {
        return Ok(());
    };
    Err(ValidationError::InvalidBatch(invalid))
}

/// What the records of a batch amount to.
#[derive(Clone, Copy, Debug)]
struct Walked {
    max_timestamp: Timestamp,
    /// Are the offsets 0, 1, 2 ... from the base offset on?
    consecutive: bool,
    bytes: usize,
}

fn walk_records(batch: &Batch<'_>, codec: Codec, rules: &AppendRules<'_>) -> Result<Walked, ValidationError> {
    if codec == Codec::None || batch.record_count == 0 {
        let mut body = batch.body();
        return walk(batch, &mut body, rules);
    }
    let mut stream = DecompressedStream::open(codec, batch.body(), rules.decompressed_bytes_max, false)?;
    walk(batch, &mut stream, rules)
}

fn walk(
    batch: &Batch<'_>,
    records: &mut impl Cursor,
    rules: &AppendRules<'_>,
) -> Result<Walked, ValidationError> {
    let mut checker = RecordChecker::new(batch.header(), rules);
    let mut walked = Walked { max_timestamp: Timestamp::NONE, consecutive: true, bytes: 0 };
    if batch.record_count < 0 {
        return Err(RecordError::InvalidRecordCount(batch.record_count).into());
    }
    for index in 0..batch.record_count {
        let record = match records.next_quickly() {
            Some(record) => record,
            None => records.next_thoroughly()?,
        };
        let timestamp = checker.timestamp(record.timestamp_delta);
        checker.check(index, &record, timestamp);
        walked.max_timestamp = walked.max_timestamp.max(timestamp);
        walked.consecutive &= record.offset_delta == index;
        walked.bytes += record.size_in_bytes;
    }
    match records.bytes_left()? {
        0 => checker.finish().map(|()| walked),
        left => Err(RecordError::BytesAfterRecords(left).into()),
    }
}

fn assign_in_place(
    batch: &Batch<'_>,
    body: Bytes,
    first_offset: Offset,
    walked: Walked,
    rules: &AppendRules<'_>,
) -> ValidatedBatch {
    let last_offset = first_offset.0.wrapping_add(i64::from(batch.record_count)).wrapping_sub(1);
    let max_timestamp = rules.append_time().unwrap_or(walked.max_timestamp);
    let changed = (rules.timestamp_type, max_timestamp) != (batch.timestamp_type(), batch.max_timestamp);
    let mut header = BatchHeader {
        base_offset: Offset(last_offset.wrapping_sub(i64::from(batch.last_offset_delta))),
        partition_leader_epoch: rules.partition_leader_epoch,
        max_timestamp,
        ..*batch.header()
    };
    let mut header_bytes: [u8; BATCH_HEADER_BYTES] = layout::array(batch.bytes(), 0);
    layout::put(&mut header_bytes, layout::BASE_OFFSET, header.base_offset.0.to_be_bytes());
    layout::put(
        &mut header_bytes,
        layout::PARTITION_LEADER_EPOCH,
        header.partition_leader_epoch.0.to_be_bytes(),
    );
    if changed {
        header.attributes = batch.attributes.known().with_timestamp_type(rules.timestamp_type);
        layout::put(&mut header_bytes, layout::ATTRIBUTES, header.attributes.0.to_be_bytes());
        layout::put(&mut header_bytes, layout::MAX_TIMESTAMP, header.max_timestamp.0.to_be_bytes());
        let covered = header_bytes.get(layout::ATTRIBUTES..).unwrap_or_default();
        header.crc = crc32c_of_parts(covered, &body);
        layout::put(&mut header_bytes, layout::CRC, header.crc.to_be_bytes());
    }
    ValidatedBatch { header, header_bytes, body, rewritten: false, decompressed_bytes: walked.bytes }
}

/// Writes the records anew, numbered without gaps and compressed as `compression` says.
fn rewrite(
    batch: &Batch<'_>,
    first_offset: Offset,
    compression: Compression,
    rules: &AppendRules<'_>,
) -> Result<ValidatedBatch, ValidationError> {
    let options = BatchOptions {
        base_offset: first_offset,
        partition_leader_epoch: rules.partition_leader_epoch,
        log_append_time: rules.append_time(),
        delete_horizon: None,
        ..batch.options(compression)
    };
    let mut builder = BatchBuilder::with_capacity(options, batch.size_in_bytes);
    let mut checker = RecordChecker::new(batch.header(), rules);
    let mut decompressed_bytes = 0;
    let mut records = batch.records(rules.rewritten_bytes_max)?;
    let mut index = 0;
    while let Some(record) = records.next()? {
        let walked = WalkedRecord::from_record(&record, batch.base_offset);
        checker.check(index, &walked, record.timestamp);
        if checker.total == 0 {
            builder.append_copy(builder.next_offset(), &record)?;
        }
        decompressed_bytes += record.size_in_bytes;
        index += 1;
    }
    checker.finish()?;
    let bytes = Bytes::from(builder.build()?);
    let header = *Batch::parse(&bytes)?.header();
    Ok(ValidatedBatch {
        header,
        header_bytes: layout::array(&bytes, 0),
        body: bytes.slice(BATCH_HEADER_BYTES..),
        rewritten: true,
        decompressed_bytes,
    })
}

#[cfg(test)]
mod tests;
