//! One partition of `__transaction_state` as a state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_record::NO_SEQUENCE;
use ottla_types::{Offset, ProducerEpoch, TopicPartition};
use ottla_wire::ErrorCode;

use super::config::Rules;
use super::markers::MarkerChannel;
use super::metadata::TransactionMetadata;
use super::record::{self, TransactionRecord};
use super::state::TransactionState;
use crate::runtime::{DecodeError, EncodedRecord, Producer, Responder, Shard, Turn};

pub(super) type TransactionTurn<'a> = Turn<'a, TransactionShard>;
/// Who waits for an answer that is given when all that was written before it is committed.
pub(super) type Asker<T> = Responder<Result<T, ErrorCode>>;

pub(super) struct TransactionShard {
    pub(super) rules: Arc<Rules>,
    pub(super) channel: MarkerChannel,
    /// Transactions that are decided and whose markers are being written.
    pub(super) ending: BTreeMap<Arc<str>, Ending>,
    /// For producers whose epoch was bumped by a request of their own: the epoch before it, by which the request is
    /// recognized when it comes again. As in Kafka, the log does not have it.
    previous_epochs: BTreeMap<Arc<str>, (Producer, ProducerEpoch)>,
}

/// The second phase of a transaction's end.
pub(super) struct Ending {
    pub producer: Producer,
    /// Partitions without their marker.
    pub remaining: BTreeSet<TopicPartition>,
    /// The last attempt: answers to earlier ones count no more.
    pub attempt: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TransactionTimer {
    /// Time to look for transactions that took too long.
    AbortTimedOut,
    /// Time to look for ids that were not used for too long.
    RemoveExpired,
    /// Time to go on with the second phase of an id's transaction.
    Resume(Arc<str>),
}

pub(super) enum TransactionCompletion {
    /// A decision: the markers may be written.
    Prepared { transactional_id: Arc<str>, producer: Producer },
    /// The end of the second phase.
    Completed { transactional_id: Arc<str> },
}

impl TransactionShard {
    pub(super) fn new(rules: Arc<Rules>, channel: MarkerChannel) -> TransactionShard {
        TransactionShard { rules, channel, ending: BTreeMap::new(), previous_epochs: BTreeMap::new() }
    }

    /// Writes what is known of an id from now on; nothing, without metadata.
    pub(super) fn write(
        &self,
        turn: &mut TransactionTurn<'_>,
        transactional_id: &Arc<str>,
        metadata: Option<TransactionMetadata>,
    ) {
        turn.record(TransactionRecord::new(transactional_id, metadata, self.rules.level()));
    }

    /// The epoch that the producer had before the present one; none if it got that by being fenced, or as a new instance.
    pub(super) fn previous_epoch(&self, transactional_id: &str, current: Producer) -> ProducerEpoch {
        match self.previous_epochs.get(transactional_id) {
            Some((producer, epoch)) if *producer == current => *epoch,
            _ => ProducerEpoch::NONE,
        }
    }

    pub(super) fn note_previous_epoch(
        &mut self,
        transactional_id: &Arc<str>,
        current: Producer,
        previous: ProducerEpoch,
    ) {
        if previous == ProducerEpoch::NONE {
            self.previous_epochs.remove(transactional_id);
        } else {
            self.previous_epochs.insert(Arc::clone(transactional_id), (current, previous));
        }
    }

    pub(super) fn forget_previous_epoch(&mut self, transactional_id: &str) {
        self.previous_epochs.remove(transactional_id);
    }
}

impl Shard for TransactionShard {
    type State = TransactionState;
    type Record = TransactionRecord;
    type Timer = TransactionTimer;
    type Completion = TransactionCompletion;

    const BASE_SEQUENCE: i32 = NO_SEQUENCE;

    fn encode(record: &TransactionRecord) -> Result<EncodedRecord, ErrorCode> {
        record::encode(record)
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<TransactionRecord>, DecodeError> {
        record::decode(key, value)
    }

    fn replay(state: &mut TransactionState, _: Offset, _: Option<Producer>, record: TransactionRecord) {
        state.replay(record);
    }

    fn replay_end_transaction(_: &mut TransactionState, _: Producer, _: bool) {}

    fn loaded(&mut self, turn: &mut TransactionTurn<'_>) {
        let config = &self.rules.config;
        turn.schedule(TransactionTimer::AbortTimedOut, config.abort_timed_out_interval_ms);
        turn.schedule(TransactionTimer::RemoveExpired, config.remove_expired_interval_ms);
        self.resume_endings(turn);
    }

    fn timer_fired(&mut self, turn: &mut TransactionTurn<'_>, timer: TransactionTimer) {
        match timer {
            TransactionTimer::AbortTimedOut => self.abort_timed_out(turn),
            TransactionTimer::RemoveExpired => self.remove_expired(turn),
            TransactionTimer::Resume(transactional_id) => self.resume(turn, &transactional_id),
        }
    }

    fn completed(
        &mut self,
        turn: &mut TransactionTurn<'_>,
        completion: TransactionCompletion,
        result: Result<(), ErrorCode>,
    ) {
        match completion {
            TransactionCompletion::Prepared { transactional_id, producer } => {
                self.prepared(turn, &transactional_id, producer, result);
            }
            TransactionCompletion::Completed { transactional_id } => {
                self.end_is_written(turn, &transactional_id, result);
            }
        }
    }
}
