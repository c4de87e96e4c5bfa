//! What share partitions need of others: somebody who keeps their state, and their groups' settings.

use ottla_types::Now;
use ottla_wire::ErrorCode;

use super::types::{PersistedState, SharePartitionId, ShareSettings, StateWrite};

/// Takes what the share coordinator answered, and when that was.
pub type Persisted<T> = Box<dyn FnOnce(Result<T, ErrorCode>, Now) + Send>;

/// The way to the share coordinator. An answer may come before the call returns; each call is answered once. Errors
/// are final: whoever implements this tries again where that helps.
pub trait Persister: Send + Sync {
    /// For the leader in this epoch, which fences the leaders before.
    fn read(&self, id: &SharePartitionId, leader_epoch: i32, now: Now, done: Persisted<PersistedState>);

    fn write(&self, id: &SharePartitionId, write: StateWrite, now: Now, done: Persisted<()>);
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
