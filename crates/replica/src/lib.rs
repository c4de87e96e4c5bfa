//! Partitions and their replicas: append, fetch, high watermark, purgatory, fetch sessions.

pub mod fetch_session;
pub mod purgatory;
