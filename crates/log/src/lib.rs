//! The log engine: segments, indexes, checkpoints, recovery, retention and compaction, byte for byte in Kafka's formats.

pub mod checkpoint;
pub mod clean_shutdown;
pub mod dir_lock;
pub mod disk;
mod files;
pub mod index;
pub mod leader_epoch_cache;
pub mod meta_properties;
pub mod names;
pub mod partition_dir;
pub mod partition_metadata;
pub mod producer_snapshot;

#[cfg(test)]
mod golden_tests;
