//! What is remembered about one producer id in one partition.

use std::collections::VecDeque;

use ottla_record::{BatchHeader, NO_SEQUENCE, decrement_sequence};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::append::{ProducerBatch, follows};

/// As many batches as an idempotent client may have in flight (`max.in.flight.requests.per.connection`): a retry of any
/// of them is recognized.
pub const BATCHES_RETAINED: usize = 5;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Offsets from the first record to the last.
    pub offset_delta: i32,
    /// The largest record timestamp in the batch.
    pub timestamp: Timestamp,
}

impl BatchMetadata {
    /// Of a batch of data.
    pub fn of(batch: &ProducerBatch) -> BatchMetadata {
        BatchMetadata {
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: (batch.last_offset - batch.base_offset) as i32,
            timestamp: batch.max_timestamp,
        }
    }

    pub fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// A producer's epoch, its last batches and its open transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerStateEntry {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// Of the transaction coordinator that wrote the last marker; -1 before the first.
    pub coordinator_epoch: i32,
    pub last_timestamp: Timestamp,
    pub current_txn_first_offset: Option<Offset>,
    /// Of the current epoch only, oldest first, at most [`BATCHES_RETAINED`].
    batches: VecDeque<BatchMetadata>,
    /// It comes from a snapshot: the log may have earlier batches of the epoch.
    may_lack_batches: bool,
}

/// Which batches a producer's entry may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forgotten {
    producer_id: ProducerId,
    epoch: ProducerEpoch,
    /// Those that are known start here.
    pub before: Offset,
    /// No more than so many are remembered.
    pub missing: usize,
}

impl Forgotten {
    pub fn is_of_producer(&self, header: &BatchHeader) -> bool {
        header.producer_id == self.producer_id
            && header.producer_epoch == self.epoch
            && !header.is_control()
            && !header.is_legacy()
    }
}

impl ProducerStateEntry {
    /// A producer that has written nothing yet.
    pub fn empty(producer_id: ProducerId) -> ProducerStateEntry {
        ProducerStateEntry {
            producer_id,
            producer_epoch: ProducerEpoch::NONE,
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            current_txn_first_offset: None,
            batches: VecDeque::new(),
            may_lack_batches: false,
        }
    }

    /// With the one batch that a snapshot tells of.
    pub(super) fn with_last_batch(mut self, batch: BatchMetadata) -> ProducerStateEntry {
        self.retain(batch);
        self.may_lack_batches = true;
        self
    }

    /// What the log may still have; asked for once.
    pub(super) fn take_forgotten(&mut self) -> Option<Forgotten> {
        let may_lack_batches = std::mem::take(&mut self.may_lack_batches);
        let missing = BATCHES_RETAINED.saturating_sub(self.batches.len());
        let first = self.batches.front().filter(|_| may_lack_batches && missing > 0)?;
        Some(Forgotten {
            producer_id: self.producer_id,
            epoch: self.producer_epoch,
            before: first.first_offset(),
            missing,
        })
    }

    /// Takes earlier batches back, oldest first, as far as they lead up to those that are known; whether there are any.
    pub(super) fn recall(&mut self, earlier: impl DoubleEndedIterator<Item = BatchMetadata>) -> bool {
        let known = self.batches.len();
        for batch in earlier.rev() {
            let leads_on =
                self.batches.front().is_some_and(|next| follows(batch.last_sequence, next.first_sequence()));
            if !leads_on || self.batches.len() == BATCHES_RETAINED {
                break;
            }
            self.batches.push_front(batch);
        }
        self.batches.len() > known
    }

    pub fn batches(&self) -> impl Iterator<Item = &BatchMetadata> {
        self.batches.iter()
    }

    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches.back()
    }

    /// No batch of the current epoch is known.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// [`NO_SEQUENCE`] when no batch is known.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The batch that had exactly these sequence numbers in this epoch: what comes again is a retry of it.
    pub fn duplicate_of(
        &self,
        epoch: ProducerEpoch,
        first_sequence: i32,
        last_sequence: i32,
    ) -> Option<BatchMetadata> {
        if epoch != self.producer_epoch {
            return None;
        }
        self.batches
            .iter()
            .find(|batch| batch.first_sequence() == first_sequence && batch.last_sequence == last_sequence)
            .copied()
    }

    /// A transaction of this epoch is open.
    pub fn has_ongoing_txn(&self, epoch: ProducerEpoch) -> bool {
        self.current_txn_first_offset.is_some() && self.producer_epoch == epoch
    }

    /// Takes the batches of an older epoch away.
    pub(super) fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.producer_epoch != epoch {
            self.batches.clear();
            self.may_lack_batches = false;
            self.producer_epoch = epoch;
        }
    }

    pub(super) fn add_batch(&mut self, epoch: ProducerEpoch, batch: BatchMetadata) {
        self.enter_epoch(epoch);
        self.retain(batch);
        self.last_timestamp = batch.timestamp;
    }

    /// Takes over what an append has changed: `next` holds the batches of that append alone.
    pub(super) fn merge(&mut self, next: &ProducerStateEntry) {
        self.enter_epoch(next.producer_epoch);
        for &batch in &next.batches {
            self.retain(batch);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.current_txn_first_offset = next.current_txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }

    fn retain(&mut self, batch: BatchMetadata) {
        if self.batches.len() == BATCHES_RETAINED {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    /// The same producer without its batches: where the changes of an append are collected.
    pub(super) fn without_batches(&self) -> ProducerStateEntry {
        ProducerStateEntry { batches: VecDeque::new(), ..*self }
    }
}
