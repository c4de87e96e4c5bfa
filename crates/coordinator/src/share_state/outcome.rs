use std::sync::Arc;

use ottla_wire::ErrorCode;

use super::batches::StateBatch;

/// The answer to an operation on one share partition.
pub type Outcome<T> = Result<T, ShareStateError>;

/// An error and what is said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareStateError {
    pub code: ErrorCode,
    pub message: String,
}

impl ShareStateError {
    pub fn of(code: ErrorCode) -> ShareStateError {
        ShareStateError { code, message: code.description().to_owned() }
    }
}

/// What a share partition's leader begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadState {
    pub state_epoch: i32,
    /// -1: the group has no position yet.
    pub start_offset: i64,
    /// From the start on, in the order of offsets.
    pub batches: Arc<[StateBatch]>,
}

/// What a share partition's leader wants to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteState {
    pub state_epoch: i32,
    pub leader_epoch: i32,
    /// -1: as before.
    pub start_offset: i64,
    /// Records from the start on that are done with (KIP-1226); -1 if it is not known.
    pub delivery_complete_count: i32,
    /// Only those that have changed.
    pub batches: Vec<StateBatch>,
}

/// Where a group stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSummary {
    pub state_epoch: i32,
    pub leader_epoch: i32,
    pub start_offset: i64,
    pub delivery_complete_count: i32,
}

impl StateSummary {
    /// Of a share partition that nobody has initialized.
    pub const NONE: StateSummary =
        StateSummary { state_epoch: 0, leader_epoch: 0, start_offset: -1, delivery_complete_count: -1 };

    /// Whether it is known how far the group has come.
    pub fn has_lag(&self) -> bool {
        self.start_offset != -1 && self.delivery_complete_count != -1
    }

    /// Records of a partition that ends at `end` that the group has yet to deal with (KIP-1226).
    pub fn lag(&self, end: i64) -> i64 {
        end.saturating_sub(self.start_offset).saturating_sub(i64::from(self.delivery_complete_count))
    }
}
