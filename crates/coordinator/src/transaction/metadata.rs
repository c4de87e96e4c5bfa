//! One transactional id: who its producer is, and how its transaction stands. Transitions are functions from what is to
//! what will be; that one takes place is for the log to say.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use crate::runtime::Producer;

/// From this transaction version on, every end of a transaction bumps the producer's epoch (KIP-890).
pub(super) const EPOCH_BUMP_SINCE: i16 = 2;
/// A transaction that an outside coordinator decides has no timeout (KIP-939).
pub(super) const NO_TIMEOUT: i32 = i32::MAX;
/// The last epoch that a producer gets: one more is left for fencing it.
const LAST_EPOCH: i16 = i16::MAX - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// There is a producer, and it has done nothing yet.
    Empty,
    Ongoing,
    /// Decided; the markers are being written.
    PrepareCommit,
    PrepareAbort,
    /// All markers are written.
    CompleteCommit,
    CompleteAbort,
}

impl Status {
    const ALL: [Status; 6] = [
        Status::Empty,
        Status::Ongoing,
        Status::PrepareCommit,
        Status::PrepareAbort,
        Status::CompleteCommit,
        Status::CompleteAbort,
    ];

    /// As it is stored.
    pub fn id(self) -> i8 {
        self as i8
    }

    pub fn from_id(id: i8) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.id() == id)
    }

    /// As Kafka's tools show it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Empty => "Empty",
            Status::Ongoing => "Ongoing",
            Status::PrepareCommit => "PrepareCommit",
            Status::PrepareAbort => "PrepareAbort",
            Status::CompleteCommit => "CompleteCommit",
            Status::CompleteAbort => "CompleteAbort",
        }
    }

    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// What was decided, while the markers are being written.
    pub fn prepared(self) -> Option<bool> {
        match self {
            Status::PrepareCommit => Some(true),
            Status::PrepareAbort => Some(false),
            _ => None,
        }
    }

    /// No transaction is under way.
    pub fn is_idle(self) -> bool {
        matches!(self, Status::Empty | Status::CompleteCommit | Status::CompleteAbort)
    }
}

/// What the log keeps of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TransactionMetadata {
    pub producer: Producer,
    /// The producer id before the last change.
    pub previous_producer_id: ProducerId,
    /// The producer's next id, where its epochs are used up and its transaction is being ended.
    pub next_producer_id: ProducerId,
    pub next_producer_epoch: ProducerEpoch,
    pub timeout_ms: i32,
    pub status: Status,
    pub partitions: Arc<BTreeSet<TopicPartition>>,
    /// None before the first transaction.
    pub start: Timestamp,
    pub last_update: Timestamp,
    /// The transaction version by which the producer acts.
    pub client_version: i16,
}

impl TransactionMetadata {
    /// An id that nobody has used yet. It is never written like this.
    pub fn new(producer_id: ProducerId, timeout_ms: i32, now: Timestamp) -> TransactionMetadata {
        TransactionMetadata {
            producer: Producer { id: producer_id, epoch: ProducerEpoch::NONE },
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            next_producer_epoch: ProducerEpoch::NONE,
            timeout_ms,
            status: Status::Empty,
            partitions: Arc::default(),
            start: Timestamp::NONE,
            last_update: now,
            client_version: 0,
        }
    }

    pub fn is_epoch_exhausted(&self) -> bool {
        is_epoch_exhausted(self.producer.epoch)
    }

    /// A new instance of the producer, as `producer`, without a transaction.
    pub fn initialized(&self, producer: Producer, timeout_ms: i32, now: Timestamp) -> TransactionMetadata {
        TransactionMetadata {
            producer,
            previous_producer_id: self.producer.id,
            next_producer_id: ProducerId::NONE,
            timeout_ms,
            status: Status::Empty,
            partitions: Arc::default(),
            start: Timestamp::NONE,
            last_update: now,
            ..self.clone()
        }
    }

    /// The transaction goes on, or begins, with these partitions in it.
    pub fn with_partitions(
        &self,
        added: impl IntoIterator<Item = TopicPartition>,
        client_version: i16,
        now: Timestamp,
    ) -> TransactionMetadata {
        let mut partitions = (*self.partitions).clone();
        partitions.extend(added);
        TransactionMetadata {
            previous_producer_id: self.producer.id,
            status: Status::Ongoing,
            partitions: Arc::new(partitions),
            start: if self.status.is_idle() { now } else { self.start },
            last_update: now,
            client_version,
            ..self.clone()
        }
    }

    /// The transaction is decided, in the version of whoever decides. `next_id` is the producer's new id if its epochs are
    /// used up.
    pub fn prepared(
        &self,
        committed: bool,
        version: i16,
        next_id: Option<ProducerId>,
        now: Timestamp,
    ) -> TransactionMetadata {
        let mut producer = self.producer;
        if version >= EPOCH_BUMP_SINCE {
            producer.epoch = bumped(producer.epoch);
        }
        TransactionMetadata {
            producer,
            previous_producer_id: self.producer.id,
            next_producer_id: next_id.unwrap_or(ProducerId::NONE),
            status: if committed { Status::PrepareCommit } else { Status::PrepareAbort },
            // A transaction that nothing was added to has no start; it gets one, because its end must.
            start: if self.status.is_idle() { now } else { self.start },
            last_update: now,
            client_version: version,
            ..self.clone()
        }
    }

    /// All markers are written.
    pub fn completed(&self, now: Timestamp) -> TransactionMetadata {
        let is_committed = self.status == Status::PrepareCommit;
        TransactionMetadata {
            producer: self.producer_after_end(),
            previous_producer_id: self.producer.id,
            next_producer_id: ProducerId::NONE,
            status: if is_committed { Status::CompleteCommit } else { Status::CompleteAbort },
            partitions: Arc::default(),
            last_update: now,
            ..self.clone()
        }
    }

    /// Who the producer is once the transaction that is being ended has ended.
    pub fn producer_after_end(&self) -> Producer {
        if self.client_version >= EPOCH_BUMP_SINCE && self.next_producer_id != ProducerId::NONE {
            Producer { id: self.next_producer_id, epoch: ProducerEpoch(0) }
        } else {
            self.producer
        }
    }
}

pub(super) fn is_epoch_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= LAST_EPOCH
}

/// The last epoch before the one that is left for fencing.
pub(super) fn is_last_epoch(epoch: ProducerEpoch) -> bool {
    epoch.0 == LAST_EPOCH
}

/// The largest epoch stays what it is.
pub(super) fn bumped(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}
