//! What a leader has accepted and not appended yet: records wait up to the append linger so that one write and one
//! flush carry many of them.
//!
//! Offsets are given when records are accepted, so nothing else may be appended in between. The records of one
//! `append` end up in one batch.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, Timestamp};
use thiserror::Error;

use crate::control::ControlRecord;
use crate::log::{BatchRecords, LeaderBatch};

/// Why records were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    #[error("this replica doesn't lead the quorum in epoch {0}")]
    NotLeader(LeaderEpoch),
    #[error("the records together are larger than a batch may be: {bytes} of {max_bytes} bytes")]
    TooLarge { bytes: usize, max_bytes: usize },
    #[error("too many bytes wait for being appended")]
    Full,
    #[error("no records")]
    Empty,
}

/// Bytes that a record costs beside its value, at most: varints of length, deltas, key and headers.
const RECORD_OVERHEAD_BYTES: usize = 21;

#[derive(Debug)]
pub(crate) struct Accumulator {
    epoch: LeaderEpoch,
    next_offset: Offset,
    linger_ms: i64,
    max_batch_bytes: usize,
    max_pending_bytes: usize,
    batches: Vec<LeaderBatch>,
    /// Bytes of the last batch, which may still grow, and of all.
    open_bytes: usize,
    pending_bytes: usize,
    drain_at: MonoMs,
}

impl Accumulator {
    pub(crate) fn new(
        epoch: LeaderEpoch,
        next_offset: Offset,
        linger_ms: i64,
        max_batch_bytes: usize,
        max_pending_bytes: usize,
    ) -> Accumulator {
        Accumulator {
            epoch,
            next_offset,
            linger_ms,
            max_batch_bytes,
            max_pending_bytes,
            batches: Vec::new(),
            open_bytes: 0,
            pending_bytes: 0,
            drain_at: MonoMs::NEVER,
        }
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Takes records in; returns the offset of the last of them.
    pub(crate) fn append(&mut self, records: Vec<Bytes>, now: Now) -> Result<Offset, AppendError> {
        if records.is_empty() {
            return Err(AppendError::Empty);
        }
        let bytes: usize = records.iter().map(|record| record.len() + RECORD_OVERHEAD_BYTES).sum();
        if bytes > self.max_batch_bytes {
            return Err(AppendError::TooLarge { bytes, max_bytes: self.max_batch_bytes });
        }
        if self.pending_bytes + bytes > self.max_pending_bytes {
            return Err(AppendError::Full);
        }
        self.pending_bytes += bytes;
        let count = records.len() as i64;
        match self.batches.last_mut() {
            Some(LeaderBatch { records: BatchRecords::Data(open), .. })
                if self.open_bytes + bytes <= self.max_batch_bytes =>
            {
                self.open_bytes += bytes;
                open.extend(records);
            }
            _ => {
                self.open_bytes = bytes;
                self.push(BatchRecords::Data(records), now.wall);
            }
        }
        self.next_offset += count;
        let linger = now.mono.plus_ms(self.linger_ms);
        let full = self.pending_bytes >= self.max_batch_bytes;
        self.drain_at = self.drain_at.min(if full { now.mono } else { linger });
        Ok(self.next_offset - 1)
    }

    /// Takes control records in, as a batch of their own that doesn't linger.
    pub(crate) fn append_control(&mut self, records: Vec<ControlRecord>, now: Now) -> Offset {
        let count = records.len() as i64;
        self.push(BatchRecords::Control(records), now.wall);
        self.next_offset += count;
        self.drain_at = now.mono;
        self.next_offset - 1
    }

    /// When [`Accumulator::drain`] is due.
    pub(crate) fn drain_at(&self) -> MonoMs {
        self.drain_at
    }

    pub(crate) fn drain(&mut self) -> Vec<LeaderBatch> {
        self.drain_at = MonoMs::NEVER;
        self.open_bytes = 0;
        self.pending_bytes = 0;
        std::mem::take(&mut self.batches)
    }

    fn push(&mut self, records: BatchRecords, append_timestamp: Timestamp) {
        self.batches.push(LeaderBatch {
            base_offset: self.next_offset,
            leader_epoch: self.epoch,
            append_timestamp,
            records,
        });
    }
}
