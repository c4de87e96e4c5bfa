//! How records become batches and requests: pure. Time, leaders and answers go in, requests come out.

pub(crate) mod accumulator;
pub(crate) mod batch;
pub(crate) mod delivery;
mod incomplete;
pub(crate) mod lane;
pub(crate) mod memory;
mod murmur2;
pub(crate) mod partitioner;
mod queue;
pub(crate) mod record;
pub(crate) mod sender;
#[cfg(test)]
mod simulation;
pub(crate) mod transactions;

pub use murmur2::{murmur2, partition_of_key};
use ottla_record::Compression;

/// What the core goes by.
#[derive(Clone, Debug)]
pub(crate) struct CoreSettings {
    pub acks: i16,
    pub batch_bytes: usize,
    pub buffer_bytes: usize,
    pub linger_ms: u64,
    pub compression: Compression,
    pub request_bytes_max: usize,
    pub delivery_timeout_ms: u64,
    pub retries: u32,
    pub retry_backoff_ms: u64,
    pub retry_backoff_max_ms: u64,
    pub in_flight_max: usize,
    pub is_idempotent: bool,
    pub is_adaptive: bool,
    /// Everything is sent within transactions.
    pub is_transactional: bool,
}
