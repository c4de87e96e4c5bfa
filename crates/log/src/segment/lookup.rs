//! Finding batches in a segment: by its offset index, and by a walk over the file from there on.

use std::sync::Arc;

use ottla_types::Offset;
use tracing::warn;

use super::{BatchPosition, Segment, SegmentError};
use crate::disk::{DiskFile, Reach};
use crate::index::OffsetPosition;
use crate::scan::{BatchScan, HeaderScan};

/// An index with more entries than this behind the end of its file is of no use at all.
const STALE_ENTRIES_PASSED: usize = 100;

impl Segment {
    /// The first batch whose last offset is not below `offset`. None: all are.
    pub(crate) fn locate(&self, offset: Offset) -> Result<Option<BatchPosition>, SegmentError> {
        self.locate_within(offset, Reach::Disk)
    }

    /// As [`Self::locate`], going no further for it than `reach`.
    pub(crate) fn locate_within(
        &self,
        offset: Offset,
        reach: Reach,
    ) -> Result<Option<BatchPosition>, SegmentError> {
        let size = self.size();
        let file = self.file()?;
        let entry = self.index_position(offset, size, reach)?;
        if entry.position > 0 {
            match self.walk_to(&*file, offset, entry.position, size, reach) {
                Ok(walk) if walk.first.is_some_and(|first| self.confirms(entry, first)) => {
                    return Ok(walk.found);
                }
                Err(SegmentError::Io(error)) => return Err(error.into()),
                // The entry did not lead to a batch: a stale or foreign index is no reason to fail.
                _ => {
                    warn!(path = %self.path().display(), offset = entry.offset, "index entry is passed over")
                }
            }
        }
        Ok(self.walk_to(&*file, offset, 0, size, reach)?.found)
    }

    /// Where the walk to `offset` may start; the start of the file if the index is of no use. Entries behind the end of
    /// the file are of records that a power loss took.
    pub(super) fn index_position(
        &self,
        offset: Offset,
        size: u32,
        reach: Reach,
    ) -> Result<OffsetPosition, SegmentError> {
        let start = OffsetPosition { offset: self.base_offset.0, position: 0 };
        let mut sought = offset.0;
        for _ in 0..STALE_ENTRIES_PASSED {
            match self.offset_index.lookup_within(sought, reach) {
                Ok(entry) if entry.position < size => return Ok(entry),
                Ok(entry) => sought = entry.offset.saturating_sub(1),
                Err(error) if error.would_block() => return Err(error.into()),
                Err(error) => {
                    warn!("offset index is passed over: {error}");
                    return Ok(start);
                }
            }
        }
        Ok(start)
    }

    /// Whether an index entry's position holds what the entry says: a batch that starts at or before its offset.
    fn confirms(&self, entry: OffsetPosition, first: BatchPosition) -> bool {
        first.base_offset >= self.base_offset && first.base_offset.0 <= entry.offset
    }

    fn walk_to(
        &self,
        file: &dyn DiskFile,
        offset: Offset,
        position: u32,
        size: u32,
        reach: Reach,
    ) -> Result<Walk, SegmentError> {
        let mut scan = HeaderScan::new(file, position, size).within(reach);
        let mut walk = Walk { first: None, found: None };
        while let Some(at) = scan.next().map_err(|error| self.scan_error(error))? {
            let batch = BatchPosition::from(at);
            walk.first.get_or_insert(batch);
            if batch.last_offset >= offset {
                walk.found = Some(batch);
                break;
            }
        }
        Ok(walk)
    }

    /// The offset after the last batch; the base offset when there is none.
    pub(crate) fn read_next_offset(&self) -> Result<Offset, SegmentError> {
        let size = self.size();
        if size == 0 {
            return Ok(self.base_offset);
        }
        let last_indexed = Offset(self.offset_index.last_offset()?);
        let position = self.locate(last_indexed)?.map_or(0, |batch| batch.position);
        let file = self.file()?;
        let mut scan = HeaderScan::new(&*file, position, size);
        let mut next = self.base_offset;
        while let Some(at) = scan.next().map_err(|error| self.scan_error(error))? {
            next = at.header.next_offset();
        }
        Ok(next)
    }

    /// A bound for the offsets of `bytes` from a batch on: the first index entry beyond them.
    pub(crate) fn upper_bound(
        &self,
        from: &BatchPosition,
        bytes: u32,
        reach: Reach,
    ) -> Result<Option<Offset>, SegmentError> {
        let from = OffsetPosition { offset: from.base_offset.0, position: from.position };
        Ok(self.offset_index.upper_bound(from, bytes, reach)?.map(|entry| Offset(entry.offset)))
    }

    /// A walk over the headers from `position` on, which must be a batch's.
    pub(crate) fn headers<'f>(&self, file: &'f dyn DiskFile, position: u32) -> HeaderScan<'f> {
        HeaderScan::new(file, position, self.size())
    }

    /// A walk over whole batches from `position` on.
    pub(crate) fn batches(&self, file: &Arc<dyn DiskFile>, position: u32) -> BatchScan {
        BatchScan::new(Arc::clone(file), position, self.size())
    }
}

/// The batch that a walk began with, and the one that it was looking for.
struct Walk {
    first: Option<BatchPosition>,
    found: Option<BatchPosition>,
}
