//! Appending: checks outside of the writer's lock, then offsets, producer state, one vectored write, and publication
//! inside of it.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_record::{
    AppendOrigin, AppendRules, Batch, BatchHeader, BatchPrefix, Batches, Codec, validate_and_assign,
};
use ottla_types::{LeaderEpoch, Now, Offset, Timestamp};
use tracing::info;

use super::UnifiedLog;
use super::high_watermark::publish_first_unstable;
use super::producers::{Checked, ProducerChanges};
use crate::append_info::LogAppendInfo;
use crate::error::{AppendError, StorageError};
use crate::log_config::LogConfig;
use crate::offset_metadata::OffsetMetadata;
use crate::producer_state::{
    BatchMetadata, BatchSource, ProducerBatch, ProducerStateError, ProducerStateManager, VerificationGuard,
};
use crate::recovery::OFFSET_MAX;
use crate::segment::{AppendedBatch, RollParams, Segment, not_taken_back};

/// The format's own bound on what the records of a batch may expand to. They are read one after another, never held.
const DECOMPRESSED_BYTES_MAX: usize = i32::MAX as usize;
/// Of a batch whose records are compressed anew, unless batches may be larger still: they are in memory meanwhile.
const REWRITTEN_BYTES_MAX: usize = 64 << 20;

/// How a leader's append is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct LeaderAppend {
    pub leader_epoch: LeaderEpoch,
    pub origin: AppendOrigin,
    /// What [`UnifiedLog::start_verification`] gave for a transactional batch.
    pub verification_guard: VerificationGuard,
    /// Of the coordinator that writes a transaction marker (`transaction.version`); 0 for all else.
    pub transaction_version: i16,
}

impl LeaderAppend {
    pub fn new(leader_epoch: LeaderEpoch, origin: AppendOrigin) -> LeaderAppend {
        LeaderAppend {
            leader_epoch,
            origin,
            verification_guard: VerificationGuard::NotNeeded,
            transaction_version: 0,
        }
    }
}

/// Batches that are about to be written: their bytes, and what their headers will say.
struct Pending<'a> {
    parts: &'a [IoSlice<'a>],
    headers: &'a [BatchHeader],
    /// Of the batches that have a producer.
    producer_batches: &'a [ProducerBatch],
    bytes: usize,
    source: BatchSource,
    verification_guard: VerificationGuard,
    transaction_version: i16,
}

impl Pending<'_> {
    fn first_offset(&self) -> Offset {
        self.headers.first().map_or(Offset::UNKNOWN, |header| header.base_offset)
    }

    fn last_offset(&self) -> Offset {
        self.headers.last().map_or(Offset::UNKNOWN, BatchHeader::last_offset)
    }

    fn records(&self) -> i64 {
        self.last_offset() - self.first_offset() + 1
    }

    fn max_timestamp(&self) -> Timestamp {
        self.headers.iter().map(|header| header.max_timestamp).max().unwrap_or(Timestamp::NONE)
    }

    fn info(&self, log_start_offset: Offset) -> LogAppendInfo {
        LogAppendInfo {
            first_offset: self.first_offset(),
            last_offset: self.last_offset(),
            last_leader_epoch: self
                .headers
                .last()
                .map_or(LeaderEpoch::NONE, |last| last.partition_leader_epoch),
            max_timestamp: self.max_timestamp(),
            log_append_time: Timestamp::NONE,
            log_start_offset,
            valid_bytes: self.bytes as u32,
            is_duplicate: false,
        }
    }
}

impl UnifiedLog {
    /// Appends the one batch in `records` as the partition's leader: its records get the next offsets. Batches from the
    /// Raft leader have theirs already, and there may be several.
    ///
    /// `records` may be a slice of a network frame: it is neither copied nor changed, unless a rule of the topic wants
    /// it to be compressed anew.
    pub fn append_as_leader(
        &self,
        records: &Bytes,
        append: &LeaderAppend,
        now: Now,
    ) -> Result<LogAppendInfo, AppendError> {
        if append.origin == AppendOrigin::RaftLeader {
            return self.append_numbered(records, append, now);
        }
        let config = self.config();
        check_size_of_first(records, &config)?;
        let rules = AppendRules {
            topic_partition: &self.partition,
            origin: append.origin,
            partition_leader_epoch: append.leader_epoch,
            now: now.wall,
            compression: config.compression,
            compacted: config.cleanup_policy.compact,
            timestamp_type: config.message_timestamp_type,
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            rewritten_bytes_max: rewritten_bytes_max(&config),
        };
        let mut batch = validate_and_assign(records, Offset::ZERO, &rules)?;
        if batch.is_rewritten() {
            check_size(batch.size_in_bytes(), &config)?;
        }
        let marker = if batch.header().is_control() { control_batch(records)? } else { None };

        let mut producers = self.lock_writer()?;
        batch.set_first_offset(self.log_end_offset());
        let header = *batch.header();
        let producer_batch = header.has_producer_id().then(|| ProducerBatch {
            marker: marker.and_then(|m| m.marker),
            ..ProducerBatch::of_header(&header)
        });
        let [head, body] = batch.parts();
        let pending = Pending {
            parts: &[IoSlice::new(head), IoSlice::new(body)],
            headers: &[header],
            producer_batches: producer_batch.as_slice(),
            bytes: batch.size_in_bytes(),
            source: match append.origin {
                AppendOrigin::Client => BatchSource::Client,
                _ => BatchSource::Broker,
            },
            verification_guard: append.verification_guard,
            transaction_version: append.transaction_version,
        };
        let mut appended = self.append_pending(&mut producers, &pending, &config, now)?;
        if !appended.is_duplicate {
            appended.log_append_time = batch.log_append_time();
        }
        Ok(appended)
    }

    /// Appends batches that a leader has numbered. Those of a later epoch than the replica's own, and all after them, are
    /// left out: the replica does not know that epoch's leader yet.
    pub fn append_as_follower(
        &self,
        records: &Bytes,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<LogAppendInfo, AppendError> {
        let config = self.config();
        let numbered = Numbered::read(records, |batch| {
            if batch.partition_leader_epoch > leader_epoch {
                info!(partition = %self.partition, epoch = %batch.partition_leader_epoch, current = %leader_epoch,
                    "batches of a later leader epoch are left out");
                return Ok(false);
            }
            Ok(true)
        })?;
        self.append_read(&numbered, records, BatchSource::Replication, &config, now)
    }

    fn append_numbered(
        &self,
        records: &Bytes,
        append: &LeaderAppend,
        now: Now,
    ) -> Result<LogAppendInfo, AppendError> {
        let config = self.config();
        let numbered = Numbered::read(records, |batch| {
            check_size(batch.size_in_bytes, &config)?;
            if batch.partition_leader_epoch != append.leader_epoch {
                return Err(AppendError::InvalidBatch(format!(
                    "the Raft leader's batch has epoch {} instead of {}",
                    batch.partition_leader_epoch, append.leader_epoch
                )));
            }
            Ok(true)
        })?;
        self.append_read(&numbered, records, BatchSource::Broker, &config, now)
    }

    fn append_read(
        &self,
        numbered: &Numbered,
        records: &Bytes,
        source: BatchSource,
        config: &LogConfig,
        now: Now,
    ) -> Result<LogAppendInfo, AppendError> {
        let part = [IoSlice::new(records.get(..numbered.bytes).unwrap_or_default())];
        let pending = Pending {
            parts: &part,
            headers: &numbered.headers,
            producer_batches: &numbered.producer_batches,
            bytes: numbered.bytes,
            source,
            verification_guard: VerificationGuard::NotNeeded,
            transaction_version: 0,
        };
        let Some(first) = numbered.headers.first() else { return Ok(pending.info(self.log_start_offset())) };
        let mut producers = self.lock_writer()?;
        let next_offset = self.log_end_offset();
        if first.base_offset < next_offset {
            let (first_offset, last_offset) = (pending.first_offset(), pending.last_offset());
            return Err(AppendError::UnexpectedOffset { first_offset, last_offset, next_offset });
        }
        self.append_pending(&mut producers, &pending, config, now)
    }

    fn append_pending(
        &self,
        producers: &mut ProducerStateManager,
        pending: &Pending<'_>,
        config: &LogConfig,
        now: Now,
    ) -> Result<LogAppendInfo, AppendError> {
        let appended = self.try_append(producers, pending, config, now);
        if matches!(appended, Err(AppendError::Storage(StorageError::NoSpace { .. }))) {
            self.lacks_room.store(true, Ordering::Relaxed);
        }
        appended
    }

    fn try_append(
        &self,
        producers: &mut ProducerStateManager,
        pending: &Pending<'_>,
        config: &LogConfig,
        now: Now,
    ) -> Result<LogAppendInfo, AppendError> {
        if pending.bytes > config.segment_bytes as usize {
            let (bytes, max_bytes) = (pending.bytes as u64, u64::from(config.segment_bytes));
            return Err(AppendError::RecordBatchTooLarge { bytes, max_bytes });
        }
        let changes = match self.check_producers(producers, pending)? {
            Checked::Duplicate(of) => {
                // The coordinator was asked for it as for a first try, which a process before this one may have appended.
                for batch in pending.producer_batches.iter().filter(|batch| batch.is_transactional) {
                    let ongoing = producers.entry(batch.producer_id);
                    if ongoing.is_some_and(|entry| entry.has_ongoing_txn(batch.producer_epoch)) {
                        producers.end_verification(batch.producer_id, pending.verification_guard);
                    }
                }
                return Ok(self.duplicate(pending, &of));
            }
            Checked::New(changes) => changes,
        };
        let params = RollParams {
            now: now.wall,
            max_timestamp: pending.max_timestamp(),
            last_offset: pending.last_offset(),
            bytes: pending.bytes as u32,
        };
        let segment = self.segment_for(producers, &params, pending.first_offset(), now)?;
        self.assign_epochs(pending)?;
        if self.unflushed_records() + pending.records() >= config.flush_messages {
            // What a full disk may refuse comes before there is anything that would have to be taken back.
            self.leader_epochs()
                .flush()
                .map_err(|error| self.failed("writing the leader epoch checkpoint", error.into()))?;
        }
        self.write(&segment, producers, pending, &changes, config, now)?;
        if self.unflushed_records() >= config.flush_messages {
            self.flush_locked(now)?;
        }
        Ok(pending.info(self.log_start_offset()))
    }

    fn check_producers(
        &self,
        producers: &mut ProducerStateManager,
        pending: &Pending<'_>,
    ) -> Result<Checked, AppendError> {
        match check_batches(producers, pending) {
            Err(ProducerStateError::OutOfOrderSequence { producer_id, .. })
                if self.recall_batches(producers, producer_id)? =>
            {
                Ok(check_batches(producers, pending)?)
            }
            // What a producer has sent behind a batch that found no room: it is told so as well, and sends all again in their
            // order. Told of a gap, some producers begin a new epoch, in which nothing is known for sent before.
            Err(ProducerStateError::OutOfOrderSequence { .. }) if self.lacks_room.load(Ordering::Relaxed) => {
                Err(StorageError::NoSpace { dir: self.log_dir() }.into())
            }
            checked => Ok(checked?),
        }
    }

    fn duplicate(&self, pending: &Pending<'_>, of: &BatchMetadata) -> LogAppendInfo {
        LogAppendInfo {
            first_offset: of.first_offset(),
            last_offset: of.last_offset,
            log_append_time: of.timestamp,
            is_duplicate: true,
            ..pending.info(self.log_start_offset())
        }
    }

    /// Batches of old formats have no epoch: what is known of epochs does not hold behind them.
    fn assign_epochs(&self, pending: &Pending<'_>) -> Result<(), StorageError> {
        for header in pending.headers {
            if !header.is_legacy() {
                self.assign_epoch_start_offset(header.partition_leader_epoch, header.base_offset);
            } else if !self.leader_epochs().is_empty() {
                self.leader_epochs()
                    .clear()
                    .map_err(|error| self.failed("writing the leader epoch checkpoint", error.into()))?;
            }
        }
        Ok(())
    }

    /// Writes, and publishes what was written.
    fn write(
        &self,
        segment: &Segment,
        producers: &mut ProducerStateManager,
        pending: &Pending<'_>,
        changes: &ProducerChanges,
        config: &LogConfig,
        now: Now,
    ) -> Result<(), StorageError> {
        let position = segment.size();
        let batches: Vec<AppendedBatch> = pending.headers.iter().map(appended_batch).collect();
        segment
            .append(pending.parts, &batches, config)
            .map_err(|error| self.segment_failed("appending", error))?;
        if let Err(error) = changes.index_aborted(producers, segment) {
            // A marker without its entry would let readers take aborted records for committed ones.
            segment
                .truncate_to(pending.first_offset(), now.wall)
                .map_err(|error| self.failed("taking back an append", not_taken_back(error.into_io())))?;
            return Err(self.segment_failed("appending to a transaction index", error));
        }
        if pending.max_timestamp() < Timestamp(0) {
            // Retention has nothing else to go by.
            segment.note_last_modified(now.wall);
        }
        changes.apply(producers);
        self.lacks_room.store(false, Ordering::Relaxed);
        let end = pending.last_offset().next();
        producers.set_map_end_offset(end);
        self.tail.appended(segment.base_offset(), position, &batches);
        let mut offsets = self.offsets.change();
        offsets.log_end = OffsetMetadata::new(end, segment.base_offset(), segment.size());
        publish_first_unstable(producers, &mut offsets);
        Ok(())
    }
}

fn check_batches(
    producers: &ProducerStateManager,
    pending: &Pending<'_>,
) -> Result<Checked, ProducerStateError> {
    let mut changes =
        ProducerChanges::new(pending.source, pending.verification_guard, pending.transaction_version);
    for batch in pending.producer_batches {
        if let Some(duplicate) = changes.check(producers, batch)? {
            return Ok(Checked::Duplicate(duplicate));
        }
    }
    Ok(Checked::New(changes))
}

/// What the records of a numbered append say.
struct Numbered {
    headers: Vec<BatchHeader>,
    producer_batches: Vec<ProducerBatch>,
    bytes: usize,
}

impl Numbered {
    /// Reads complete batches up to the first one that is not wanted; what follows as the start of another is ignored,
    /// since a fetch may end inside a batch.
    fn read(
        records: &Bytes,
        wanted: impl Fn(&BatchHeader) -> Result<bool, AppendError>,
    ) -> Result<Numbered, AppendError> {
        let mut numbered = Numbered { headers: Vec::new(), producer_batches: Vec::new(), bytes: 0 };
        for batch in Batches::new(records) {
            let batch = batch?;
            if !wanted(&batch)? {
                break;
            }
            batch.check_crc()?;
            if !(batch.base_offset..OFFSET_MAX).contains(&batch.last_offset()) {
                let (first, last) = (batch.base_offset, batch.last_offset());
                return Err(AppendError::InvalidBatch(format!(
                    "offsets {first} to {last} of a replicated batch"
                )));
            }
            if let Some(previous) = numbered.headers.last().map(BatchHeader::last_offset)
                && batch.last_offset() <= previous
            {
                return Err(AppendError::OffsetsOutOfOrder { previous, last_offset: batch.last_offset() });
            }
            if batch.has_producer_id() {
                numbered.producer_batches.push(ProducerBatch::of(&batch)?);
            }
            numbered.headers.push(*batch.header());
            numbered.bytes += batch.size_in_bytes;
        }
        Ok(numbered)
    }
}

/// Records that will not be compressed can't be more than a batch may have.
fn rewritten_bytes_max(config: &LogConfig) -> usize {
    let is_compressed = config.compression.is_none_or(|compression| compression.codec() != Codec::None);
    let message = config.max_message_bytes as usize;
    if is_compressed { message.max(REWRITTEN_BYTES_MAX) } else { message }
}

fn appended_batch(header: &BatchHeader) -> AppendedBatch {
    AppendedBatch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        size_in_bytes: header.size_in_bytes as u32,
        max_timestamp: header.max_timestamp,
    }
}

/// The marker in a coordinator's batch.
fn control_batch(records: &Bytes) -> Result<Option<ProducerBatch>, AppendError> {
    Ok(Some(ProducerBatch::of(&Batch::parse(records)?)?))
}

fn check_size_of_first(records: &Bytes, config: &LogConfig) -> Result<(), AppendError> {
    match BatchPrefix::parse(records)? {
        Some(prefix) => check_size(prefix.size_in_bytes, config),
        None => Ok(()),
    }
}

fn check_size(bytes: usize, config: &LogConfig) -> Result<(), AppendError> {
    if bytes <= config.max_message_bytes as usize {
        return Ok(());
    }
    Err(AppendError::RecordTooLarge { bytes: bytes as u64, max_bytes: u64::from(config.max_message_bytes) })
}
