//! What becomes of a segment's files: they are cut, made durable, closed, renamed, removed.

use std::io;
use std::sync::atomic::Ordering;

use ottla_types::{Offset, Timestamp};

use super::{Segment, SegmentError};
use crate::disk::{DiskFile, Reach};
use crate::index::TimestampOffset;
use crate::log_config::LogConfig;
use crate::names::FileState;

/// Segments from this size on are written often enough to reserve room ahead, which small ones would waste.
const RESERVE_FROM_BYTES: u32 = 1024 * 1024;
/// What is reserved at once. More is not cheaper by much.
const RESERVE_BYTES: u64 = 1024 * 1024;

impl Segment {
    /// Has the file system find blocks for many batches at once, before `len` bytes are written at `position`: else it
    /// looks for those of each page, which costs up to a quarter of a write.
    pub(super) fn reserve_ahead(&self, file: &dyn DiskFile, position: u32, len: u64, config: &LogConfig) {
        let end = u64::from(position) + len;
        let mut state = self.state.lock();
        if position < RESERVE_FROM_BYTES || end <= state.reserved_to || state.is_preallocated {
            return;
        }
        let from = state.reserved_to.max(u64::from(position));
        let to = (end + RESERVE_BYTES).min(u64::from(config.segment_bytes)).max(end);
        state.reserved_to = if file.reserve(from, to - from) { to } else { u64::MAX };
    }

    /// Removes the batch that holds `offset` and all after it; returns the bytes removed.
    pub(crate) fn truncate_to(&self, offset: Offset, now: Timestamp) -> Result<u32, SegmentError> {
        let size = self.size();
        let cut = self.locate(offset)?.map_or(size, |batch| batch.position);
        self.offset_index.truncate_to(offset.0)?;
        self.time_index.truncate_to(offset.0)?;
        self.txn_index.truncate_to(offset.0)?;
        self.set_size(cut)?;
        let mut state = self.state.lock();
        state.bytes_since_index_entry = 0;
        if cut == 0 {
            state.created = now;
            state.first_batch_timestamp = None;
        }
        state.max_timestamp = None;
        drop(state);
        let largest = self.read_largest_timestamp()?;
        self.state.lock().max_timestamp = Some(largest);
        Ok(size - cut)
    }

    /// Cuts the file at a batch's end.
    pub(crate) fn set_size(&self, size: u32) -> Result<(), SegmentError> {
        self.has_changed.store(true, Ordering::Relaxed);
        // Readers go by the size, so it shrinks first.
        self.size.store(size, Ordering::Release);
        self.cut_off(&*self.file()?, size)?;
        Ok(())
    }

    fn read_largest_timestamp(&self) -> Result<TimestampOffset, SegmentError> {
        let mut largest = self.time_index.last_entry()?;
        let from = self.index_position(Offset(largest.offset), self.size(), Reach::Disk)?.position;
        let file = self.file()?;
        let mut scan = self.headers(&*file, from);
        while let Some(at) = scan.next().map_err(|error| self.scan_error(error))? {
            if at.header.max_timestamp.0 > largest.timestamp {
                largest = TimestampOffset {
                    timestamp: at.header.max_timestamp.0,
                    offset: at.header.last_offset().0,
                };
            }
        }
        Ok(largest)
    }

    /// What recovery found: how much of the file is valid, and its largest timestamp.
    pub(crate) fn set_recovered(&self, size: u32, largest: TimestampOffset) -> Result<(), SegmentError> {
        let len = self.file()?.len()?;
        self.has_changed.store(true, Ordering::Relaxed);
        self.size.store(size, Ordering::Release);
        if len != u64::from(size) {
            self.set_size(size)?;
        }
        let mut state = self.state.lock();
        state.max_timestamp = Some(largest);
        state.bytes_since_index_entry = 0;
        Ok(())
    }

    /// Writes the last time index entry and gives preallocated and reserved space back: nothing will be appended any more.
    pub(crate) fn on_become_inactive(&self, config: &LogConfig) -> Result<(), SegmentError> {
        self.add_last_timestamp(config)?;
        self.offset_index.trim()?;
        self.time_index.trim()?;
        self.trim_file()
    }

    fn add_last_timestamp(&self, config: &LogConfig) -> Result<(), SegmentError> {
        let largest = self.max_timestamp()?;
        self.time_index.maybe_append(largest.timestamp, largest.offset, config.segment_index_bytes, true)?;
        Ok(())
    }

    fn trim_file(&self) -> Result<(), SegmentError> {
        let state = self.state.lock();
        let is_longer = state.is_preallocated || state.reserved_to > 0;
        drop(state);
        if is_longer {
            self.cut_off(&*self.file()?, self.size())?;
        }
        Ok(())
    }

    /// Makes the batches durable: enough for the segment that is appended to, whose indexes are made anew after an unclean
    /// stop. What was never opened holds nothing that is not durable.
    pub(crate) fn flush_batches(&self) -> Result<(), SegmentError> {
        self.unless_flush_failed(|| self.sync_batches())
    }

    fn sync_batches(&self) -> Result<(), SegmentError> {
        let opened = self.file.read().opened.clone();
        if let Some(file) = opened {
            file.sync()?;
        }
        Ok(())
    }

    /// After a flush that has failed none succeeds: the pages that were not written may count as clean.
    fn unless_flush_failed(
        &self,
        flush: impl FnOnce() -> Result<(), SegmentError>,
    ) -> Result<(), SegmentError> {
        let mut has_failed = self.flush_failed.lock();
        if *has_failed {
            return Err(io::Error::other("what a flush that failed was to keep may be lost").into());
        }
        let flushed = flush();
        *has_failed = flushed.as_ref().is_err_and(|error| !error.passes());
        flushed
    }

    /// Makes batches and indexes durable: recovery passes over segments that lie before the recovery point.
    pub(crate) fn flush(&self) -> Result<(), SegmentError> {
        self.unless_flush_failed(|| {
            self.sync_batches()?;
            self.offset_index.flush()?;
            self.time_index.flush()?;
            self.txn_index.flush()?;
            Ok(())
        })
    }

    /// Leaves the files as a clean stop leaves them, durable, and frees them: nobody looks at them again when the log is
    /// loaded.
    pub(crate) fn close(&self, config: &LogConfig) -> Result<(), SegmentError> {
        if self.state.lock().max_timestamp.is_some_and(|largest| largest.timestamp >= 0) {
            self.add_last_timestamp(config)?;
        }
        self.trim_file()?;
        if self.has_changed() {
            self.flush()?;
        }
        self.free()
    }

    /// Frees files and memory until the next use.
    pub(crate) fn free(&self) -> Result<(), SegmentError> {
        self.offset_index.close()?;
        self.time_index.close()?;
        self.txn_index.close()?;
        self.file.write().opened = None;
        Ok(())
    }

    /// Renames all files of the segment.
    pub(crate) fn rename(&self, to: FileState) -> Result<(), SegmentError> {
        let mut log_file = self.file.write();
        let target = self.path_as(to);
        match &log_file.opened {
            Some(file) => file.rename(&target)?,
            None => self.dir.disk().rename(&self.path_as(log_file.name), &target)?,
        }
        log_file.name = to;
        drop(log_file);
        self.offset_index.rename(to)?;
        self.time_index.rename(to)?;
        self.txn_index.rename(to)?;
        Ok(())
    }

    /// Removes all files of the segment that are there. Readers that hold the file read on.
    pub(crate) fn delete_files(&self) -> Result<(), SegmentError> {
        let mut log_file = self.file.write();
        log_file.opened = None;
        match self.dir.disk().remove_file(&self.path_as(log_file.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => drop(log_file),
        }
        self.offset_index.delete()?;
        self.time_index.delete()?;
        self.txn_index.delete()?;
        Ok(())
    }
}
