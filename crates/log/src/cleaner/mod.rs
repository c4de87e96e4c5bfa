//! Compaction: keeps the latest record of each key (`cleanup.policy=compact`).
//!
//! A log is cleaned from its start up to the first segment that may not be touched, in two passes: the first maps the
//! keys of the part that was not cleaned before (`mapping`, `offset_map`), the second writes what stays of all
//! (`copying`, `retention`, `filter`) to new segments that take the old ones' place. Offsets and order never change.
//!
//! What always holds: a crash at any moment leaves the old segments or the new ones, whole. Appends and reads go on beside
//! it: the active segment is not touched, and readers of replaced segments read on. Memory is bounded by the configured
//! buffers. No clock is read here: a step says how much I/O it did, and [`IoThrottle`] how long to wait for it.
//!
//! A thread keeps a [`CleanerWorker`] and calls [`LogManager::clean_step`](crate::log_manager::LogManager::clean_step),
//! waiting as long as each step says.

mod chunk;
mod cleanable;
mod copying;
mod filter;
mod grouping;
mod manager;
mod mapping;
mod offset_map;
mod retention;
mod run;
mod stats;
mod throttle;
mod transactions;
mod worker;

pub use manager::{CleanProgress, CleanerManager, CleanerMetrics, Cleaning, Deletion};
pub use retention::LastRecord;
pub use stats::CleanerStats;
pub use throttle::IoThrottle;
pub use worker::{CleanerSettings, CleanerWorker};

use std::io;
use std::path::PathBuf;

use ottla_record::{BuildError, RecordError};
use ottla_types::Offset;
use thiserror::Error;

use crate::error::{ReadError, StorageError};
use crate::index::IndexError;
use crate::segment::SegmentError;
use crate::unified_log::UnifiedLog;

/// The broker's `log.cleaner.*` settings that a cleaning goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerConfig {
    pub threads: usize,
    /// Of all threads.
    pub dedupe_buffer_bytes: u64,
    /// Above 0, up to 1.
    pub dedupe_buffer_load_factor: f64,
    /// Of all threads.
    pub io_buffer_bytes: u64,
    /// Random: keys that hash alike must not be predictable.
    pub hash_secret: (u64, u64),
}

impl CleanerConfig {
    fn map_bytes_per_thread(&self) -> usize {
        per_thread(self.dedupe_buffer_bytes, self.threads)
    }

    /// Half of it is for reading, half for writing.
    fn io_buffer_bytes_per_thread(&self) -> usize {
        per_thread(self.io_buffer_bytes, self.threads) / 2
    }
}

fn per_thread(bytes: u64, threads: usize) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / threads.max(1)
}

/// Why a cleaning ended early.
#[derive(Debug, Error)]
pub enum CleanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{}, at or after byte {position}: {source}", path.display())]
    Corrupt { path: PathBuf, position: u32, source: RecordError },
    #[error("{}: the batch at offset {base_offset} cannot be written again: {source}", path.display())]
    Rewrite { path: PathBuf, base_offset: Offset, source: BuildError },
    #[error("offset {offset} does not fit into {}", path.display())]
    OffsetOverflow { path: PathBuf, offset: Offset },
}

impl CleanError {
    /// As a failure of the disk, which it reports, or of a log that is closed; itself if it is neither.
    fn into_storage(self, log: &UnifiedLog) -> Result<StorageError, CleanError> {
        let source = match self {
            CleanError::Storage(error) | CleanError::Read(ReadError::Storage(error)) => return Ok(error),
            CleanError::Io(source)
            | CleanError::Segment(
                SegmentError::Io(source) | SegmentError::Index(IndexError::Io { source, .. }),
            )
            | CleanError::Index(IndexError::Io { source, .. }) => source,
            other => return Err(other),
        };
        // The files of a log that is closed may be gone: their directory is none the worse for it.
        Ok(log.failed("compacting", source))
    }
}

#[cfg(test)]
mod tests;
