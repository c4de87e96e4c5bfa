//! The log engine: segments, indexes, checkpoints, recovery, retention and compaction, byte for byte in Kafka's formats.

#![deny(clippy::indexing_slicing)]

mod append_info;
pub mod checkpoint;
pub mod clean_shutdown;
pub mod cleaner;
mod context;
pub mod dir_lock;
pub mod disk;
mod error;
mod fetch_data;
pub mod files;
pub mod index;
pub mod leader_epoch_cache;
mod log_config;
pub mod log_manager;
pub mod meta_properties;
pub mod names;
mod offset_metadata;
pub mod partition_dir;
pub mod partition_metadata;
pub mod producer_snapshot;
pub mod producer_state;
mod recovery;
pub mod scan;
pub mod segment;
mod segments;
mod unflushed_ends;
mod unified_log;

pub use append_info::LogAppendInfo;
pub use context::{Deferred, LogContext, LogDirFailure, LogDirFailures};
pub use error::{AppendError, DeleteRecordsError, OpenError, ReadError, StorageError};
pub use fetch_data::{FetchDataInfo, FetchIsolation, FileSlice};
pub use log_config::{CleanupPolicy, LogConfig};
pub use offset_metadata::OffsetMetadata;
pub use segments::Segments;
pub use unified_log::{
    ActiveProducer, EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP, LATEST_TIMESTAMP, LeaderAppend, LogOffsetSnapshot, MAX_TIMESTAMP,
    OffsetsObserver, OpenLog, TimestampAndOffset, UnifiedLog,
};

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod test_log;
