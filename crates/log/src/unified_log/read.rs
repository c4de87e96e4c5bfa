//! Reading: from an offset to a stretch of a segment's file.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_types::Offset;

use super::UnifiedLog;
use super::offsets::Offsets;
use crate::disk::Reach;
use crate::error::ReadError;
use crate::fetch_data::{FetchDataInfo, FetchIsolation, FileSlice};
use crate::index::AbortedTxn;
use crate::offset_metadata::OffsetMetadata;
use crate::segment::{BatchPosition, Segment, SegmentError};
use crate::segments::Segments;

/// A log from which something is taken away this often during one read is given up on.
const ATTEMPTS: usize = 5;
/// For so long, each time, the end of a removal is waited for that has led a reader astray.
const REMOVAL_MAX: Duration = Duration::from_secs(2);

struct Read {
    start: Offset,
    max_bytes: u32,
    isolation: FetchIsolation,
    min_one_message: bool,
    bound: OffsetMetadata,
    reach: Reach,
}

impl UnifiedLog {
    /// Finds the records from `start` on, at most `max_bytes` of them and none at or above the bound that the isolation
    /// sets. With `min_one_message` the first batch is whole even if it is larger.
    pub fn read(
        &self,
        start: Offset,
        max_bytes: u32,
        isolation: FetchIsolation,
        min_one_message: bool,
    ) -> Result<FetchDataInfo, ReadError> {
        self.read_within(start, max_bytes, isolation, min_one_message, Reach::Disk)
    }

    /// As [`UnifiedLog::read`], going no further for it than `reach`: of the records themselves nothing is read, but of
    /// what leads to them.
    pub fn read_within(
        &self,
        start: Offset,
        max_bytes: u32,
        isolation: FetchIsolation,
        min_one_message: bool,
        reach: Reach,
    ) -> Result<FetchDataInfo, ReadError> {
        self.undisturbed(reach, || self.try_read(start, max_bytes, isolation, min_one_message, reach))
    }

    fn try_read(
        &self,
        start: Offset,
        max_bytes: u32,
        isolation: FetchIsolation,
        min_one_message: bool,
        reach: Reach,
    ) -> Result<FetchDataInfo, ReadError> {
        let offsets = self.offsets.get();
        if start < offsets.log_start || start > offsets.log_end.message_offset {
            return Err(self.out_of_range(start, &offsets));
        }
        let bound = match isolation {
            FetchIsolation::LogEnd => offsets.log_end,
            FetchIsolation::HighWatermark => self.resolved_high_watermark(reach)?,
            FetchIsolation::TxnCommitted => self.resolved_last_stable_offset(reach)?,
        };
        if start == bound.message_offset {
            return Ok(FetchDataInfo::empty(bound, isolation));
        }
        if start > bound.message_offset {
            let at = self.place_of(OffsetMetadata::offset_only(start), reach)?;
            return Ok(FetchDataInfo::empty(at, isolation));
        }
        let read = Read { start, max_bytes, isolation, min_one_message, bound, reach };
        self.looking(reach, |segments| self.read_segments(&read, segments))
    }

    fn out_of_range(&self, offset: Offset, offsets: &Offsets) -> ReadError {
        ReadError::OffsetOutOfRange {
            partition: self.partition.clone(),
            offset,
            log_start_offset: offsets.log_start,
            log_end_offset: offsets.log_end.message_offset,
        }
    }

    /// Looks again where the log has been truncated meanwhile: what was found first and what was found then need not belong
    /// together. Who may not wait is told to look elsewhere.
    pub(super) fn undisturbed<T>(
        &self,
        reach: Reach,
        look: impl Fn() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        for _ in 0..ATTEMPTS {
            let truncations = self.truncations();
            let looked = look();
            if looked.is_err() || !self.is_truncated_since(truncations) {
                return looked;
            }
            if reach == Reach::Memory {
                return Err(ReadError::NotInMemory);
            }
            self.wait_for_removal();
        }
        Err(ReadError::Truncated { partition: self.partition.clone() })
    }

    pub(super) fn truncations(&self) -> u64 {
        self.truncations.load(Ordering::Acquire)
    }

    /// Whether the log has been truncated, or was just being, since its truncations were counted.
    pub(super) fn is_truncated_since(&self, truncations: u64) -> bool {
        !truncations.is_multiple_of(2) || truncations != self.truncations()
    }

    /// Whoever removes has the lock until that is over.
    fn wait_for_removal(&self) {
        if self.is_something_removed() {
            drop(self.writer.try_lock_for(REMOVAL_MAX));
        }
    }

    /// Looks something up in the segments as they are. If it fails, and something was taken away from the log
    /// meanwhile, that is why, and it is looked up again, once all is taken away. Who may not wait is told to look elsewhere.
    pub(super) fn looking<T>(
        &self,
        reach: Reach,
        look: impl Fn(&Segments) -> Result<T, SegmentError>,
    ) -> Result<T, ReadError> {
        let mut attempt = 1;
        loop {
            let removals = self.removals.load(Ordering::Acquire);
            let error = match look(&self.segments()) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if attempt == ATTEMPTS || self.has_lost_nothing_since(removals) {
                return Err(match error {
                    error if error.would_block() => ReadError::NotInMemory,
                    SegmentError::Corrupt { .. } => ReadError::Corrupt(error.to_string()),
                    other => self.segment_failed("reading", other).into(),
                });
            }
            if reach == Reach::Memory && self.is_something_removed() {
                return Err(ReadError::NotInMemory);
            }
            self.wait_for_removal();
            attempt += 1;
        }
    }

    pub(super) fn is_something_removed(&self) -> bool {
        !self.removals.load(Ordering::Acquire).is_multiple_of(2)
    }

    /// Whether nothing has been taken away from the log, or was just being, since its removals were counted.
    pub(super) fn has_lost_nothing_since(&self, removals: u64) -> bool {
        removals.is_multiple_of(2) && removals == self.removals.load(Ordering::Acquire)
    }

    fn read_segments(&self, read: &Read, segments: &Segments) -> Result<FetchDataInfo, SegmentError> {
        for segment in segments.range(read.start, Offset::MAX) {
            let Some(max_position) = max_position(segment, &read.bound) else { break };
            let Some(first) = self.locate(segment, read.start, read.reach)? else { continue };
            return self.read_segment(read, segments, segment, first, max_position);
        }
        // All there is at or after the offset lies above the bound.
        Ok(FetchDataInfo::empty(read.bound, read.isolation))
    }

    fn read_segment(
        &self,
        read: &Read,
        segments: &Segments,
        segment: &Segment,
        first: BatchPosition,
        max_position: u32,
    ) -> Result<FetchDataInfo, SegmentError> {
        let at = OffsetMetadata::new(read.start, segment.base_offset(), first.position);
        let wanted =
            if read.min_one_message { read.max_bytes.max(first.size_in_bytes) } else { read.max_bytes };
        let len = wanted.min(max_position.saturating_sub(first.position));
        if len == 0 {
            return Ok(FetchDataInfo::empty(at, read.isolation));
        }
        let records = FileSlice { file: segment.file()?, position: u64::from(first.position), len };
        let aborted_transactions = match read.isolation {
            FetchIsolation::TxnCommitted => Some(self.aborted_in(read, segments, segment, &first, len)?),
            _ => None,
        };
        Ok(FetchDataInfo {
            fetch_offset_metadata: at,
            records: Some(records),
            first_entry_incomplete: wanted < first.size_in_bytes,
            aborted_transactions,
        })
    }

    /// The batch that a read from `offset` starts with: among the newest ones, or by index and file.
    fn locate(
        &self,
        segment: &Segment,
        offset: Offset,
        reach: Reach,
    ) -> Result<Option<BatchPosition>, SegmentError> {
        match self.tail.find(segment.base_offset(), offset) {
            Some(batch) => Ok(Some(batch)),
            None => segment.locate_within(offset, reach),
        }
    }

    /// The aborted transactions that `len` bytes from a batch on may hold records of.
    fn aborted_in(
        &self,
        read: &Read,
        segments: &Segments,
        segment: &Segment,
        first: &BatchPosition,
        len: u32,
    ) -> Result<Vec<AbortedTxn>, SegmentError> {
        let end = match segment.upper_bound(first, len, read.reach)? {
            Some(end) => end,
            None => segments
                .higher(segment.base_offset())
                .map_or_else(|| self.log_end_offset(), |next| next.base_offset()),
        };
        aborted_between(segments, read.start, end, read.reach)
    }

    /// The aborted transactions that overlap with the offsets from `start` up to, not including, `end`.
    pub fn aborted_transactions(&self, start: Offset, end: Offset) -> Result<Vec<AbortedTxn>, ReadError> {
        self.looking(Reach::Disk, |segments| aborted_between(segments, start, end, Reach::Disk))
    }

    /// The place of an offset: where the batch starts that holds it.
    pub(super) fn place_of(&self, wanted: OffsetMetadata, reach: Reach) -> Result<OffsetMetadata, ReadError> {
        let offset = wanted.message_offset;
        let log_end = self.offsets.get().log_end;
        if offset >= log_end.message_offset {
            return Ok(log_end);
        }
        self.looking(reach, |segments| {
            for segment in segments.range(offset, Offset::MAX) {
                if let Some(batch) = self.locate(segment, offset, reach)? {
                    return Ok(OffsetMetadata::new(offset, segment.base_offset(), batch.position));
                }
            }
            Ok(wanted)
        })
    }
}

/// How far into a segment a read may go; none if it lies above the bound.
fn max_position(segment: &Segment, bound: &OffsetMetadata) -> Option<u32> {
    let bound_segment = bound.segment_base_offset()?;
    if segment.base_offset() < bound_segment {
        Some(segment.size())
    } else if segment.base_offset() == bound_segment {
        // A bound may have been found before the segment was compacted, and its place be that of bytes that are no more.
        Some(bound.position_in_segment()?.min(segment.size()))
    } else {
        None
    }
}

fn aborted_between(
    segments: &Segments,
    start: Offset,
    end: Offset,
    reach: Reach,
) -> Result<Vec<AbortedTxn>, SegmentError> {
    let mut aborted = Vec::new();
    for segment in segments.range(start, Offset::MAX) {
        // Few segments have any, and those that do are looked into by who may wait.
        if reach == Reach::Memory && segment.txn_index().is_present()? {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        let found = segment.aborted_between(start, end)?;
        aborted.extend(found.txns);
        if found.is_complete {
            break;
        }
    }
    Ok(aborted)
}
