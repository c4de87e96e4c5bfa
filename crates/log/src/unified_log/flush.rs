//! Making the log durable, and the recovery point: recovery after a crash starts there.

use std::sync::atomic::Ordering;

use ottla_types::{Now, Offset};

use super::UnifiedLog;
use crate::context::LogDirFailure;
use crate::error::StorageError;
use crate::producer_state::sync_snapshot;
use crate::segment::SegmentError;
use crate::segments::Segments;

impl UnifiedLog {
    /// Makes everything durable that has been appended.
    pub fn flush(&self, now: Now) -> Result<(), StorageError> {
        self.flush_up_to(self.log_end_offset(), now)
    }

    /// Makes everything below `offset` durable. Appends and reads go on meanwhile.
    pub fn flush_up_to(&self, offset: Offset, now: Now) -> Result<(), StorageError> {
        if offset <= self.recovery_point() {
            return Ok(());
        }
        let removals = self.removals.load(Ordering::Acquire);
        let segments = self.segments.load_full();
        if let Err(error) = self.sync_files(&segments, offset) {
            if !self.has_lost_nothing_since(removals) {
                // What was being flushed is no part of the log any more; what is will be flushed the next time.
                return Ok(());
            }
            return Err(self.segment_failed("flushing", error));
        }
        // Under the lock, so that a truncation is either seen here or sees the new recovery point.
        let _writer = self.lock_writer()?;
        if removals == self.removals.load(Ordering::Acquire) {
            self.sync_if_rolled(&segments).map_err(|error| self.segment_failed("flushing", error))?;
            self.flushed(offset, now)?;
        }
        Ok(())
    }

    /// The segment that was active when `segments` were flushed may not be any more: its indexes are not on disk then, and
    /// recovery will not look at what lies below the recovery point.
    fn sync_if_rolled(&self, segments: &Segments) -> Result<(), SegmentError> {
        match segments.last() {
            Some(last) if last.base_offset() != self.active_segment_base_offset() => {
                last.flush()?;
                self.sync_new_names(last)
            }
            _ => Ok(()),
        }
    }

    /// As [`Self::flush`], by the writer: appends wait for it, as `flush.messages` asks.
    pub(super) fn flush_locked(&self, now: Now) -> Result<(), StorageError> {
        let end = self.log_end_offset();
        self.sync_files(&self.segments(), end).map_err(|error| self.segment_failed("flushing", error))?;
        self.flushed(end, now)
    }

    /// Of the last segment the batches alone: as long as the recovery point lies in it, its indexes are made anew after an
    /// unclean stop.
    fn sync_files(&self, segments: &Segments, offset: Offset) -> Result<(), SegmentError> {
        let recovery_point = self.recovery_point();
        let active = segments.last().map(|active| active.base_offset());
        let unflushed = segments.range(recovery_point, offset);
        // Where all of it has been deleted, the name of the segment that follows is what says where the log goes on.
        let mut has_new_names = unflushed.is_empty();
        for segment in unflushed {
            if Some(segment.base_offset()) == active {
                segment.flush_batches()?;
                has_new_names |= segment.base_offset() >= recovery_point;
            } else {
                segment.flush()?;
                // An index may have been made after the segment was.
                has_new_names = true;
            }
        }
        if has_new_names {
            self.context.disk.sync_dir(&self.dir())?;
        }
        // The recovery point passes the epochs' starts next: nobody would look for them in the log then.
        self.leader_epochs.flush().map_err(|error| SegmentError::Io(error.into()))
    }

    /// By the writer: the log may have been truncated since the flush was asked for.
    fn flushed(&self, offset: Offset, now: Now) -> Result<(), StorageError> {
        let dir = self.log_dir();
        // What could not be made durable there once may count as written from then on.
        if let Some(LogDirFailure { doing, source, .. }) = self.context.failures.of(&dir) {
            return Err(StorageError::DirFailed { dir, doing, source });
        }
        let offset = offset.min(self.log_end_offset());
        self.advance_recovery_point(offset);
        self.last_flush.store(now.mono.0, Ordering::Relaxed);
        self.unflushed_ends
            .flushed_up_to(offset)
            .map_err(|error| self.failed("removing a note of what was not flushed", error))
    }

    /// Flushes what lies below a segment that was rolled, at a time when no append waits for it.
    pub(super) fn flush_later(&self, offset: Offset, snapshot: Option<Offset>, now: Now) {
        let me = self.me.clone();
        self.context.deferred.after_ms(now, 0, move |now| {
            let Some(log) = me.upgrade() else { return };
            if let Some(snapshot) = snapshot
                && let Err(error) = sync_snapshot(&log.dir, snapshot)
            {
                log.failed("flushing a producer snapshot", error);
            }
            // What goes wrong has been reported.
            let _ = log.flush_up_to(offset, now);
        });
    }

    /// Records that were appended and not flushed.
    pub fn unflushed_records(&self) -> i64 {
        self.log_end_offset() - self.recovery_point()
    }

    pub(super) fn advance_recovery_point(&self, offset: Offset) {
        self.recovery_point.fetch_max(offset.0, Ordering::AcqRel);
    }

    pub(super) fn lower_recovery_point(&self, offset: Offset) {
        self.recovery_point.fetch_min(offset.0, Ordering::AcqRel);
    }
}
