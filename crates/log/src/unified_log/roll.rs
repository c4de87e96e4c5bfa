//! Starting a new segment.

use std::io;
use std::sync::Arc;

use ottla_types::{Now, Offset};
use tracing::{debug, warn};

use super::UnifiedLog;
use crate::disk::is_out_of_files;
use crate::error::StorageError;
use crate::names::FileState;
use crate::offset_metadata::OffsetMetadata;
use crate::producer_state::ProducerStateManager;
use crate::segment::{RollParams, Segment};
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
        if self.recovery_point() >= base_offset {
            // No flush is to come that would make the time index entry durable which closes the segment, and recovery
            // would not look at it.
            active.flush().map_err(rolling)?;
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

    /// Makes a segment's files. Half of them is no segment: they are removed when one cannot be made.
    pub(super) fn new_segment(&self, base_offset: Offset, now: Now) -> Result<Arc<Segment>, StorageError> {
        let config = self.config();
        match Segment::create(&self.dir, base_offset, FileState::Live, &config, now.wall) {
            Ok(segment) => Ok(Arc::new(segment)),
            Err(error) => {
                let half = Segment::existing(&self.dir, base_offset, FileState::Live, 0, &config, now.wall);
                if let Err(error) = half.delete_files() {
                    warn!(partition = %self.partition, %base_offset, "half a segment is left behind: {error}");
                }
                Err(self.segment_failed("making a segment", error))
            }
        }
    }

    pub(super) fn publish_segments(&self, change: impl FnOnce(&mut Segments)) {
        let mut segments = Segments::clone(&self.segments());
        change(&mut segments);
        self.segments.store(Arc::new(segments));
    }

    /// The log's end keeps its offset and lies in a new, empty segment.
    fn move_log_end_to(&self, segment: &Segment) {
        let mut offsets = self.offsets.write();
        let end = offsets.log_end.message_offset;
        offsets.log_end = OffsetMetadata::new(end, segment.base_offset(), segment.size());
        if offsets.high_watermark.message_offset >= end {
            offsets.high_watermark = offsets.log_end;
        }
    }

    /// Without room or a descriptor for a snapshot the log goes on: the next start replays a little more of it.
    fn snapshot_at_roll(&self, producers: &mut ProducerStateManager) -> Result<Option<Offset>, StorageError> {
        match producers.take_snapshot(false) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull || is_out_of_files(&error) => {
                warn!(partition = %self.partition, "no producer snapshot: {error}");
                Ok(None)
            }
            taken => taken.map_err(|error| self.failed("writing a producer snapshot", error)),
        }
    }
}
