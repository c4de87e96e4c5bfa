//! Transactions that ended at or above the high watermark, in a log whose producers were read from a snapshot.
//!
//! A snapshot tells of the transactions that are open, not of those that have ended and hold the last stable offset back until
//! their markers are replicated. Where it lies behind such a marker, what was before is read once more.

use ottla_types::{Now, Offset};
use tracing::warn;

use super::UnifiedLog;
use crate::error::StorageError;
use crate::producer_state::ProducerStateManager;
use crate::recovery::replay_segment;
use crate::segment::{Segment, SegmentError};
use crate::segments::Segments;

impl UnifiedLog {
    /// As [`UnifiedLog::update_high_watermark`], of a log that has just been loaded: what is not below the high watermark holds
    /// the last stable offset back, as it did before.
    pub fn resume_at_high_watermark(&self, wanted: Offset, now: Now) -> Result<(), StorageError> {
        if self.update_high_watermark(wanted) < self.log_end_offset() {
            let mut producers = self.lock_writer()?;
            self.recall_unreplicated(&mut producers, now)?;
            self.publish_producers(&mut producers);
        }
        Ok(())
    }

    pub(super) fn recall_unreplicated(
        &self,
        producers: &mut ProducerStateManager,
        now: Now,
    ) -> Result<(), StorageError> {
        let (from, to) = (self.high_watermark(), self.log_end_offset());
        match self.find_unreplicated(producers, from, to, now) {
            Err(error @ SegmentError::Corrupt { .. }) => {
                warn!(partition = %self.partition, "transactions above the high watermark are not known: {error}");
                Ok(())
            }
            found => {
                found.map_err(|error| self.segment_failed("reading what is above the high watermark", error))
            }
        }
    }

    fn find_unreplicated(
        &self,
        producers: &mut ProducerStateManager,
        from: Offset,
        to: Offset,
        now: Now,
    ) -> Result<(), SegmentError> {
        let segments = self.segments.load_full();
        if !has_markers(&segments, from, to)? {
            return Ok(());
        }
        let start = self.log_start_offset();
        let mut past = producers.as_of_snapshot_before(from, start, now.wall)?;
        for segment in segments.range(past.map_end_offset(), to) {
            let begin = segment.base_offset().max(past.map_end_offset()).max(start);
            replay_segment(&mut past, segment, begin, to)?;
        }
        past.on_high_watermark_updated(from);
        producers.take_unreplicated(past);
        Ok(())
    }
}

fn has_markers(segments: &Segments, from: Offset, to: Offset) -> Result<bool, SegmentError> {
    for segment in segments.range(from, to) {
        if has_marker(segment, from.max(segment.base_offset()))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_marker(segment: &Segment, from: Offset) -> Result<bool, SegmentError> {
    let Some(first) = segment.locate(from)? else { return Ok(false) };
    let file = segment.file()?;
    let mut headers = segment.headers(&*file, first.position);
    while let Some(at) = headers.next().map_err(|error| segment.scan_error(error))? {
        if at.header.is_control() && at.header.has_producer_id() {
            return Ok(true);
        }
    }
    Ok(false)
}
