//! Retention, and the removal of files.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::{Now, Offset};
use tracing::info;

use super::UnifiedLog;
use crate::error::{DeleteRecordsError, StorageError};
use crate::names::FileState;
use crate::producer_state::{ProducerStateManager, delete_retired};
use crate::segment::{Segment, SegmentError};
use crate::segments::Segments;

impl UnifiedLog {
    /// Removes the segments that retention lets go: all whose records lie below the log start offset, and, if
    /// `cleanup.policy` has `delete`, those beyond `retention.bytes` and `retention.ms`. Nothing at or above the high
    /// watermark goes. Returns how many segments went.
    pub fn delete_old_segments(&self, now: Now) -> Result<usize, StorageError> {
        let mut deleted = self.delete_below_log_start(now)?;
        let config = self.config();
        if config.cleanup_policy.delete {
            deleted += self.delete_beyond_size(config.retention_bytes, now)?;
            deleted += self.delete_beyond_age(config.retention_ms, now)?;
        }
        Ok(deleted)
    }

    fn delete_below_log_start(&self, now: Now) -> Result<usize, StorageError> {
        let log_start_offset = self.log_start_offset();
        self.delete_while("log start offset", now, |_, next| {
            Ok(next.is_some_and(|next| next.base_offset() <= log_start_offset))
        })
    }

    fn delete_beyond_size(&self, retention_bytes: i64, now: Now) -> Result<usize, StorageError> {
        let Ok(retention_bytes) = u64::try_from(retention_bytes) else { return Ok(0) };
        let Some(mut excess) = self.size_bytes().checked_sub(retention_bytes) else { return Ok(0) };
        self.delete_while("retention.bytes", now, |segment, _| {
            let left = excess.checked_sub(u64::from(segment.size()));
            excess = left.unwrap_or(excess);
            Ok(left.is_some())
        })
    }

    fn delete_beyond_age(&self, retention_ms: i64, now: Now) -> Result<usize, StorageError> {
        if retention_ms < 0 {
            return Ok(0);
        }
        self.delete_while("retention.ms", now, |segment, _| {
            Ok(now.wall.0.saturating_sub(segment.largest_timestamp()?.0) > retention_ms)
        })
    }

    /// Deletes segments from the first one on for as long as `may_go` says so.
    fn delete_while(
        &self,
        reason: &'static str,
        now: Now,
        may_go: impl FnMut(&Segment, Option<&Segment>) -> Result<bool, SegmentError>,
    ) -> Result<usize, StorageError> {
        let mut producers = self.lock_writer()?;
        let deletable = self
            .deletable(may_go)
            .map_err(|error| self.segment_failed("looking for segments to delete", error))?;
        let Some(last) = deletable.last() else { return Ok(0) };
        let count = deletable.len();
        if count == self.segments().len() {
            self.roll_at(&mut producers, Offset::ZERO, now)?;
        }
        let segments = self.segments.load_full();
        let Some(next) = segments.higher(last.base_offset()) else { return Ok(0) };
        match self.increment_log_start_offset(&mut producers, next.base_offset(), "segments deleted") {
            Err(DeleteRecordsError::Storage(error)) => return Err(error),
            Err(DeleteRecordsError::BeyondHighWatermark { .. }) => return Ok(0),
            Ok(_) => {}
        }
        info!(partition = %self.partition, segments = count, up_to = %next.base_offset(), "deleting segments: {reason}");
        self.remove_segments(&mut producers, deletable, now)?;
        Ok(count)
    }

    fn deletable(
        &self,
        mut may_go: impl FnMut(&Segment, Option<&Segment>) -> Result<bool, SegmentError>,
    ) -> Result<Vec<Arc<Segment>>, SegmentError> {
        let segments = self.segments();
        let (high_watermark, log_end_offset) = (self.high_watermark(), self.log_end_offset());
        let mut deletable = Vec::new();
        for segment in segments.iter() {
            let next = segments.higher(segment.base_offset());
            let end = next.map_or(log_end_offset, |next| next.base_offset());
            let is_empty_active = next.is_none() && segment.is_empty();
            if high_watermark < end || is_empty_active || !may_go(segment, next.map(|next| &**next))? {
                break;
            }
            deletable.push(Arc::clone(segment));
        }
        Ok(deletable)
    }

    /// Takes segments out of the log; their files go when nobody reads them any more.
    pub(super) fn remove_segments(
        &self,
        producers: &mut ProducerStateManager,
        removed: Vec<Arc<Segment>>,
        now: Now,
    ) -> Result<(), StorageError> {
        self.removing(|| {
            self.publish_segments(|segments: &mut Segments| {
                for segment in &removed {
                    segments.remove(segment.base_offset());
                }
            });
            for segment in &removed {
                segment
                    .rename(FileState::Deleted)
                    .map_err(|error| self.segment_failed("setting a segment aside for deletion", error))?;
            }
            Ok(())
        })?;
        for segment in &removed {
            self.retire_snapshot_later(producers, segment.base_offset(), now)
                .map_err(|error| self.failed("setting a producer snapshot aside", error))?;
        }
        self.delete_files_later(removed, now);
        Ok(())
    }

    /// Removes the files of segments that are named `.deleted`, after `file.delete.delay.ms`.
    pub(super) fn delete_files_later(&self, segments: Vec<Arc<Segment>>, now: Now) {
        if segments.is_empty() {
            return;
        }
        let me = self.me.clone();
        self.context.deferred.after_ms(now, self.config().file_delete_delay_ms, move |_| {
            // Without the log its directory is gone, or going as a whole.
            let Some(log) = me.upgrade() else { return };
            for segment in segments {
                if let Err(error) = segment.delete_files() {
                    log.segment_failed("deleting a segment", error);
                }
            }
        });
    }

    pub(super) fn retire_snapshot_later(
        &self,
        producers: &mut ProducerStateManager,
        offset: Offset,
        now: Now,
    ) -> io::Result<()> {
        if producers.retire_snapshot(offset)? {
            let me = self.me.clone();
            self.context.deferred.after_ms(now, self.config().file_delete_delay_ms, move |_| {
                let Some(log) = me.upgrade() else { return };
                if let Err(error) = delete_retired(&log.dir, offset) {
                    log.failed("deleting a producer snapshot", error);
                }
            });
        }
        Ok(())
    }

    /// Leaves the directory as a clean stop leaves it: everything flushed, a producer snapshot at the end. Nothing can be
    /// appended any more.
    pub fn close(&self, now: Now) -> Result<(), StorageError> {
        // Most of it while appends go on, and what they bring meanwhile when no more can come.
        self.flush(now)?;
        let mut producers = self.lock_writer()?;
        if self.recovery_point() < self.log_end_offset() {
            self.flush_locked(now)?;
        }
        let snapshot = producers
            .take_snapshot(true)
            .map_err(|error| self.failed("writing a producer snapshot", error))?;
        self.close_segments(snapshot.is_some())
            .map_err(|error| self.segment_failed("closing a segment", error))?;
        self.is_closed.store(true, Ordering::Release);
        Ok(())
    }

    /// `has_new_names`: files were made that are not known to be in the directory on disk.
    fn close_segments(&self, mut has_new_names: bool) -> Result<(), SegmentError> {
        let config = self.config();
        let segments = self.segments();
        // That of the active segment may have been made after the last flush.
        has_new_names |= match segments.last() {
            Some(active) if active.has_changed() => !active.txn_index().is_empty()?,
            _ => false,
        };
        for segment in segments.iter() {
            segment.close(&config)?;
        }
        if has_new_names {
            self.context.disk.sync_dir(&self.dir())?;
        }
        Ok(())
    }

    /// Lets go of the log without touching its directory, which failed.
    pub fn abandon(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Renames the partition's directory inside its log directory: for deletion, or when a future replica takes over. The
    /// caller makes that durable, for many at once.
    pub fn rename_dir(&self, name: &str) -> Result<(), StorageError> {
        let _producers = self.writer.lock();
        let to = self.log_dir().join(name);
        if *self.dir() == *to {
            return Ok(());
        }
        self.dir.rename(&to).map_err(|error| self.failed("renaming a partition's directory", error))
    }
}
