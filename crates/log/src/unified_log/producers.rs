//! The log's producers: checks of an append, transactions, and what administrators ask.

use std::collections::{BTreeMap, HashMap};

use ottla_types::{Now, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::UnifiedLog;
use crate::cleaner::LastRecord;
use crate::error::StorageError;
use crate::producer_state::{
    BatchMetadata, BatchSource, CompletedTxn, ProducerAppend, ProducerBatch, ProducerStateEntry,
    ProducerStateError, ProducerStateManager, VerificationGuard,
};
use crate::segment::{Segment, SegmentError};

/// What the producer state says to an append.
pub(super) enum Checked {
    /// It is in the log already.
    Duplicate(BatchMetadata),
    New(ProducerChanges),
}

/// What an append will change in the producer state.
pub(super) struct ProducerChanges {
    source: BatchSource,
    verification_guard: VerificationGuard,
    transaction_version: i16,
    appends: BTreeMap<ProducerId, ProducerAppend>,
    completed: Vec<CompletedTxn>,
    transactional: Vec<Transactional>,
}

/// A transactional batch of a producer's.
struct Transactional {
    producer_id: ProducerId,
    /// Of a marker: the last epoch whose transactions are at their end in this partition.
    ended: Option<ProducerEpoch>,
}

impl ProducerChanges {
    pub fn new(
        source: BatchSource,
        verification_guard: VerificationGuard,
        transaction_version: i16,
    ) -> ProducerChanges {
        ProducerChanges {
            source,
            verification_guard,
            transaction_version,
            appends: BTreeMap::new(),
            completed: Vec::new(),
            transactional: Vec::new(),
        }
    }

    /// Checks one batch and takes note of it. Some: it is a retry of this batch.
    pub fn check(
        &mut self,
        producers: &ProducerStateManager,
        batch: &ProducerBatch,
    ) -> Result<Option<BatchMetadata>, ProducerStateError> {
        let entry = producers.entry(batch.producer_id);
        if self.source == BatchSource::Client
            && let Some(duplicate) = entry.and_then(|entry| {
                entry.duplicate_of(batch.producer_epoch, batch.first_sequence, batch.last_sequence)
            })
        {
            return Ok(Some(duplicate));
        }
        if self.source != BatchSource::Replication && batch.is_transactional {
            self.check_transaction(producers, entry, batch)?;
        }
        let append = self
            .appends
            .entry(batch.producer_id)
            .or_insert_with(|| producers.prepare(batch.producer_id, self.source));
        let completed = append.append(batch, self.transaction_version)?;
        self.completed.extend(completed);
        if batch.is_transactional {
            let ended = batch.marker.map(|_| self.last_ended_epoch(batch.producer_epoch));
            self.transactional.push(Transactional { producer_id: batch.producer_id, ended });
        }
        Ok(None)
    }

    /// Since version 2, a marker carries the epoch that its producer has afterwards.
    fn last_ended_epoch(&self, of_marker: ProducerEpoch) -> ProducerEpoch {
        if self.transaction_version >= 2 { ProducerEpoch(of_marker.0.saturating_sub(1)) } else { of_marker }
    }

    /// A batch that starts a transaction needs the coordinator's word that the transaction knows this partition.
    fn check_transaction(
        &self,
        producers: &ProducerStateManager,
        entry: Option<&ProducerStateEntry>,
        batch: &ProducerBatch,
    ) -> Result<(), ProducerStateError> {
        if entry.is_some_and(|entry| entry.has_ongoing_txn(batch.producer_epoch)) {
            return Ok(());
        }
        refuse_older_epoch(entry, batch.producer_id, batch.producer_epoch)?;
        if producers.lacks_verification(batch, self.verification_guard) {
            return Err(ProducerStateError::InvalidTxnState { producer_id: batch.producer_id });
        }
        Ok(())
    }

    /// Writes the transactions that the append aborts into the segment's index.
    pub fn index_aborted(
        &self,
        producers: &ProducerStateManager,
        segment: &Segment,
    ) -> Result<(), SegmentError> {
        let aborted = producers.aborted_txns(self.appends.values(), &self.completed);
        aborted.into_iter().try_for_each(|txn| segment.append_aborted(txn))
    }

    /// The append is written.
    pub fn apply(&self, producers: &mut ProducerStateManager) {
        for append in self.appends.values() {
            producers.update(append);
        }
        for completed in &self.completed {
            producers.complete_txn(completed);
        }
        for &Transactional { producer_id, ended } in &self.transactional {
            match ended {
                None => producers.end_verification(producer_id, self.verification_guard),
                Some(epoch) => producers.forget_verification(producer_id, epoch),
            }
        }
    }
}

fn refuse_older_epoch(
    entry: Option<&ProducerStateEntry>,
    producer_id: ProducerId,
    epoch: ProducerEpoch,
) -> Result<(), ProducerStateError> {
    match entry.map(|entry| entry.producer_epoch) {
        Some(current) if epoch < current => {
            Err(ProducerStateError::InvalidProducerEpoch { producer_id, epoch, current })
        }
        _ => Ok(()),
    }
}

/// What DescribeProducers says of one producer (KIP-664).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub last_sequence: i32,
    pub last_timestamp: Timestamp,
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<Offset>,
}

impl From<&ProducerStateEntry> for ActiveProducer {
    fn from(entry: &ProducerStateEntry) -> ActiveProducer {
        ActiveProducer {
            producer_id: entry.producer_id,
            producer_epoch: entry.producer_epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first_offset: entry.current_txn_first_offset,
        }
    }
}

impl UnifiedLog {
    /// Before a transactional batch is appended: what to ask the transaction coordinator for, if anything. The append
    /// must bring what is returned here.
    pub fn start_verification(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: i32,
        supports_epoch_bump: bool,
        now: Now,
    ) -> Result<VerificationGuard, ProducerStateError> {
        let mut producers = self.writer.lock();
        let entry = producers.entry(producer_id);
        refuse_older_epoch(entry, producer_id, epoch)?;
        let is_known = |entry: &ProducerStateEntry| !supports_epoch_bump || producers.has_added(entry);
        if entry.is_some_and(|entry| entry.has_ongoing_txn(epoch) && is_known(entry)) {
            return Ok(VerificationGuard::NotNeeded);
        }
        Ok(producers.start_verification(producer_id, epoch, sequence, supports_epoch_bump, now.wall))
    }

    /// Takes over from the log whose place this copy of it takes what coordinators are being asked, and what they have answered
    /// for the transactions that are open: no file tells.
    pub fn take_over_verifications(&self, replaced: &UnifiedLog) {
        let mut from = replaced.writer.lock();
        self.writer.lock().take_over_verifications(&mut from);
    }

    /// Whether anything of the producer is remembered, in whichever epoch.
    pub fn knows_producer(&self, producer_id: ProducerId) -> bool {
        self.writer.lock().entry(producer_id).is_some()
    }

    pub fn has_ongoing_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.writer.lock().entry(producer_id).is_some_and(|entry| entry.has_ongoing_txn(epoch))
    }

    /// All producers that the log remembers, by id.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.writer.lock().producers().map(ActiveProducer::from).collect()
    }

    /// What each producer wrote last: compaction keeps at least its batch's header.
    pub fn last_records_of_active_producers(&self) -> HashMap<ProducerId, LastRecord> {
        let last_record = |entry: &ProducerStateEntry| LastRecord {
            last_data_offset: entry.last_batch().map(|batch| batch.last_offset),
            producer_epoch: entry.producer_epoch,
        };
        self.writer.lock().producers().map(|entry| (entry.producer_id, last_record(entry))).collect()
    }

    pub fn producer_count(&self) -> usize {
        self.writer.lock().len()
    }

    /// A transaction has been open for much longer than any may.
    pub fn has_late_transaction(&self, now: Now) -> bool {
        self.writer.lock().has_late_transaction(now.wall)
    }

    /// Forgets producers that were silent for too long.
    pub fn remove_expired_producers(&self, now: Now) {
        self.writer.lock().remove_expired(now.wall);
    }

    /// Writes the producer state at the log's end, durably.
    pub fn take_producer_snapshot(&self) -> Result<(), StorageError> {
        let mut producers = self.lock_writer()?;
        producers
            .take_snapshot(true)
            .map(drop)
            .map_err(|error| self.failed("writing a producer snapshot", error))
    }

    /// The offset of the newest producer snapshot.
    pub fn latest_producer_snapshot(&self) -> Option<Offset> {
        self.writer.lock().latest_snapshot_offset()
    }

    /// Removes producer snapshots below `offset`.
    pub fn delete_producer_snapshots_before(&self, offset: Offset) -> Result<(), StorageError> {
        let mut producers = self.lock_writer()?;
        producers
            .delete_snapshots_before(offset)
            .map_err(|error| self.failed("removing producer snapshots", error))
    }
}
