//! What passes between share partitions, those who fetch and acknowledge, and the share coordinator.

use std::sync::Arc;

use ottla_types::{Offset, Uuid};

/// A share group's member, by its id.
pub type MemberId = Arc<str>;

/// One partition as one share group sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharePartitionId {
    pub group_id: Arc<str>,
    pub topic_id: Uuid,
    pub partition: i32,
}

/// How a record stands (KIP-932); the numbers are those of `__share_group_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordState {
    /// Waits for a member.
    Available,
    /// Given to a member, who has some time to acknowledge it. Never persisted.
    Acquired,
    /// Processed.
    Acknowledged,
    /// Given up: rejected, delivered too often, aborted, or gone from the log.
    Archived,
}

impl RecordState {
    pub const fn code(self) -> i8 {
        match self {
            RecordState::Available => 0,
            RecordState::Acquired => 1,
            RecordState::Acknowledged => 2,
            RecordState::Archived => 4,
        }
    }

    pub const fn from_code(code: i8) -> Option<RecordState> {
        match code {
            0 => Some(RecordState::Available),
            1 => Some(RecordState::Acquired),
            2 => Some(RecordState::Acknowledged),
            4 => Some(RecordState::Archived),
            _ => None,
        }
    }

    /// Nothing becomes of the record any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, RecordState::Acknowledged | RecordState::Archived)
    }
}

/// What a member says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeType {
    /// There is no such record.
    Gap,
    Accept,
    /// Somebody else may try.
    Release,
    Reject,
    /// More time, please (KIP-1222).
    Renew,
}

impl AcknowledgeType {
    pub const fn from_code(code: i8) -> Option<AcknowledgeType> {
        match code {
            0 => Some(AcknowledgeType::Gap),
            1 => Some(AcknowledgeType::Accept),
            2 => Some(AcknowledgeType::Release),
            3 => Some(AcknowledgeType::Reject),
            4 => Some(AcknowledgeType::Renew),
            _ => None,
        }
    }
}

/// An acknowledgement of consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcknowledgementBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// One for all, or one for each.
    pub types: Vec<AcknowledgeType>,
}

impl AcknowledgementBatch {
    pub(crate) fn type_at(&self, offset: Offset) -> Option<AcknowledgeType> {
        let index =
            if self.types.len() == 1 { 0 } else { usize::try_from(offset - self.first_offset).ok()? };
        self.types.get(index).copied()
    }
}

/// Consecutive records that were given to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquiredRecords {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_count: i16,
}

/// How many records one fetch is to be given (KIP-1206).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcquireMode {
    /// Whole batches, so that they can be acknowledged whole: the limit may be exceeded by the last.
    #[default]
    BatchOptimized,
    /// Never more than the limit.
    RecordLimit,
}

/// A batch in the log: the offsets it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
}

/// What a fetch may take of a share partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireLimits {
    pub mode: AcquireMode,
    pub max_records: i32,
    /// About how many records one acquired batch should have.
    pub batch_size: i32,
}

/// A group's settings, as far as its share partitions need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareSettings {
    /// `share.record.lock.duration.ms`
    pub record_lock_duration_ms: i32,
    /// `share.delivery.count.limit`
    pub delivery_count_limit: i16,
    /// `share.partition.max.record.locks`
    pub max_record_locks: i32,
    /// `share.renew.acknowledge.enable`
    pub may_renew: bool,
    /// Records that are given up leave a dead letter behind (KIP-1191).
    pub keeps_dead_letters: bool,
}

/// Why nobody is given a record any more that nobody has processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// By a member that can't process it.
    Rejected,
    /// Delivered as often as the group allows.
    DeliveredTooOften,
}

/// Consecutive records that were given up alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadRecords {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_count: i16,
    pub why: GivenUp,
}

/// Consecutive records that stand alike, as the share coordinator keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistedBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub state: RecordState,
    pub delivery_count: i16,
}

/// What the share coordinator knows of a share partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersistedState {
    pub state_epoch: i32,
    /// None: the group has no position yet.
    pub start_offset: Option<Offset>,
    /// In the order of offsets, without overlaps.
    pub batches: Vec<PersistedBatch>,
}

/// What the share coordinator is to keep of a share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    pub state_epoch: i32,
    pub leader_epoch: i32,
    pub start_offset: Offset,
    /// Records from the start on that are done with (KIP-1226).
    pub delivery_complete_count: i32,
    /// Only those that have changed.
    pub batches: Vec<PersistedBatch>,
}
