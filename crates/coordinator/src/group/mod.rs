//! The group coordinator: who is in which group, and what the groups have committed. A group belongs to the partition of
//! `__consumer_offsets` that its id hashes to, and to the node that leads it.
//!
//! What always holds:
//! - A committed offset is answered as such only when it lies below the high watermark.
//! - All members of a stable generation have exactly what their leader assigned, and that is in the log.
//! - Nothing of streams groups is ever written or taken back here.

mod api;
mod classic;
mod config;
pub mod consumer;
mod context;
mod coordinator;
pub(crate) mod errors;
mod listing;
mod metadata;
pub mod modern;
mod offsets;
mod record;
mod shard;
pub mod share;
mod state;

#[cfg(test)]
mod tests;

pub use config::GroupCoordinatorConfig;
pub use consumer::{Bounded, ConsumerGroupConfig, MigrationPolicy};
pub use context::RequestContext;
pub use coordinator::{GroupCoordinator, GroupLoad};
pub use share::{ShareGroupConfig, ShareGroups, ShareStates};
