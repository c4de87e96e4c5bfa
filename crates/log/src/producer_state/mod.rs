//! What a partition knows of its producers: which batches it has already (idempotence), which transactions are open.
//!
//! What always holds: the state is that of the log up to `map_end_offset`. It is rebuilt from a snapshot file and the
//! batches after it, so nothing enters it that is not in the log. A transaction is *ongoing* until its marker is
//! appended, then *unreplicated* until the high watermark passes the marker; the first offset of all of them bounds
//! what readers of committed data may see.

mod append;
mod entry;
mod snapshots;
mod verification;

pub(crate) use self::entry::Forgotten;
pub(crate) use self::snapshots::{delete_retired, sync_snapshot};
pub use append::{BatchSource, CompletedTxn, ProducerAppend, ProducerBatch, ProducerStateError, TxnEnd};
pub use entry::{BATCHES_RETAINED, BatchMetadata, ProducerStateEntry};
pub use verification::{VerificationGuard, VerificationState};

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use self::snapshots::Snapshots;
use crate::index::AbortedTxn;
use crate::partition_dir::PartitionDir;

/// A transaction may stay open this much longer than its largest timeout before it counts as late.
const LATE_TRANSACTION_BUFFER_MS: i64 = 5 * 60 * 1000;

/// The broker's settings for producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStateConfig {
    /// `producer.id.expiration.ms`: a producer without open transaction that was silent for this long is forgotten.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable`
    pub transaction_verification: bool,
    /// `transaction.max.timeout.ms`
    pub max_transaction_timeout_ms: i64,
}

impl Default for ProducerStateConfig {
    /// Kafka's defaults.
    fn default() -> ProducerStateConfig {
        ProducerStateConfig {
            producer_id_expiration_ms: 86_400_000,
            transaction_verification: true,
            max_transaction_timeout_ms: 900_000,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Txn {
    producer_id: ProducerId,
    /// Of the marker, once there is one.
    last_offset: Option<Offset>,
    /// It is known to be the one that the coordinator added this partition to by its leader's word.
    is_added: bool,
}

/// The producers of one partition.
#[derive(Debug)]
pub struct ProducerStateManager {
    config: Arc<ArcSwap<ProducerStateConfig>>,
    producers: BTreeMap<ProducerId, ProducerStateEntry>,
    verifications: BTreeMap<ProducerId, VerificationState>,
    guards_given: u64,
    /// By first offset.
    ongoing_txns: BTreeMap<Offset, Txn>,
    /// By first offset.
    unreplicated_txns: BTreeMap<Offset, Txn>,
    snapshots: Snapshots,
    map_end_offset: Offset,
    last_snapshot_offset: Offset,
}

impl ProducerStateManager {
    /// Without producers; `snapshot_offsets` are those of the snapshot files in the directory.
    pub(crate) fn new(
        dir: &Arc<PartitionDir>,
        config: &Arc<ArcSwap<ProducerStateConfig>>,
        snapshot_offsets: impl IntoIterator<Item = Offset>,
    ) -> ProducerStateManager {
        ProducerStateManager {
            config: Arc::clone(config),
            producers: BTreeMap::new(),
            verifications: BTreeMap::new(),
            guards_given: 0,
            ongoing_txns: BTreeMap::new(),
            unreplicated_txns: BTreeMap::new(),
            snapshots: Snapshots::new(Arc::clone(dir), snapshot_offsets),
            map_end_offset: Offset::ZERO,
            last_snapshot_offset: Offset::ZERO,
        }
    }

    pub fn entry(&self, producer_id: ProducerId) -> Option<&ProducerStateEntry> {
        self.producers.get(&producer_id)
    }

    pub fn producers(&self) -> impl Iterator<Item = &ProducerStateEntry> {
        self.producers.values()
    }

    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Neither producers nor transactions that wait for the high watermark.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated_txns.is_empty()
    }

    /// The offset up to which the state is the log's.
    pub fn map_end_offset(&self) -> Offset {
        self.map_end_offset
    }

    pub(crate) fn set_map_end_offset(&mut self, offset: Offset) {
        self.map_end_offset = offset;
    }

    /// The first offset of the oldest transaction that is open, or whose end is not below the high watermark yet.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let first = |txns: &BTreeMap<Offset, Txn>| txns.keys().next().copied();
        match (first(&self.ongoing_txns), first(&self.unreplicated_txns)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The first offset of the oldest open transaction.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing_txns.keys().next().copied()
    }

    /// Whether the oldest open transaction should have ended long ago: the `late` metric, and a hint of a hanging one.
    pub fn has_late_transaction(&self, now: Timestamp) -> bool {
        let Some(oldest) = self.ongoing_txns.values().next() else { return false };
        let Some(entry) = self.entry(oldest.producer_id) else { return false };
        let allowed =
            self.config.load().max_transaction_timeout_ms.saturating_add(LATE_TRANSACTION_BUFFER_MS);
        entry.last_timestamp > Timestamp(0) && now.0.saturating_sub(entry.last_timestamp.0) > allowed
    }

    /// Collects what one append changes about a producer.
    pub(crate) fn prepare(&self, producer_id: ProducerId, source: BatchSource) -> ProducerAppend {
        let verification = self.verifications.get(&producer_id).copied();
        match self.entry(producer_id) {
            Some(entry) => ProducerAppend::new(entry, source, verification),
            None => ProducerAppend::new(&ProducerStateEntry::empty(producer_id), source, verification),
        }
    }

    /// Which batches of a producer the log may have and this not; the first time that it is asked for.
    pub(crate) fn take_forgotten(&mut self, producer_id: ProducerId) -> Option<Forgotten> {
        self.producers.get_mut(&producer_id)?.take_forgotten()
    }

    /// Takes batches back, oldest first; whether there was anything to remember.
    pub(crate) fn recall(
        &mut self,
        producer_id: ProducerId,
        earlier: impl IntoIterator<Item = BatchMetadata, IntoIter: DoubleEndedIterator>,
    ) -> bool {
        self.producers.get_mut(&producer_id).is_some_and(|entry| entry.recall(earlier.into_iter()))
    }

    /// Takes over what was appended.
    pub(crate) fn update(&mut self, append: &ProducerAppend) {
        let producer_id = append.producer_id();
        match self.producers.get_mut(&producer_id) {
            Some(entry) => entry.merge(append.updated()),
            None => {
                self.producers.insert(producer_id, append.updated().clone());
            }
        }
        for &first_offset in append.started_txns() {
            self.ongoing_txns.insert(first_offset, Txn { producer_id, last_offset: None, is_added: false });
        }
    }

    /// What the transaction index keeps of the transactions that an append aborts: `appends` are its changes, `completed`
    /// the transactions that it ends, in order. For an append that has not been taken over yet.
    pub(crate) fn aborted_txns<'a>(
        &self,
        appends: impl Iterator<Item = &'a ProducerAppend>,
        completed: &[CompletedTxn],
    ) -> Vec<AbortedTxn> {
        if !completed.iter().any(|completed| completed.is_aborted) {
            return Vec::new();
        }
        let mut ongoing: BTreeMap<Offset, ProducerId> =
            self.ongoing_txns.iter().map(|(&first_offset, txn)| (first_offset, txn.producer_id)).collect();
        for append in appends {
            ongoing.extend(
                append.started_txns().iter().map(|&first_offset| (first_offset, append.producer_id())),
            );
        }
        let mut aborted = Vec::new();
        for txn in completed {
            // What begins behind the marker was not there yet, though one append may bring both.
            let mut undecided = ongoing.range(..txn.last_offset);
            let next_undecided = undecided.find(|&(_, &producer_id)| producer_id != txn.producer_id);
            let last_stable_offset =
                next_undecided.map_or(txn.last_offset.next(), |(&first_offset, _)| first_offset);
            if txn.is_aborted {
                aborted.push(AbortedTxn {
                    producer_id: txn.producer_id.0,
                    first_offset: txn.first_offset.0,
                    last_offset: txn.last_offset.0,
                    last_stable_offset: last_stable_offset.0,
                });
            }
            ongoing.remove(&txn.first_offset);
        }
        aborted
    }

    pub(crate) fn complete_txn(&mut self, completed: &CompletedTxn) {
        self.ongoing_txns.remove(&completed.first_offset);
        let txn = Txn {
            producer_id: completed.producer_id,
            last_offset: Some(completed.last_offset),
            is_added: false,
        };
        self.unreplicated_txns.insert(completed.first_offset, txn);
    }

    pub(crate) fn on_high_watermark_updated(&mut self, high_watermark: Offset) {
        self.remove_unreplicated_below(high_watermark);
    }

    fn remove_unreplicated_below(&mut self, offset: Offset) {
        self.unreplicated_txns.retain(|_, txn| txn.last_offset.is_none_or(|last| last >= offset));
    }

    /// Takes the ended transactions that wait for the high watermark from the state of the same log, read otherwise.
    pub(crate) fn take_unreplicated(&mut self, from: ProducerStateManager) {
        self.unreplicated_txns = from.unreplicated_txns;
    }

    pub(crate) fn on_log_start_offset_incremented(&mut self, log_start_offset: Offset) {
        self.remove_unreplicated_below(log_start_offset);
        self.map_end_offset = self.map_end_offset.max(log_start_offset);
        self.last_snapshot_offset = self.latest_snapshot_offset().unwrap_or(log_start_offset);
    }

    /// Forgets producers that were silent for too long.
    pub(crate) fn remove_expired(&mut self, now: Timestamp) {
        let expiration_ms = self.config.load().producer_id_expiration_ms;
        self.producers.retain(|_, entry| !is_expired(entry, now, expiration_ms));
        self.verifications
            .retain(|_, verification| now.0.saturating_sub(verification.started.0) < expiration_ms);
    }

    /// Asks for a verification of the producer's transaction, or joins the one under way.
    pub(crate) fn start_verification(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: i32,
        supports_epoch_bump: bool,
        now: Timestamp,
    ) -> VerificationGuard {
        let guards_given = &mut self.guards_given;
        let verification = self.verifications.entry(producer_id).or_insert_with(|| {
            *guards_given += 1;
            VerificationState {
                guard: VerificationGuard::Asked(*guards_given),
                started: now,
                lowest_sequence: sequence,
                epoch,
                supports_epoch_bump,
            }
        });
        verification.lower_to(sequence, epoch);
        verification.guard
    }

    /// Whether a batch that starts a transaction comes without the verification that it needs.
    pub(crate) fn lacks_verification(&self, batch: &ProducerBatch, guard: VerificationGuard) -> bool {
        let asked = self.verifications.get(&batch.producer_id).map(|verification| verification.guard);
        self.config.load().transaction_verification
            && !batch.is_control
            && (guard == VerificationGuard::NotNeeded || asked != Some(guard))
    }

    /// Whether the producer's open transaction is one that its leader has had added. Only that is surely the present one of
    /// a client that bumps its epoch with each: what it began before it did so may be decided, with its marker to come.
    pub(crate) fn has_added(&self, entry: &ProducerStateEntry) -> bool {
        let ongoing =
            entry.current_txn_first_offset.and_then(|first_offset| self.ongoing_txns.get(&first_offset));
        ongoing.is_some_and(|txn| txn.is_added)
    }

    /// A marker was appended that ends what the producer has begun up to this epoch. What is asked for the transaction after
    /// it stands: its marker has a larger epoch, after which nothing of this one is appended any more.
    pub(crate) fn forget_verification(&mut self, producer_id: ProducerId, epoch: ProducerEpoch) {
        if self.verifications.get(&producer_id).is_some_and(|verification| verification.epoch <= epoch) {
            self.verifications.remove(&producer_id);
        }
    }

    /// A batch of the producer's transaction was appended, with this guard.
    pub(crate) fn end_verification(&mut self, producer_id: ProducerId, guard: VerificationGuard) {
        let Some(verification) = self.verifications.remove(&producer_id) else { return };
        if verification.guard != guard || !verification.supports_epoch_bump {
            return;
        }
        let first_offset = self.entry(producer_id).and_then(|entry| entry.current_txn_first_offset);
        if let Some(txn) = first_offset.and_then(|first_offset| self.ongoing_txns.get_mut(&first_offset)) {
            txn.is_added = true;
        }
    }

    /// From the state of the same log, in another directory.
    pub(crate) fn take_over_verifications(&mut self, from: &mut ProducerStateManager) {
        self.verifications = std::mem::take(&mut from.verifications);
        self.guards_given = self.guards_given.max(from.guards_given);
        for (first_offset, txn) in &mut self.ongoing_txns {
            txn.is_added = from.ongoing_txns.get(first_offset).is_some_and(|of_log| of_log.is_added);
        }
    }

    fn clear(&mut self) {
        self.producers.clear();
        self.ongoing_txns.clear();
        self.unreplicated_txns.clear();
    }

    fn load_entry(&mut self, entry: ProducerStateEntry) {
        if let Some(first_offset) = entry.current_txn_first_offset {
            let txn = Txn { producer_id: entry.producer_id, last_offset: None, is_added: false };
            self.ongoing_txns.insert(first_offset, txn);
        }
        self.producers.insert(entry.producer_id, entry);
    }
}

fn is_expired(entry: &ProducerStateEntry, now: Timestamp, expiration_ms: i64) -> bool {
    entry.current_txn_first_offset.is_none() && now.0.saturating_sub(entry.last_timestamp.0) >= expiration_ms
}
