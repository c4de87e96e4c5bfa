//! Bringing the producer state to an offset of the log: from a snapshot, and the batches behind it.

use std::sync::Arc;

use ottla_types::{Now, Offset};
use tracing::debug;

use super::tolerate_full_disk;
use crate::disk::DiskFile;
use crate::producer_state::{BatchSource, ProducerBatch, ProducerStateManager};
use crate::segment::{Segment, SegmentError};
use crate::segments::Segments;

/// Makes `producers` the state of the log at `last_offset`, and leaves snapshots so that the next time is quick: without
/// waiting for the disk, since one that is torn is noticed and passed over.
///
/// A log that was closed and has no snapshot at all comes from a version that had no producer state: it is taken to have
/// no producers, and is not read.
pub(crate) fn rebuild_producer_state(
    producers: &mut ProducerStateManager,
    segments: &Segments,
    log_start_offset: Offset,
    last_offset: Offset,
    now: Now,
    was_closed: bool,
) -> Result<(), SegmentError> {
    let snapshot_at = snapshot_offsets(segments, last_offset);
    if producers.latest_snapshot_offset().is_none() && was_closed {
        for offset in snapshot_at {
            producers.set_map_end_offset(offset);
            take_snapshot(producers)?;
        }
        return Ok(());
    }
    let was_empty = producers.is_empty() && producers.map_end_offset() >= last_offset;
    producers.truncate_and_reload(log_start_offset, last_offset, now.wall)?;
    if last_offset > producers.map_end_offset() && !was_empty {
        debug!(from = %producers.map_end_offset(), to = %last_offset, "replaying batches for the producer state");
        for segment in segments.range(producers.map_end_offset(), last_offset) {
            let from = segment.base_offset().max(producers.map_end_offset()).max(log_start_offset);
            producers.set_map_end_offset(from);
            if snapshot_at.contains(&segment.base_offset()) {
                take_snapshot(producers)?;
            }
            replay_segment(producers, segment, from, last_offset)?;
        }
    }
    producers.set_map_end_offset(last_offset);
    take_snapshot(producers)
}

/// A log without room for a snapshot is loaded nevertheless: the next start replays a little more of it.
pub(super) fn take_snapshot(producers: &mut ProducerStateManager) -> Result<(), SegmentError> {
    tolerate_full_disk(producers.take_snapshot(false).map(drop)).map_err(SegmentError::from)
}

/// The last two segments' base offsets and the log's end: whichever of them recovery starts from has a snapshot.
fn snapshot_offsets(segments: &Segments, last_offset: Offset) -> Vec<Offset> {
    let last = segments.last().map(|segment| segment.base_offset());
    let before = last.and_then(|last| segments.lower(last)).map(|segment| segment.base_offset());
    before.into_iter().chain(last).chain([last_offset]).collect()
}

/// Takes what a segment has of producers from `from` up to, not including, `last_offset`.
pub(crate) fn replay_segment(
    producers: &mut ProducerStateManager,
    segment: &Segment,
    from: Offset,
    last_offset: Offset,
) -> Result<(), SegmentError> {
    let Some(first) = segment.locate(from)? else { return Ok(()) };
    let file = segment.file()?;
    let mut headers = segment.headers(&*file, first.position);
    while let Some(at) = headers.next().map_err(|error| segment.scan_error(error))? {
        if at.header.last_offset() >= last_offset {
            break;
        }
        if !at.header.has_producer_id() {
            continue;
        }
        let batch = if at.header.is_control() {
            control_batch(segment, &file, at.position)?
        } else {
            ProducerBatch::of_header(&at.header)
        };
        replay(producers, &batch);
    }
    Ok(())
}

fn control_batch(
    segment: &Segment,
    file: &Arc<dyn DiskFile>,
    position: u32,
) -> Result<ProducerBatch, SegmentError> {
    let corrupt = |source| SegmentError::Corrupt { path: segment.path(), position, source };
    let mut batches = segment.batches(file, position);
    let found = batches.next().map_err(|error| segment.scan_error(error))?;
    let (_, batch) = found.ok_or_else(|| corrupt(ottla_record::RecordError::RecordsEndEarly))?;
    ProducerBatch::of(&batch).map_err(corrupt)
}

/// The transaction index has what this batch says already.
fn replay(producers: &mut ProducerStateManager, batch: &ProducerBatch) {
    let mut append = producers.prepare(batch.producer_id, BatchSource::Replication);
    // From the log itself: nothing is refused.
    let Ok(completed) = append.append(batch, 0) else { return };
    producers.update(&append);
    if let Some(completed) = completed {
        producers.complete_txn(&completed);
    }
}
