//! Truncating logs, so that neither compaction nor recovery goes by what was.

use ottla_types::{Now, Offset};

use super::LogManager;
use crate::error::StorageError;
use crate::unified_log::UnifiedLog;

impl LogManager {
    /// As [`UnifiedLog::truncate_to`]; the cleaner and the checkpoints of the log's directory know of it when the call
    /// returns.
    pub fn truncate_to(&self, log: &UnifiedLog, offset: Offset, now: Now) -> Result<bool, StorageError> {
        self.truncating(log, || log.truncate_to(offset, now))
    }

    /// As [`UnifiedLog::truncate_fully_and_start_at`], likewise.
    pub fn truncate_fully_and_start_at(
        &self,
        log: &UnifiedLog,
        offset: Offset,
        log_start_offset: Option<Offset>,
        now: Now,
    ) -> Result<(), StorageError> {
        self.truncating(log, || log.truncate_fully_and_start_at(offset, log_start_offset, now))
    }

    fn truncating<T>(
        &self,
        log: &UnifiedLog,
        truncate: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let partition = log.partition();
        self.cleaner.abort_and_pause(partition);
        let truncated = truncate();
        let dir = log.log_dir();
        self.cleaner.truncate_clean_offset(&dir, partition, log.active_segment_base_offset());
        self.cleaner.resume(partition);
        // A recovery point beyond the log's end would let recovery pass over what is appended up to there.
        self.checkpoint_dir(&dir);
        truncated
    }
}
