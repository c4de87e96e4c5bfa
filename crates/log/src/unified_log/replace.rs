//! Putting compacted segments in the place of those that they were made from.
//!
//! A crash in between is finished, or undone, when the log is loaded: `.cleaned` files are removed, `.swap` files take
//! the place of what they cover.

use std::sync::Arc;

use ottla_types::Now;

use super::UnifiedLog;
use crate::error::StorageError;
use crate::names::FileState;
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
        let replaced = self
            .removing(|| self.swap_segments(&new, old))
            .map_err(|error| self.segment_failed("replacing segments", error))?;
        for segment in &replaced {
            if !new.iter().any(|new| new.base_offset() == segment.base_offset()) {
                self.retire_snapshot_later(&mut producers, segment.base_offset(), now)
                    .map_err(|error| self.failed("setting a producer snapshot aside", error))?;
            }
        }
        self.delete_files_later(replaced, now);
        self.context.disk.sync_dir(&self.dir()).map_err(|error| self.failed("flushing a directory", error))
    }

    fn swap_segments(
        &self,
        new: &[Arc<Segment>],
        old: &[Arc<Segment>],
    ) -> Result<Vec<Arc<Segment>>, SegmentError> {
        // From the last one on: a loader that finds some `.swap` files beside `.cleaned` ones of lower offsets knows that
        // not all had been renamed.
        for segment in new.iter().rev() {
            segment.rename(FileState::Swap)?;
        }
        let current = self.segments.load_full();
        let replaced: Vec<Arc<Segment>> =
            old.iter().filter_map(|old| current.get(old.base_offset())).map(Arc::clone).collect();
        self.publish_segments(|segments| {
            for segment in &replaced {
                segments.remove(segment.base_offset());
            }
            for segment in new {
                segments.insert(Arc::clone(segment));
            }
        });
        for segment in &replaced {
            segment.rename(FileState::Deleted)?;
        }
        for segment in new {
            segment.rename(FileState::Live)?;
        }
        Ok(replaced)
    }
}
