//! The transaction coordinator: which producer has a transactional id, and how its transaction stands (KIP-98, KIP-890).
//! An id belongs to the partition of `__transaction_state` that it hashes to, and to the node that leads it.
//!
//! What always holds:
//! - A transaction is decided when its decision is committed in the log. Markers are written after that alone, and only
//!   of that decision, however often the second phase is begun anew.
//! - A producer that was fenced has an older epoch than the log says: nothing it asks for is done.
//! - An answer that tells of the state leaves when all that it rests on is committed.

mod config;
mod coordinator;
mod end;
mod listing;
mod markers;
mod metadata;
mod partitions;
mod producers;
mod record;
mod shard;
mod state;

#[cfg(test)]
mod tests;

pub use config::TransactionCoordinatorConfig;
pub use coordinator::{ProducerIdSource, TransactionCoordinator, TransactionLoad};
pub use markers::{MarkerSender, MarkerTicket, MarkersToWrite};
