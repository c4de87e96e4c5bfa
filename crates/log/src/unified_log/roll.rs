//! Starting a new segment.

use std::sync::Arc;

use ottla_types::{Now, Offset};
use tracing::{debug, warn};

use super::UnifiedLog;
use crate::context::is_no_space;
use crate::disk::is_out_of_files;
use crate::error::StorageError;
use crate::names::FileState;
use crate::offset_metadata::OffsetMetadata;
use crate::producer_state::ProducerStateManager;
use crate::segment::{RollParams, Segment, SegmentError};
use crate::segments::Segments;

impl UnifiedLog {
    /// Starts a new segment at the log's end, unless the active one is empty.
    pub fn roll(&self, now: Now) -> Result<(), StorageError> {
        let mut producers = self.lock_writer()?;
        if !self.active_segment()?.is_empty() {
            self.roll_at(&mut producers, Offset::ZERO, now)?;
        }
        Ok(())
    }

    /// The segment for an append whose first offset is `first_offset`: the active one, or a new one.
    pub(super) fn segment_for(
        &self,
        producers: &mut ProducerStateManager,
        params: &RollParams,
        first_offset: Offset,
        now: Now,
    ) -> Result<Arc<Segment>, StorageError> {
        let active = self.active_segment()?;
        let should_roll = active
            .should_roll(params, &self.config())
            .map_err(|error| self.segment_failed("looking whether to roll a segment", error))?;
        if should_roll { self.roll_at(producers, first_offset, now) } else { Ok(active) }
    }

    /// Starts a new segment at `first_offset` or the log's end, whichever is later.
    pub(super) fn roll_at(
        &self,
        producers: &mut ProducerStateManager,
        first_offset: Offset,
        now: Now,
    ) -> Result<Arc<Segment>, StorageError> {
        let base_offset = first_offset.max(self.log_end_offset());
        let active = self.active_segment()?;
        if active.base_offset() == base_offset && active.is_empty() {
            return self.replace_active(&active, base_offset, now);
        }
        let config = self.config();
        let rolling = |error| self.segment_failed("rolling a segment", error);
        active.on_become_inactive(&config).map_err(rolling)?;
        if self.recovery_point().max(self.loaded_recovery_point) >= base_offset {
            // Recovery, which goes by what a checkpoint may say by now, would not look at it, and its indexes are not known
            // to be on disk.
            active.flush().and_then(|()| self.sync_new_names(&active)).map_err(rolling)?;
        } else if config.cleanup_policy.compact {
            self.note_unflushed_end(&active, base_offset).map_err(rolling)?;
        }
        let segment = self.new_segment(base_offset, now)?;
        self.publish_segments(|segments| segments.insert(Arc::clone(&segment)));
        self.move_log_end_to(&segment);
        producers.set_map_end_offset(base_offset);
        let snapshot = self.snapshot_at_roll(producers)?;
        debug!(partition = %self.partition, %base_offset, "rolled a segment");
        self.flush_later(base_offset, snapshot, now);
        Ok(segment)
    }

    /// Recovery must be able to tell what a loss of power takes from a gap that compaction has left.
    fn note_unflushed_end(&self, active: &Segment, base_offset: Offset) -> Result<(), SegmentError> {
        if active.read_next_offset().is_ok_and(|end| end == base_offset) {
            match self.unflushed_ends.note(base_offset) {
                Err(error) if is_no_space(&error) || is_out_of_files(&error) => {}
                noted => return Ok(noted?),
            }
        }
        // There is a gap already, or no room for a note.
        self.unflushed_ends.retain(|noted| noted != base_offset)?;
        active.flush_batches()
    }

    /// A full index in an empty segment, or a time that came before any record: it is made anew.
    fn replace_active(
        &self,
        active: &Arc<Segment>,
        base_offset: Offset,
        now: Now,
    ) -> Result<Arc<Segment>, StorageError> {
        warn!(partition = %self.partition, %base_offset, "rolled an empty segment");
        active
            .rename(FileState::Deleted)
            .map_err(|error| self.segment_failed("setting an empty segment aside", error))?;
        let segment = self.new_segment(base_offset, now)?;
        self.publish_segments(|segments| segments.insert(Arc::clone(&segment)));
        self.move_log_end_to(&segment);
        self.delete_files_later(vec![Arc::clone(active)], now);
        Ok(segment)
    }

    pub(super) fn new_segment(&self, base_offset: Offset, now: Now) -> Result<Arc<Segment>, StorageError> {
        match Segment::create_whole(&self.dir, base_offset, &self.config(), now.wall) {
            Ok(segment) => Ok(Arc::new(segment)),
            Err(error) => Err(self.segment_failed("making a segment", error)),
        }
    }

    /// A transaction index is made later than the segment.
    pub(super) fn sync_new_names(&self, segment: &Segment) -> Result<(), SegmentError> {
        if !segment.txn_index().is_empty()? {
            self.context.disk.sync_dir(&self.dir())?;
        }
        Ok(())
    }

    pub(super) fn publish_segments(&self, change: impl FnOnce(&mut Segments)) {
        let mut segments = Segments::clone(&self.segments());
        change(&mut segments);
        self.segments.store(Arc::new(segments));
    }

    /// The log's end keeps its offset and lies in a new, empty segment.
    fn move_log_end_to(&self, segment: &Segment) {
        let mut offsets = self.offsets.change();
        let end = offsets.log_end.message_offset;
        offsets.log_end = OffsetMetadata::new(end, segment.base_offset(), segment.size());
        if offsets.high_watermark.message_offset >= end {
            offsets.high_watermark = offsets.log_end;
        }
    }

    /// Without room or a descriptor for a snapshot the log goes on: the next start replays a little more of it.
    fn snapshot_at_roll(&self, producers: &mut ProducerStateManager) -> Result<Option<Offset>, StorageError> {
        match producers.take_snapshot(false) {
            Err(error) if is_no_space(&error) || is_out_of_files(&error) => {
                warn!(partition = %self.partition, "no producer snapshot: {error}");
                Ok(None)
            }
            taken => taken.map_err(|error| self.failed("writing a producer snapshot", error)),
        }
    }
}
