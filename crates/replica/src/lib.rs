//! Partitions and their replicas: append, fetch, high watermark, ISR, followers, purgatory, fetch sessions.
//!
//! Everything here is called with the time and calls back when an answer is due: there are no threads, timers or
//! sockets. What waits, waits in a [`purgatory`] until a check or [`ReplicaManager::tick`] lets it go.

mod assignment;
mod brokers;
#[cfg(test)]
mod cluster_tests;
mod delayed;
pub mod errors;
mod fetch;
pub mod fetch_session;
pub mod fetcher;
mod follower_state;
mod full_dirs;
mod high_watermark;
mod isr_changes;
mod manager;
mod moves;
mod news;
#[cfg(test)]
mod news_tests;
mod partition;
mod produce;
pub mod purgatory;
mod quota;
mod replica_selector;
mod replication;
pub mod share;
#[cfg(test)]
mod tests;

pub use assignment::Assignment;
pub use brokers::{Brokers, NoOtherBrokers};
pub use fetch::{FetchParams, FetchedPartition, FindPartition, PartitionFetch, ReadLater};
pub use follower_state::FollowerId;
pub use full_dirs::RoomChange;
pub use manager::{PurgatorySizes, ReplicaManager, ReplicaSettings, ReplicationRates};
pub use moves::{MoveStep, Moved};
pub use partition::{
    LeaderHint, Partition, PartitionListener, PartitionRead, ReadLimits, Reader, ReaderKind, Throttled,
};
pub use produce::{ProduceEntry, ProduceParams, ProduceResult};
pub use quota::RateWindow;
pub use replica_selector::{FetchClient, ReplicaSelector};
