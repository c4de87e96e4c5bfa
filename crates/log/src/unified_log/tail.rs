//! The places of the batches that were appended last: readers at the log's end find theirs here and need not look for it
//! in the index and the file.

use std::collections::VecDeque;

use ottla_types::Offset;
use parking_lot::Mutex;

use crate::segment::{AppendedBatch, BatchPosition};

/// Batches remembered. Readers that keep up fetch from where the log ended a moment ago.
const BATCHES: usize = 32;

/// The newest batches of the active segment.
#[derive(Debug, Default)]
pub(super) struct Tail {
    batches: Mutex<TailBatches>,
}

#[derive(Debug, Default)]
struct TailBatches {
    segment_base_offset: Offset,
    batches: VecDeque<BatchPosition>,
}

impl Tail {
    /// Takes note of batches that were written from `position` on.
    pub fn appended(&self, segment_base_offset: Offset, mut position: u32, appended: &[AppendedBatch]) {
        let mut tail = self.batches.lock();
        if tail.segment_base_offset != segment_base_offset {
            tail.batches.clear();
            tail.segment_base_offset = segment_base_offset;
        }
        let forgotten = appended.len().saturating_sub(BATCHES);
        for (n, batch) in appended.iter().enumerate() {
            if n >= forgotten {
                if tail.batches.len() == BATCHES {
                    tail.batches.pop_front();
                }
                tail.batches.push_back(BatchPosition {
                    base_offset: batch.base_offset,
                    last_offset: batch.last_offset,
                    position,
                    size_in_bytes: batch.size_in_bytes,
                });
            }
            position = position.saturating_add(batch.size_in_bytes);
        }
    }

    /// The batch that a read from `offset` starts with, if it is among the newest ones.
    pub fn find(&self, segment_base_offset: Offset, offset: Offset) -> Option<BatchPosition> {
        let tail = self.batches.lock();
        if tail.segment_base_offset != segment_base_offset
            || tail.batches.front().is_none_or(|first| offset < first.base_offset)
        {
            return None;
        }
        let at = tail.batches.partition_point(|batch| batch.last_offset < offset);
        tail.batches.get(at).copied()
    }

    /// Forgets: the log was truncated or compacted.
    pub fn clear(&self) {
        self.batches.lock().batches = VecDeque::new();
    }
}
