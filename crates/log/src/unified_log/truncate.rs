//! Taking the end of the log away: a replica that diverged from its leader. It is durable when the call returns.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::{Now, Offset};
use tracing::{info, warn};

use super::UnifiedLog;
use super::high_watermark::publish_first_unstable;
use crate::error::StorageError;
use crate::names::FileState;
use crate::offset_metadata::OffsetMetadata;
use crate::producer_state::ProducerStateManager;
use crate::recovery;
use crate::segment::{Segment, SegmentError};

impl UnifiedLog {
    /// Removes all records at or above `offset`. False: there are none.
    pub fn truncate_to(&self, offset: Offset, now: Now) -> Result<bool, StorageError> {
        let mut producers = self.lock_writer()?;
        let offset = offset.max(Offset::ZERO);
        if offset >= self.log_end_offset() {
            self.truncate_epochs_from_end(self.log_end_offset())?;
            return Ok(false);
        }
        let high_watermark = self.high_watermark();
        if offset < high_watermark {
            warn!(partition = %self.partition, %offset, %high_watermark, "truncating below the high watermark");
        }
        info!(partition = %self.partition, %offset, "truncating");
        let first_base_offset = self.segments().first().map(|first| first.base_offset());
        if first_base_offset.is_none_or(|first| first > offset) {
            self.start_anew(&mut producers, offset, offset, now)?;
        } else {
            self.truncate_segments(&mut producers, offset, now)
                .map_err(|error| self.segment_failed("truncating", error))?;
            self.retire_old_state(&mut producers, offset, now)?;
        }
        Ok(true)
    }

    /// Removes all records; the next one gets `offset`. The log starts at `log_start_offset`, or there.
    pub fn truncate_fully_and_start_at(
        &self,
        offset: Offset,
        log_start_offset: Option<Offset>,
        now: Now,
    ) -> Result<(), StorageError> {
        let mut producers = self.lock_writer()?;
        info!(partition = %self.partition, %offset, "truncating fully");
        self.start_anew(&mut producers, offset, log_start_offset.unwrap_or(offset), now)
    }

    fn truncate_segments(
        &self,
        producers: &mut ProducerStateManager,
        offset: Offset,
        now: Now,
    ) -> Result<(), SegmentError> {
        let segments = self.segments.load_full();
        let Some(active) = segments.floor(offset) else { return Ok(()) };
        let end_position = active.locate(offset)?.map_or(active.size(), |batch| batch.position);
        let end = OffsetMetadata::new(offset, active.base_offset(), end_position);
        // Readers are turned away first.
        self.removing_end(|| {
            {
                let mut offsets = self.offsets.change();
                offsets.log_end = end;
                offsets.log_start = offsets.log_start.min(offset);
                if offsets.high_watermark.message_offset >= offset {
                    offsets.high_watermark = end;
                }
            }
            self.lower_recovery_point(offset);
            let removed = segments.after(active.base_offset()).to_vec();
            for segment in &removed {
                segment.rename(FileState::Deleted)?;
            }
            self.publish_segments(|segments| {
                for segment in &removed {
                    segments.remove(segment.base_offset());
                }
            });
            for segment in &removed {
                self.retire_snapshot_later(producers, segment.base_offset(), now)?;
            }
            self.delete_files_later(removed, now);
            self.unflushed_ends.truncated_to(offset)?;
            active.truncate_to(offset, now.wall)?;
            // What was cut off must not come back either.
            active.flush_batches()
        })
    }

    /// Epochs and producers of what was truncated.
    fn retire_old_state(
        &self,
        producers: &mut ProducerStateManager,
        offset: Offset,
        now: Now,
    ) -> Result<(), StorageError> {
        self.truncate_epochs_from_end(offset)?;
        let log_start_offset = self.log_start_offset();
        let segments = self.segments.load_full();
        recovery::rebuild_producer_state(producers, &segments, log_start_offset, offset, now, false)
            .map_err(|error| self.segment_failed("rebuilding producer state", error))?;
        self.recall_unreplicated(producers, now)?;
        self.publish_producers(producers);
        self.make_removal_durable()
    }

    /// Segments and producer snapshots must not come back after a crash, behind what is appended from now on.
    fn make_removal_durable(&self) -> Result<(), StorageError> {
        self.context.disk.sync_dir(&self.dir()).map_err(|error| self.failed("flushing a directory", error))
    }

    pub(super) fn start_anew(
        &self,
        producers: &mut ProducerStateManager,
        offset: Offset,
        log_start_offset: Offset,
        now: Now,
    ) -> Result<(), StorageError> {
        let old: Vec<Arc<Segment>> = self.segments().iter().cloned().collect();
        self.removing_end(|| {
            for segment in &old {
                segment
                    .rename(FileState::Deleted)
                    .map_err(|error| self.segment_failed("truncating fully", error))?;
            }
            let segment = self.new_segment(offset, now)?;
            {
                let mut offsets = self.offsets.change();
                offsets.log_end = OffsetMetadata::new(offset, offset, 0);
                offsets.log_start = log_start_offset;
                offsets.high_watermark = offsets.log_end;
            }
            self.recovery_point.store(offset.0, Ordering::Release);
            self.publish_segments(|segments| *segments = [segment].into_iter().collect());
            Ok(())
        })?;
        self.delete_files_later(old, now);
        self.unflushed_ends
            .retain(|_| false)
            .map_err(|error| self.failed("removing a note of what was not flushed", error))?;
        self.leader_epochs
            .clear()
            .map_err(|error| self.failed("writing the leader epoch checkpoint", error.into()))?;
        producers
            .truncate_fully_and_start_at(offset)
            .map_err(|error| self.failed("removing producer snapshots", error))?;
        self.publish_producers(producers);
        self.make_removal_durable()
    }

    /// Takes something away from the log; readers that stumble over that look again.
    pub(super) fn removing<T, E>(&self, remove: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.removals.fetch_add(1, Ordering::AcqRel);
        self.tail.clear();
        let removed = remove();
        self.tail.clear();
        self.removals.fetch_add(1, Ordering::AcqRel);
        removed
    }

    /// Takes the end of the log away, or all of it; readers that have found anything meanwhile look again.
    fn removing_end<T, E>(&self, remove: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.truncations.fetch_add(1, Ordering::AcqRel);
        let removed = self.removing(remove);
        self.truncations.fetch_add(1, Ordering::AcqRel);
        removed
    }

    fn truncate_epochs_from_end(&self, offset: Offset) -> Result<(), StorageError> {
        if self.leader_epochs.truncate_from_end(offset) {
            self.flush_leader_epochs()?;
        }
        Ok(())
    }

    pub(super) fn publish_producers(&self, producers: &mut ProducerStateManager) {
        let mut offsets = self.offsets.change();
        producers.on_high_watermark_updated(offsets.high_watermark.message_offset);
        publish_first_unstable(producers, &mut offsets);
    }
}
