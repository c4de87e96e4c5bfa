//! Putting compacted segments in the place of those that they were made from.
//!
//! A crash in between is finished, or undone, when the log is loaded: `.cleaned` files are removed, `.swap` files take
//! the place of what they cover.

use std::sync::Arc;

use ottla_types::{Now, Offset};

use super::UnifiedLog;
use crate::error::StorageError;
use crate::names::FileState;
use crate::recovery;
use crate::segment::{Segment, SegmentError};

impl UnifiedLog {
    /// Puts `new` segments, complete, flushed and named `.cleaned`, in the place of `old` ones, which are all inactive.
    pub fn replace_segments(
        &self,
        new: Vec<Arc<Segment>>,
        old: &[Arc<Segment>],
        now: Now,
    ) -> Result<(), StorageError> {
        let mut producers = self.lock_writer()?;
        if !self.are_inactive(old) || self.have_unflushed_end(old) {
            return Err(StorageError::Superseded { partition: self.partition.clone() });
        }
        self.removing(|| self.swap_segments(&new, old))
            .map_err(|error| self.segment_failed("replacing segments", error))?;
        for segment in old {
            if !new.iter().any(|new| new.base_offset() == segment.base_offset()) {
                self.retire_snapshot_later(&mut producers, segment.base_offset(), now)
                    .map_err(|error| self.failed("setting a producer snapshot aside", error))?;
            }
        }
        self.delete_files_later(old.to_vec(), now);
        // Appends need not wait for the disk: what is renamed is in order, durable or not.
        drop(producers);
        self.context.disk.sync_dir(&self.dir()).map_err(|error| self.failed("flushing a directory", error))
    }

    /// Splits an inactive segment whose offsets are too far apart for its indexes.
    pub fn split_overflowed_segment(&self, segment: &Arc<Segment>, now: Now) -> Result<(), StorageError> {
        let parts = recovery::split_overflowed(&self.dir, segment, &self.config(), now.wall)
            .map_err(|error| self.segment_failed("splitting a segment", error))?;
        self.replace_segments(parts, std::slice::from_ref(segment), now)
    }

    /// After a truncation a segment that was inactive may be gone, or be the active one and shorter than it was.
    fn are_inactive(&self, old: &[Arc<Segment>]) -> bool {
        let segments = self.segments();
        let active = self.active_segment_base_offset();
        old.iter().all(|old| {
            old.base_offset() != active
                && segments.get(old.base_offset()).is_some_and(|current| Arc::ptr_eq(current, old))
        })
    }

    /// Where recovery would take a gap for the log's end, compaction must leave none.
    fn have_unflushed_end(&self, old: &[Arc<Segment>]) -> bool {
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return false };
        let segments = self.segments();
        let end = segments.higher(last.base_offset()).map_or(Offset::MAX, |next| next.base_offset());
        self.unflushed_ends.is_any_in(first.base_offset(), end)
    }

    fn swap_segments(&self, new: &[Arc<Segment>], old: &[Arc<Segment>]) -> Result<(), SegmentError> {
        // From the last one on: a loader that finds some `.swap` files beside `.cleaned` ones of lower offsets knows that
        // not all had been renamed.
        for segment in new.iter().rev() {
            segment.rename(FileState::Swap)?;
        }
        self.publish_segments(|segments| {
            for segment in old {
                segments.remove(segment.base_offset());
            }
            for segment in new {
                segments.insert(Arc::clone(segment));
            }
        });
        for segment in old {
            segment.rename(FileState::Deleted)?;
        }
        for segment in new {
            segment.rename(FileState::Live)?;
        }
        Ok(())
    }
}
