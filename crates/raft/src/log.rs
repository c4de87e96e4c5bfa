//! The replicated log: what the core knows of it ([`LogView`]), and what a real one must be able to do
//! ([`ReplicatedLog`]).
//!
//! The core never touches the log. It keeps the positions, and moves them in the same step in which it asks for an
//! append or a truncation; whoever runs the core carries its actions out in order before the next step.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Now, Offset, Timestamp};
use thiserror::Error;

use crate::control::ControlRecord;
use crate::election::ElectionState;
use crate::messages::ReceivedBatch;
use crate::replica::OffsetAndEpoch;

/// One batch that a leader appends.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderBatch {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    /// The timestamp of all its records.
    pub append_timestamp: Timestamp,
    pub records: BatchRecords,
}

impl LeaderBatch {
    pub fn last_offset(&self) -> Offset {
        self.base_offset + (self.records.len() as i64 - 1)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum BatchRecords {
    /// Values of metadata records; they have no keys.
    Data(Vec<Bytes>),
    Control(Vec<ControlRecord>),
}

impl BatchRecords {
    pub fn len(&self) -> usize {
        match self {
            BatchRecords::Data(records) => records.len(),
            BatchRecords::Control(records) => records.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the core is told about the log when it starts.
#[derive(Clone, Debug, Default)]
pub struct LogStart {
    pub log_start_offset: Offset,
    pub end_offset: Offset,
    /// Up to where the log is known to be durable.
    pub flushed_end_offset: Offset,
    /// First offset of every epoch in the log, ascending in both.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Snapshots on disk with their sizes in bytes. The one of offset 0 and epoch 0, which formatting makes to hold the
    /// first voters, is no snapshot of the log and never replicated: it doesn't count.
    pub snapshots: Vec<(OffsetAndEpoch, u64)>,
    /// `KRaftVersion` and `Voters` records of the latest snapshot, that of offset 0 included, and of the log behind it;
    /// a snapshot's at the offset before its end.
    pub control: Vec<(Offset, ControlRecord)>,
}

/// Why the log failed; the node can't go on without its metadata log.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the metadata log is corrupt: {0}")]
    Corrupt(String),
    /// The volume is full, or no more files can be opened, and that is no fault of the log's. What was to be done was not
    /// done, and can be done again when there is room.
    #[error("the metadata log can't be written now: {0}")]
    NotNow(String),
    /// What the log's own engine says.
    #[error(transparent)]
    Engine(Box<dyn std::error::Error + Send + Sync>),
}

impl LogError {
    /// There is no room, or no descriptor: that passes, other than all else that may befall a log.
    pub fn passes(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match self {
            LogError::NotNow(_) => true,
            LogError::Io(error) => {
                matches!(error.kind(), StorageFull | QuotaExceeded)
                    || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
            }
            LogError::Corrupt(_) | LogError::Engine(_) => false,
        }
    }
}

/// The log behind the core. What an append, a flush, a truncation, or the writing of a snapshot's part or its installation could
/// not do for want of room is asked for again, so that each must be able to go on from where it has come.
pub trait ReplicatedLog {
    fn start(&self) -> Result<LogStart, LogError>;
    /// Batches that are in the log already are passed over.
    fn append_as_leader(&mut self, batches: &[LeaderBatch], now: Now) -> Result<(), LogError>;
    fn append_as_follower(&mut self, batches: &[ReceivedBatch], now: Now) -> Result<(), LogError>;
    /// Makes everything appended durable; returns the end offset that is.
    fn flush(&mut self, now: Now) -> Result<Offset, LogError>;
    fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<(), LogError>;
    /// Whole batches from the one that holds `offset` on, below `end`; at least one when there is one, then as many
    /// as `max_bytes` allow.
    fn read(&self, offset: Offset, end: Offset, max_bytes: usize) -> Result<LogRead, LogError>;
    /// Takes apart what a leader sent: whole batches only, the rest is left out. Stops at the first that is corrupt.
    fn parse(&self, bytes: Bytes) -> Vec<ReceivedBatch>;
    fn set_high_watermark(&mut self, offset: Offset);

    fn read_snapshot(&self, id: OffsetAndEpoch, position: u64, max_bytes: usize) -> Result<Bytes, LogError>;
    /// Writes a part of a snapshot that is being downloaded; position 0 begins it anew.
    fn write_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &Bytes) -> Result<(), LogError>;
    /// Completes a downloaded snapshot, and makes the log empty and start at its end. Returns the snapshot's size and
    /// its `KRaftVersion` and `Voters` records; none if what was downloaded is damaged, which changes nothing.
    fn install_snapshot(
        &mut self,
        id: OffsetAndEpoch,
        now: Now,
    ) -> Result<Option<(u64, Vec<ControlRecord>)>, LogError>;
    /// Deletes old segments and snapshots by the retention settings, keeping what the latest snapshot needs. Returns the
    /// new log start offset and the snapshots that are left, if anything was deleted.
    fn clean(&mut self, now: Now) -> Result<Option<(Offset, Vec<OffsetAndEpoch>)>, LogError>;
}

/// What a read of the log gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRead {
    pub bytes: Bytes,
    /// The offset after the last record in `bytes`; the offset asked for when there is none.
    pub next_offset: Offset,
}

/// Where the election state is kept.
pub trait QuorumStateStore {
    fn read(&self) -> Result<Option<ElectionState>, LogError>;
    /// Returns once it is durable. See [`crate::quorum_state_file`].
    fn write(&mut self, election: &ElectionState, kraft_version: i16) -> Result<(), LogError>;
}

/// Whether a follower's position is one that the leader's log has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPosition {
    Valid,
    /// The follower's log must end where this epoch ends here.
    Diverging(OffsetAndEpoch),
    /// The log no longer reaches back so far.
    Snapshot(OffsetAndEpoch),
}

/// The positions of the log.
#[derive(Clone, Debug, Default)]
pub struct LogView {
    start_offset: Offset,
    end_offset: Offset,
    flushed_end_offset: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    snapshots: BTreeMap<OffsetAndEpoch, u64>,
}

impl LogView {
    pub fn new(start: &LogStart) -> LogView {
        LogView {
            start_offset: start.log_start_offset,
            end_offset: start.end_offset,
            flushed_end_offset: start.flushed_end_offset,
            epochs: start.epochs.clone(),
            snapshots: start.snapshots.iter().copied().collect(),
        }
    }

    pub fn start_offset(&self) -> Offset {
        self.start_offset
    }

    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    pub fn flushed_end_offset(&self) -> Offset {
        self.flushed_end_offset
    }

    /// The epoch of the last record; of the latest snapshot when the log is empty; 0 when there is neither.
    pub fn last_epoch(&self) -> LeaderEpoch {
        self.epochs
            .last()
            .map(|(epoch, _)| *epoch)
            .or_else(|| self.latest_snapshot().map(|id| id.epoch))
            .unwrap_or(LeaderEpoch(0))
    }

    /// End offset and last epoch: what elections compare.
    pub fn end(&self) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: self.end_offset, epoch: self.last_epoch() }
    }

    pub fn latest_snapshot(&self) -> Option<OffsetAndEpoch> {
        self.snapshots.last_key_value().map(|(id, _)| *id)
    }

    pub fn earliest_snapshot(&self) -> Option<OffsetAndEpoch> {
        self.snapshots.first_key_value().map(|(id, _)| *id)
    }

    /// Bytes of a snapshot.
    pub fn snapshot_size(&self, id: OffsetAndEpoch) -> Option<u64> {
        self.snapshots.get(&id).copied()
    }

    /// The largest epoch not above `epoch`, and where it ends.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        let Some(next) = self.epochs.iter().position(|(known, _)| *known > epoch) else {
            return self.end();
        };
        let end = self.epochs.get(next).map_or(self.end_offset, |(_, start)| *start);
        let floor = next.checked_sub(1).and_then(|i| self.epochs.get(i)).map_or(epoch, |(known, _)| *known);
        match self.earliest_snapshot() {
            Some(snapshot) if snapshot.offset == end && end == self.start_offset => snapshot,
            _ => OffsetAndEpoch { offset: end, epoch: floor },
        }
    }

    /// Judges a follower that has the log up to `offset`, with a last record of `epoch`.
    pub fn validate(&self, offset: Offset, epoch: LeaderEpoch) -> FetchPosition {
        if offset == Offset::ZERO
            && let Some(latest) = self.latest_snapshot()
        {
            // An empty replica is brought up faster by a snapshot than by the log, even if that reaches back to 0.
            return FetchPosition::Snapshot(latest);
        }
        if self.start_offset == Offset::ZERO && offset == Offset::ZERO && epoch == LeaderEpoch(0) {
            return FetchPosition::Valid;
        }
        if let (Some(earliest), Some(latest)) = (self.earliest_snapshot(), self.latest_snapshot()) {
            let before_start = offset < self.start_offset;
            let other_history = offset == self.start_offset
                && self.start_offset == earliest.offset
                && epoch != earliest.epoch;
            if before_start || other_history || epoch < earliest.epoch {
                return FetchPosition::Snapshot(latest);
            }
        }
        let local = self.end_offset_for_epoch(epoch);
        if local.epoch != epoch || local.offset < offset {
            FetchPosition::Diverging(local)
        } else {
            FetchPosition::Valid
        }
    }

    /// Where a follower truncates its log when the leader's `diverging` epoch ends there.
    pub fn truncation_offset(&self, diverging: OffsetAndEpoch) -> Offset {
        if diverging.epoch == LeaderEpoch(0) {
            return diverging.offset.min(self.end_offset);
        }
        let local = self.end_offset_for_epoch(diverging.epoch);
        if local.epoch == diverging.epoch { local.offset.min(diverging.offset) } else { local.offset }
    }

    pub(crate) fn appended(&mut self, base_offset: Offset, last_offset: Offset, epoch: LeaderEpoch) {
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            self.epochs.push((epoch, base_offset));
        }
        self.end_offset = last_offset.next();
    }

    pub(crate) fn flushed(&mut self, end_offset: Offset) {
        self.flushed_end_offset = self.flushed_end_offset.max(end_offset.min(self.end_offset));
    }

    pub(crate) fn truncated(&mut self, offset: Offset) {
        self.end_offset = self.end_offset.min(offset);
        self.flushed_end_offset = self.flushed_end_offset.min(offset);
        self.epochs.retain(|(_, start)| *start < offset);
    }

    pub(crate) fn snapshot_added(&mut self, id: OffsetAndEpoch, size: u64) {
        self.snapshots.insert(id, size);
    }

    /// Old segments and snapshots were deleted.
    pub(crate) fn cleaned(&mut self, start_offset: Offset, snapshots: &[OffsetAndEpoch]) {
        self.snapshots.retain(|id, _| snapshots.contains(id));
        self.start_offset = self.start_offset.max(start_offset);
        let first = self.epochs.partition_point(|(_, start)| *start <= self.start_offset);
        if first > 1 {
            self.epochs.drain(..first - 1);
        }
        if let Some((_, start)) = self.epochs.first_mut() {
            *start = (*start).max(self.start_offset);
        }
    }

    /// A downloaded snapshot took the log's place.
    pub(crate) fn replaced_by(&mut self, id: OffsetAndEpoch, size: u64) {
        self.start_offset = id.offset;
        self.end_offset = id.offset;
        self.flushed_end_offset = id.offset;
        self.epochs.clear();
        self.snapshots.clear();
        self.snapshots.insert(id, size);
    }
}
