//! From timestamps to offsets (ListOffsets; KIP-79, KIP-734).

use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::UnifiedLog;
use crate::disk::Reach;
use crate::error::ReadError;
use crate::segment::{Segment, SegmentError};
use crate::segments::Segments;

/// Asks for the log's end.
pub const LATEST_TIMESTAMP: Timestamp = Timestamp(-1);
/// Asks for the log's start.
pub const EARLIEST_TIMESTAMP: Timestamp = Timestamp(-2);
/// Asks for the record with the largest timestamp.
pub const MAX_TIMESTAMP: Timestamp = Timestamp(-3);
/// Asks for the start of what is stored locally (KIP-405).
pub const EARLIEST_LOCAL_TIMESTAMP: Timestamp = Timestamp(-4);
/// Asks for the last offset in tiered storage (KIP-1005).
pub const LATEST_TIERED_TIMESTAMP: Timestamp = Timestamp(-5);
/// Asks for the first offset that tiered storage lacks (KIP-1023).
pub const EARLIEST_PENDING_UPLOAD_TIMESTAMP: Timestamp = Timestamp(-6);

/// No batch is refused for what its records expand to: they are read one after another.
const RECORDS_BYTES_MAX: usize = i32::MAX as usize;

/// An offset that was asked for by timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampAndOffset {
    /// The record's; none (-1) where no record was asked for.
    pub timestamp: Timestamp,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
}

impl TimestampAndOffset {
    fn without_record(offset: Offset, leader_epoch: Option<LeaderEpoch>) -> TimestampAndOffset {
        TimestampAndOffset { timestamp: Timestamp::NONE, offset, leader_epoch }
    }
}

impl UnifiedLog {
    /// The first record whose timestamp is not below `timestamp`, or what one of the special timestamps asks for. None:
    /// there is no such record.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<TimestampAndOffset>, ReadError> {
        Ok(match timestamp {
            EARLIEST_TIMESTAMP | EARLIEST_LOCAL_TIMESTAMP => {
                let start = self.log_start_offset();
                let epoch = self.leader_epochs.earliest().filter(|entry| entry.start_offset <= start);
                Some(TimestampAndOffset::without_record(start, epoch.map(|entry| entry.epoch)))
            }
            LATEST_TIMESTAMP => {
                Some(TimestampAndOffset::without_record(self.log_end_offset(), self.latest_epoch()))
            }
            LATEST_TIERED_TIMESTAMP | EARLIEST_PENDING_UPLOAD_TIMESTAMP => {
                Some(TimestampAndOffset::without_record(Offset::UNKNOWN, Some(LeaderEpoch::NONE)))
            }
            MAX_TIMESTAMP => self.looking(Reach::Disk, record_of_max_timestamp)?,
            _ => {
                let start = self.log_start_offset();
                self.looking(Reach::Disk, |segments| first_record_at(segments, timestamp, start))?
            }
        })
    }
}

fn record_of_max_timestamp(segments: &Segments) -> Result<Option<TimestampAndOffset>, SegmentError> {
    let mut latest = None;
    for segment in segments {
        let largest = segment.max_timestamp()?;
        if latest
            .as_ref()
            .is_none_or(|(_, known): &(_, crate::index::TimestampOffset)| known.timestamp < largest.timestamp)
        {
            latest = Some((segment, largest));
        }
    }
    let Some((segment, largest)) = latest else { return Ok(None) };
    if largest.timestamp < 0 {
        return Ok(None);
    }
    let from = Offset(largest.offset);
    first_record(segment, from, |timestamp, _| timestamp.0 >= largest.timestamp, Timestamp(largest.timestamp))
}

fn first_record_at(
    segments: &Segments,
    timestamp: Timestamp,
    start: Offset,
) -> Result<Option<TimestampAndOffset>, SegmentError> {
    for segment in segments {
        if segment.largest_timestamp()? >= timestamp {
            let known = segment.time_index().lookup(timestamp.0)?;
            let from = Offset(known.offset).max(start);
            let fits = |found: Timestamp, offset: Offset| found >= timestamp && offset >= start;
            // What the segment is known for may lie before the log's start: a later one has the answer then.
            if let Some(found) = first_record(segment, from, fits, timestamp)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The first record that fits in the batches from that of `from` on; batches whose largest timestamp is below
/// `timestamp` are passed over.
fn first_record(
    segment: &Segment,
    from: Offset,
    fits: impl Fn(Timestamp, Offset) -> bool,
    timestamp: Timestamp,
) -> Result<Option<TimestampAndOffset>, SegmentError> {
    let Some(first) = segment.locate(from)? else { return Ok(None) };
    let file = segment.file()?;
    let mut headers = segment.headers(&*file, first.position);
    while let Some(at) = headers.next().map_err(|error| segment.scan_error(error))? {
        if at.header.max_timestamp < timestamp {
            continue;
        }
        let mut batches = segment.batches(&file, at.position);
        let Some((position, batch)) = batches.next().map_err(|error| segment.scan_error(error))? else {
            break;
        };
        let corrupt = |source| SegmentError::Corrupt { path: segment.path(), position, source };
        let mut records = batch.records(RECORDS_BYTES_MAX).map_err(corrupt)?;
        while let Some(record) = records.next().map_err(corrupt)? {
            if fits(record.timestamp, record.offset) {
                let epoch = batch.partition_leader_epoch;
                return Ok(Some(TimestampAndOffset {
                    timestamp: record.timestamp,
                    offset: record.offset,
                    leader_epoch: (epoch >= LeaderEpoch(0)).then_some(epoch),
                }));
            }
        }
    }
    Ok(None)
}
