//! The share coordinator (KIP-932): what share groups have delivered of each partition, and what became of it. A share
//! partition belongs to the partition of `__share_group_state` that its key hashes to, and to the node that leads it.
//!
//! What always holds:
//! - A write is answered when it is committed, and what is read is committed.
//! - Nobody writes who leads in an epoch older than one that has read or written, or who knows an older state epoch.
//! - Each share partition's last snapshot, and all updates after it, stay in the log.

mod batches;
mod config;
mod coordinator;
mod key;
mod outcome;
mod record;
mod requests;
mod shard;
mod state;

#[cfg(test)]
mod tests;

pub use batches::{StateBatch, combine};
pub use config::ShareCoordinatorConfig;
pub use coordinator::{LogPruner, ShareCoordinator, ShareCoordinatorParts, ShareStateLoad, TopicPartitions};
pub use key::SharePartitionKey;
pub use outcome::{Outcome, ReadState, ShareStateError, StateSummary, WriteState};
