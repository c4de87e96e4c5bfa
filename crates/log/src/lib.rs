//! The log engine: segments, indexes, checkpoints, recovery, retention and compaction, byte for byte in Kafka's formats.

pub mod disk;
