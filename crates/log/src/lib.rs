//! The log engine: segments, indexes, checkpoints, recovery, retention and compaction, byte for byte in Kafka's formats.

pub mod disk;
pub mod index;
pub mod names;
pub mod partition_dir;
