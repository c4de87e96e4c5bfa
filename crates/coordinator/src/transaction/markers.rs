//! The second phase of a transaction's end: its marker goes to every partition that has a part in it, and when all have
//! it, the log says so. Until then the phase is begun anew wherever it was interrupted: by errors, a restart, or a change
//! of the coordinator.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_types::{LeaderEpoch, Now, TopicPartition};
use ottla_wire::ErrorCode;
use parking_lot::{Mutex, RwLock};
use tracing::{debug, error, info, warn};

use super::metadata::TransactionMetadata;
use super::shard::{Ending, TransactionCompletion, TransactionShard, TransactionTimer, TransactionTurn};
use crate::runtime::{Producer, TransactionMarker};

/// How long the second phase rests after an error, in milliseconds.
const RETRY_BACKOFF_MS: i64 = 100;

/// Carries markers to the leaders of partitions, wherever they are.
pub trait MarkerSender: Send + Sync {
    /// Has the marker written in each partition, and tells [`super::TransactionCoordinator::markers_written`] what became
    /// of all of them: once, from any thread. A partition that does not exist any more counts as written.
    fn send(&self, markers: MarkersToWrite, now: Now);
}

/// What is to be written for one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkersToWrite {
    pub ticket: MarkerTicket,
    pub marker: TransactionMarker,
    pub partitions: Vec<TopicPartition>,
}

/// What an answer is matched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerTicket {
    /// Of `__transaction_state`.
    pub coordinator_partition: i32,
    pub transactional_id: Arc<str>,
    attempt: u64,
}

/// The leader epochs of the partitions of `__transaction_state`: those that markers carry, so that a former coordinator's
/// are refused.
#[derive(Debug, Default)]
pub(super) struct CoordinatorEpochs(RwLock<BTreeMap<i32, LeaderEpoch>>);

impl CoordinatorEpochs {
    pub fn set(&self, partition: i32, epoch: LeaderEpoch) {
        let mut epochs = self.0.write();
        let known = epochs.entry(partition).or_insert(epoch);
        *known = epoch.max(*known);
    }

    fn of(&self, partition: i32) -> LeaderEpoch {
        self.0.read().get(&partition).copied().unwrap_or(LeaderEpoch::NONE)
    }
}

/// Ids whose transactions took too long and whose producers need a new id first, by partition of `__transaction_state`.
#[derive(Debug, Default)]
pub(super) struct Exhausted(Mutex<Vec<(i32, Arc<str>)>>);

impl Exhausted {
    pub fn push(&self, partition: i32, transactional_id: Arc<str>) {
        self.0.lock().push((partition, transactional_id));
    }

    pub fn take(&self) -> Vec<(i32, Arc<str>)> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// One shard's way to what is outside of it.
pub(super) struct MarkerChannel {
    pub partition: i32,
    /// How often markers were sent by any shard: no two attempts have the same number, not even where one shard follows
    /// another.
    pub attempts: Arc<AtomicU64>,
    pub epochs: Arc<CoordinatorEpochs>,
    pub sender: Arc<dyn MarkerSender>,
    pub exhausted: Arc<Exhausted>,
}

impl fmt::Debug for MarkerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarkerChannel").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl TransactionShard {
    /// After a load: what was decided goes on to its end, once the decision is committed.
    pub(super) fn resume_endings(&mut self, turn: &mut TransactionTurn<'_>) {
        let prepared = turn.state.by_id.iter().filter(|(_, metadata)| metadata.status.prepared().is_some());
        let prepared: Vec<_> = prepared.map(|(id, metadata)| (Arc::clone(id), metadata.producer)).collect();
        for (transactional_id, producer) in prepared {
            info!(%transactional_id, "the end of a transaction is taken up again");
            turn.on_completion(TransactionCompletion::Prepared { transactional_id, producer });
        }
    }

    /// A decision is committed, or was not in time, or could not be written.
    pub(super) fn prepared(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        producer: Producer,
        result: Result<(), ErrorCode>,
    ) {
        let Some(metadata) = decided(turn, transactional_id, producer) else { return };
        if result.is_err() {
            // It stands in the log: that it is late changes nothing.
            let transactional_id = Arc::clone(transactional_id);
            turn.on_completion(TransactionCompletion::Prepared { transactional_id, producer });
            return;
        }
        let remaining = (*metadata.partitions).clone();
        self.ending.insert(Arc::clone(transactional_id), Ending { producer, remaining, attempt: 0 });
        self.resume(turn, transactional_id);
    }

    /// Does what is left of the second phase.
    pub(super) fn resume(&mut self, turn: &mut TransactionTurn<'_>, transactional_id: &Arc<str>) {
        let Some(ending) = self.ending.get_mut(transactional_id) else { return };
        let Some(metadata) = decided(turn, transactional_id, ending.producer) else {
            self.ending.remove(transactional_id);
            return;
        };
        if ending.remaining.is_empty() {
            self.write(turn, transactional_id, Some(metadata.completed(turn.now.wall)));
            let transactional_id = Arc::clone(transactional_id);
            turn.on_completion(TransactionCompletion::Completed { transactional_id });
            return;
        }
        ending.attempt = self.channel.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let markers = MarkersToWrite {
            ticket: MarkerTicket {
                coordinator_partition: self.channel.partition,
                transactional_id: Arc::clone(transactional_id),
                attempt: ending.attempt,
            },
            marker: TransactionMarker {
                producer: metadata.producer,
                committed: metadata.status.prepared() == Some(true),
                coordinator_epoch: self.channel.epochs.of(self.channel.partition).0,
                transaction_version: metadata.client_version,
            },
            partitions: ending.remaining.iter().cloned().collect(),
        };
        let (sender, now) = (Arc::clone(&self.channel.sender), turn.now);
        turn.afterwards(move || sender.send(markers, now));
    }

    /// What became of an attempt.
    pub(super) fn markers_written(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        ticket: &MarkerTicket,
        results: &[(TopicPartition, ErrorCode)],
    ) {
        let transactional_id = &ticket.transactional_id;
        let Some(ending) = self.ending.get_mut(transactional_id) else { return };
        if ending.attempt != ticket.attempt {
            return;
        }
        for (partition, code) in results {
            match outcome(*code) {
                Outcome::Written => {
                    ending.remaining.remove(partition);
                }
                Outcome::Again => {
                    debug!(%transactional_id, %partition, %code, "a marker is not written yet");
                }
                Outcome::Superseded => {
                    warn!(%transactional_id, %partition, %code,
                        "a marker was refused for good: another coordinator ends the transaction");
                    self.ending.remove(transactional_id);
                    return;
                }
                Outcome::Unexpected => {
                    error!(%transactional_id, %partition, %code, "a marker is not written");
                }
            }
        }
        if ending.remaining.is_empty() {
            self.resume(turn, transactional_id);
        } else {
            turn.schedule(TransactionTimer::Resume(Arc::clone(transactional_id)), RETRY_BACKOFF_MS);
        }
    }

    /// The end of the second phase is committed, or was not in time, or could not be written.
    pub(super) fn end_is_written(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        result: Result<(), ErrorCode>,
    ) {
        let Some(ending) = self.ending.get(transactional_id) else { return };
        if result.is_err() && decided(turn, transactional_id, ending.producer).is_some() {
            turn.schedule(TransactionTimer::Resume(Arc::clone(transactional_id)), RETRY_BACKOFF_MS);
        } else {
            self.ending.remove(transactional_id);
        }
    }
}

/// The id's metadata, if its transaction is decided and not at its end, under this producer.
fn decided(
    turn: &TransactionTurn<'_>,
    transactional_id: &str,
    producer: Producer,
) -> Option<Arc<TransactionMetadata>> {
    let metadata = turn.state.get(transactional_id)?;
    let is_decided = metadata.status.prepared().is_some() && metadata.producer == producer;
    is_decided.then(|| Arc::clone(metadata))
}

enum Outcome {
    Written,
    Again,
    /// Another epoch of the producer or of the coordinator has taken over.
    Superseded,
    Unexpected,
}

fn outcome(code: ErrorCode) -> Outcome {
    match code {
        // Nothing of the transaction can be in a log that has no room for it.
        ErrorCode::None | ErrorCode::UnsupportedForMessageFormat | ErrorCode::UnsupportedVersion => {
            Outcome::Written
        }
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotLeaderOrFollower
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut
        | ErrorCode::KafkaStorageError
        | ErrorCode::NetworkException => Outcome::Again,
        ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced => Outcome::Superseded,
        _ => Outcome::Unexpected,
    }
}
