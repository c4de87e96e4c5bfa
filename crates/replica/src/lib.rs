//! Partitions and their replicas: append, fetch, high watermark, purgatory, fetch sessions.

pub mod purgatory;
