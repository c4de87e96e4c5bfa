//! What share partitions need of others: somebody who keeps their state, and their groups' settings.

use std::sync::Arc;

use ottla_types::Now;
use ottla_wire::ErrorCode;

use super::types::{DeadRecords, PersistedState, SharePartitionId, ShareSettings, StateWrite};
use crate::partition::Partition;

/// Takes what the share coordinator answered, and when that was.
pub type Persisted<T> = Box<dyn FnOnce(Result<T, ErrorCode>, Now) + Send>;

/// The way to the share coordinator. An answer may come before the call returns; each call is answered once. Errors
/// are final: whoever implements this tries again where that helps.
pub trait Persister: Send + Sync {
    /// For the leader in this epoch, which fences the leaders before.
    fn read(&self, id: &SharePartitionId, leader_epoch: i32, now: Now, done: Persisted<PersistedState>);

    fn write(&self, id: &SharePartitionId, write: StateWrite, now: Now, done: Persisted<()>);
}

/// Called when dead letters are written, or can't be.
pub type LettersWritten = Box<dyn FnOnce(Now) + Send>;

/// Where letters go about records that a group has given up (KIP-1191).
pub trait DeadLetters: Send + Sync {
    /// A letter for each record. One that can't be written holds nobody up for ever: `done` is called in any case, maybe
    /// before this returns.
    fn write(
        &self,
        id: &SharePartitionId,
        of: Arc<Partition>,
        dead: Vec<DeadRecords>,
        now: Now,
        done: LettersWritten,
    );
}

/// Where a group begins in a partition in which it has no position (`share.auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// So many milliseconds back.
    ByDuration(i64),
}

/// A group's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareGroupSettings {
    pub partition: ShareSettings,
    pub offset_reset: OffsetReset,
    /// `share.isolation.level`
    pub read_committed: bool,
}

pub trait ShareGroups: Send + Sync {
    fn settings(&self, group_id: &str) -> ShareGroupSettings;
}
