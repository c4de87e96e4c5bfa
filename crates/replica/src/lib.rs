//! Partitions and their replicas: append, fetch, high watermark, purgatory, fetch sessions.
//!
//! Everything here is called with the time and calls back when an answer is due: there are no threads, timers or
//! sockets. What waits, waits in a [`purgatory`] until a check or [`ReplicaManager::tick`] lets it go.

mod assignment;
mod delayed;
pub mod errors;
mod fetch;
pub mod fetch_session;
mod high_watermark;
mod manager;
mod partition;
mod produce;
pub mod purgatory;
pub mod share;
#[cfg(test)]
mod tests;

pub use assignment::Assignment;
pub use fetch::{FetchParams, FetchedPartition, PartitionFetch, ReadLater};
pub use manager::{PurgatorySizes, ReplicaManager, ReplicaSettings};
pub use partition::{LeaderHint, Partition, PartitionListener, PartitionRead, ReadLimits, ReaderKind};
pub use produce::{ProduceEntry, ProduceParams, ProduceResult};
