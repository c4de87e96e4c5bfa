//! The checks that a producer's batches pass on their way into the log, and what they change (KIP-98, KIP-890).

use ottla_record::{Batch, BatchHeader, EndTxnMarker, NO_SEQUENCE, RecordError};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;
use tracing::{info, warn};

use super::entry::{BatchMetadata, ProducerStateEntry};
use super::verification::VerificationState;

/// Control records are some tens of bytes; nothing that expands to more is one.
const CONTROL_RECORDS_BYTES_MAX: usize = 1 << 20;

/// Why a producer's batch is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProducerStateError {
    #[error("producer {producer_id} comes with epoch {epoch} after epoch {current}")]
    InvalidProducerEpoch { producer_id: ProducerId, epoch: ProducerEpoch, current: ProducerEpoch },
    #[error("producer {producer_id} comes with sequence number {sequence} after {last_sequence}")]
    OutOfOrderSequence { producer_id: ProducerId, sequence: i32, last_sequence: i32 },
    #[error("producer {producer_id} writes outside of its open transaction, or without one")]
    InvalidTxnState { producer_id: ProducerId },
    #[error("a marker for producer {producer_id} comes from coordinator epoch {epoch} after {current}")]
    TransactionCoordinatorFenced { producer_id: ProducerId, epoch: i32, current: i32 },
}

/// Who a batch comes from: how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSource {
    /// All is checked.
    Client,
    /// A coordinator, or the Raft leader: sequence numbers are not checked.
    Broker,
    /// The leader, or the log itself: it was checked already.
    Replication,
}

/// What a batch's header, and a marker's record, say to the producer state.
#[derive(Clone, Copy, Debug)]
pub struct ProducerBatch {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub max_timestamp: Timestamp,
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub is_transactional: bool,
    pub is_control: bool,
    /// The end of a transaction, if this is a control batch that holds a marker.
    pub marker: Option<TxnEnd>,
}

impl ProducerBatch {
    /// What the header says; right for all but control batches.
    pub fn of_header(header: &BatchHeader) -> ProducerBatch {
        ProducerBatch {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            max_timestamp: header.max_timestamp,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            marker: None,
        }
    }

    /// What the batch says; of a control batch the first record is read.
    pub fn of(batch: &Batch<'_>) -> Result<ProducerBatch, RecordError> {
        let mut info = ProducerBatch::of_header(batch);
        if info.is_control
            && let Some(record) = batch.records(CONTROL_RECORDS_BYTES_MAX)?.next()?
        {
            let key = record.key.unwrap_or_default();
            let marker = EndTxnMarker::parse(key, record.value.unwrap_or_default())?;
            info.marker = marker.map(|marker| TxnEnd {
                is_abort: !marker.committed,
                coordinator_epoch: marker.coordinator_epoch,
                timestamp: record.timestamp,
            });
        }
        Ok(info)
    }
}

/// The record that ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnEnd {
    pub is_abort: bool,
    pub coordinator_epoch: i32,
    pub timestamp: Timestamp,
}

/// A transaction that ended in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// Of the marker.
    pub last_offset: Offset,
    pub is_aborted: bool,
}

/// What one append will change about one producer, once it is written.
#[derive(Clone, Debug)]
pub struct ProducerAppend {
    source: BatchSource,
    /// Before the append.
    current_epoch: ProducerEpoch,
    current_last_sequence: i32,
    current_is_empty: bool,
    verification: Option<VerificationState>,
    updated: ProducerStateEntry,
    started_txns: Vec<Offset>,
}

impl ProducerAppend {
    pub(super) fn new(
        current: &ProducerStateEntry,
        source: BatchSource,
        verification: Option<VerificationState>,
    ) -> ProducerAppend {
        ProducerAppend {
            source,
            current_epoch: current.producer_epoch,
            current_last_sequence: current.last_sequence(),
            current_is_empty: current.is_empty(),
            verification,
            updated: current.without_batches(),
            started_txns: Vec::new(),
        }
    }

    pub fn producer_id(&self) -> ProducerId {
        self.updated.producer_id
    }

    /// First offsets of the transactions that the append starts.
    pub fn started_txns(&self) -> &[Offset] {
        &self.started_txns
    }

    pub(super) fn updated(&self) -> &ProducerStateEntry {
        &self.updated
    }

    /// Checks one batch and takes note of it. `transaction_version` is that of the coordinator that writes a marker
    /// (KIP-890): from 2 on, a marker carries an epoch that is larger than that of the transaction's batches.
    pub fn append(
        &mut self,
        batch: &ProducerBatch,
        transaction_version: i16,
    ) -> Result<Option<CompletedTxn>, ProducerStateError> {
        if batch.is_control {
            return match &batch.marker {
                Some(marker) => self.append_marker(batch, marker, transaction_version),
                None => Ok(None),
            };
        }
        self.append_data(batch)?;
        Ok(None)
    }

    fn append_data(&mut self, batch: &ProducerBatch) -> Result<(), ProducerStateError> {
        self.check_epoch(batch.producer_epoch, batch.base_offset, 0)?;
        if self.source == BatchSource::Client {
            self.check_sequence(batch.producer_epoch, batch.first_sequence)?;
        }
        self.updated.add_batch(batch.producer_epoch, BatchMetadata::of(batch));
        match self.updated.current_txn_first_offset {
            Some(_) if !batch.is_transactional => {
                Err(ProducerStateError::InvalidTxnState { producer_id: self.producer_id() })
            }
            None if batch.is_transactional => {
                self.updated.current_txn_first_offset = Some(batch.base_offset);
                self.started_txns.push(batch.base_offset);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn append_marker(
        &mut self,
        batch: &ProducerBatch,
        marker: &TxnEnd,
        transaction_version: i16,
    ) -> Result<Option<CompletedTxn>, ProducerStateError> {
        self.check_epoch(batch.producer_epoch, batch.base_offset, transaction_version)?;
        self.check_coordinator_epoch(marker, batch.base_offset)?;
        let completed = self.updated.current_txn_first_offset.map(|first_offset| CompletedTxn {
            producer_id: self.producer_id(),
            first_offset,
            last_offset: batch.base_offset,
            is_aborted: marker.is_abort,
        });
        self.updated.enter_epoch(batch.producer_epoch);
        self.updated.coordinator_epoch = marker.coordinator_epoch;
        self.updated.last_timestamp = marker.timestamp;
        self.updated.current_txn_first_offset = None;
        Ok(completed)
    }

    fn check_epoch(
        &self,
        epoch: ProducerEpoch,
        offset: Offset,
        transaction_version: i16,
    ) -> Result<(), ProducerStateError> {
        let current = self.updated.producer_epoch;
        let bumps_epoch = transaction_version >= 2;
        if epoch > current || (epoch == current && !bumps_epoch) {
            return Ok(());
        }
        // A coordinator that did not hear that its marker was written sends it again. At the largest epoch there is no
        // larger one for a marker to carry.
        if epoch == current && (self.updated.current_txn_first_offset.is_none() || epoch.0 == i16::MAX) {
            return Ok(());
        }
        let error =
            ProducerStateError::InvalidProducerEpoch { producer_id: self.producer_id(), epoch, current };
        self.refuse_or_note(error, offset)
    }

    fn check_coordinator_epoch(&self, marker: &TxnEnd, offset: Offset) -> Result<(), ProducerStateError> {
        let current = self.updated.coordinator_epoch;
        if current <= marker.coordinator_epoch {
            return Ok(());
        }
        let error = ProducerStateError::TransactionCoordinatorFenced {
            producer_id: self.producer_id(),
            epoch: marker.coordinator_epoch,
            current,
        };
        self.refuse_or_note(error, offset)
    }

    /// What the leader has accepted, a replica takes as it is.
    fn refuse_or_note(&self, error: ProducerStateError, offset: Offset) -> Result<(), ProducerStateError> {
        match self.source {
            BatchSource::Replication => {
                warn!(%offset, "replicated batch: {error}");
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn check_sequence(&self, epoch: ProducerEpoch, first_sequence: i32) -> Result<(), ProducerStateError> {
        let out_of_order = |last_sequence| {
            Err(ProducerStateError::OutOfOrderSequence {
                producer_id: self.producer_id(),
                sequence: first_sequence,
                last_sequence,
            })
        };
        if let Some(verification) = &self.verification {
            if verification.supports_epoch_bump && first_sequence != 0 && self.current_is_empty {
                return out_of_order(NO_SEQUENCE);
            }
            if first_sequence > verification.lowest_sequence {
                return out_of_order(verification.lowest_sequence);
            }
        }
        let seen_epoch = self.updated.producer_epoch;
        if epoch != seen_epoch {
            return if first_sequence == 0 || seen_epoch == ProducerEpoch::NONE {
                Ok(())
            } else {
                out_of_order(NO_SEQUENCE)
            };
        }
        let last_sequence = match self.updated.last_batch() {
            Some(batch) => batch.last_sequence,
            None if epoch == self.current_epoch => self.current_last_sequence,
            None => NO_SEQUENCE,
        };
        // A producer that this log forgot (expiry, deleted records) goes on where it is.
        if self.current_epoch == ProducerEpoch::NONE || follows(last_sequence, first_sequence) {
            return Ok(());
        }
        info!(producer_id = self.producer_id().0, first_sequence, last_sequence, "out of order sequence");
        out_of_order(last_sequence)
    }
}

/// After the largest sequence number comes zero.
pub(super) fn follows(last: i32, next: i32) -> bool {
    i64::from(next) == i64::from(last) + 1 || (next == 0 && last == i32::MAX)
}
