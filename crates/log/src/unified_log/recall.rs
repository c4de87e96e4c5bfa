//! Recalling a producer's batches from the log. Snapshots tell of each producer's last batch alone (the format has room for
//! no more), but five may be on their way when the log is closed, and a retry of any of them is to be recognized.
//!
//! They are looked for when a batch would be refused otherwise, once for each producer that came from a snapshot, in the
//! headers of the log's last bytes: loading a log costs nothing more.

use std::collections::VecDeque;

use ottla_types::{Offset, ProducerId};
use tracing::debug;

use super::UnifiedLog;
use crate::disk::Reach;
use crate::error::StorageError;
use crate::index::OffsetPosition;
use crate::producer_state::{BatchMetadata, Forgotten, ProducerBatch, ProducerStateManager};
use crate::segment::{Segment, SegmentError};

/// Looked through at most, backwards from the earliest batch that is known.
const RECALL_BYTES_MAX: u32 = 16 << 20;

impl UnifiedLog {
    /// Whether batches were found that the producer state had not kept.
    pub(super) fn recall_batches(
        &self,
        producers: &mut ProducerStateManager,
        producer_id: ProducerId,
    ) -> Result<bool, StorageError> {
        let Some(forgotten) = producers.take_forgotten(producer_id) else { return Ok(false) };
        let found = match self.batches_of(&forgotten) {
            Ok(found) => found,
            Err(SegmentError::Io(error)) => {
                return Err(self.failed("looking for a producer's batches", error));
            }
            Err(error) => {
                debug!(partition = %self.partition, %producer_id, "no batches are recalled: {error}");
                return Ok(false);
            }
        };
        Ok(producers.recall(producer_id, found))
    }

    /// The newest batches before the known ones, oldest first.
    fn batches_of(&self, forgotten: &Forgotten) -> Result<VecDeque<BatchMetadata>, SegmentError> {
        let segments = self.segments.load_full();
        let mut found = VecDeque::new();
        let mut bytes_left = RECALL_BYTES_MAX;
        for segment in segments.range(Offset::ZERO, forgotten.before).iter().rev() {
            let end = segment.locate(forgotten.before)?.map_or(segment.size(), |known| known.position);
            let Some(from) = start_of_last(segment, end, bytes_left)? else { break };
            let mut in_segment = VecDeque::new();
            let file = segment.file()?;
            let mut headers = segment.headers(&*file, from);
            while let Some(at) = headers.next().map_err(|error| segment.scan_error(error))? {
                if at.position >= end {
                    break;
                }
                if forgotten.is_of_producer(&at.header) {
                    in_segment.push_back(BatchMetadata::of(&ProducerBatch::of_header(&at.header)));
                }
            }
            let missing = forgotten.missing.saturating_sub(found.len());
            for batch in in_segment.into_iter().rev().take(missing) {
                found.push_front(batch);
            }
            bytes_left = bytes_left.saturating_sub(end - from);
            if from > 0 || found.len() >= forgotten.missing {
                break;
            }
        }
        Ok(found)
    }
}

/// Where some batch starts that lies at most `bytes` before `end`: the first one of the segment, or one that has an index
/// entry.
fn start_of_last(segment: &Segment, end: u32, bytes: u32) -> Result<Option<u32>, SegmentError> {
    if end <= bytes {
        return Ok(Some(0));
    }
    let earliest = OffsetPosition { offset: segment.base_offset().0, position: end - bytes };
    let entry =
        segment.offset_index().upper_bound(earliest, 0, Reach::Disk)?.filter(|entry| entry.position < end);
    let Some(entry) = entry else { return Ok(None) };
    Ok(segment.locate(Offset(entry.offset))?.map(|batch| batch.position))
}
