//! A log in memory that loses what wasn't flushed.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ottla_types::{LeaderEpoch, Now, Offset, Timestamp};

use crate::*;

#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    pub batches: Vec<ReceivedBatch>,
    pub start_offset: Offset,
    pub flushed_end_offset: Offset,
    pub snapshots: BTreeMap<OffsetAndEpoch, Bytes>,
    pub partial: BTreeMap<OffsetAndEpoch, Vec<u8>>,
    pub high_watermark: Offset,
    /// So many batches fit yet.
    pub room: Option<usize>,
    /// There is room for what snapshots cover.
    pub keeps_all: bool,
    /// What formatting wrote for a dynamic quorum.
    pub first_voters: Vec<ControlRecord>,
}

impl MemoryLog {
    pub fn end_offset(&self) -> Offset {
        self.batches.last().map_or(self.start_offset, |batch| batch.last_offset.next())
    }

    /// The process ended: of what wasn't flushed, `kept` batches reached the disk.
    pub fn crash(&mut self, kept: usize) {
        let flushed = self.batches.partition_point(|batch| batch.last_offset < self.flushed_end_offset);
        self.batches.truncate(flushed + kept);
        self.partial.clear();
        // What a restart finds is on disk.
        self.flushed_end_offset = self.end_offset();
        self.high_watermark = Offset::ZERO;
    }

    fn take_room(&mut self, batches: usize) -> Result<(), LogError> {
        let Some(room) = &mut self.room else { return Ok(()) };
        *room = room.checked_sub(batches).ok_or_else(|| LogError::NotNow("the log is full".into()))?;
        Ok(())
    }

    /// A snapshot that says something of the state, and who votes.
    pub fn snapshot(state: &str, control: &[ControlRecord]) -> Bytes {
        let mut bytes = format!("{state}\n").into_bytes();
        if !control.is_empty() {
            let batch = record_batches::encode_control(Offset::ZERO, LeaderEpoch(0), Timestamp(0), control);
            bytes.extend(batch.unwrap());
        }
        bytes.into()
    }

    /// What such a snapshot says of voters.
    fn control_of(snapshot: &Bytes) -> Vec<ControlRecord> {
        let state = snapshot.iter().position(|byte| *byte == b'\n').map_or(snapshot.len(), |at| at + 1);
        let batches = record_batches::parse(snapshot.slice(state..));
        batches.into_iter().flat_map(|batch| batch.control).map(|(_, record)| record).collect()
    }

    /// Drops what a snapshot covers.
    pub fn drop_prefix(&mut self, id: OffsetAndEpoch) {
        self.batches.retain(|batch| batch.last_offset >= id.offset);
        self.start_offset = id.offset;
        self.snapshots.retain(|known, _| *known >= id);
    }
}

impl ReplicatedLog for MemoryLog {
    fn start(&self) -> Result<LogStart, LogError> {
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for batch in &self.batches {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < batch.leader_epoch) {
                epochs.push((batch.leader_epoch, batch.base_offset));
            }
        }
        let (before, first) = match self.snapshots.last_key_value() {
            Some((id, bytes)) => (id.offset - 1, MemoryLog::control_of(bytes)),
            None => (Offset::UNKNOWN, self.first_voters.clone()),
        };
        let mut control: Vec<_> = first.into_iter().map(|record| (before, record)).collect();
        control.extend(self.batches.iter().flat_map(|batch| batch.control.clone()));
        Ok(LogStart {
            log_start_offset: self.start_offset,
            end_offset: self.end_offset(),
            flushed_end_offset: self.flushed_end_offset,
            epochs,
            snapshots: self.snapshots.iter().map(|(id, bytes)| (*id, bytes.len() as u64)).collect(),
            control,
        })
    }

    fn append_as_leader(&mut self, batches: &[LeaderBatch], _now: Now) -> Result<(), LogError> {
        for batch in batches {
            if batch.base_offset < self.end_offset() {
                continue;
            }
            assert_eq!(batch.base_offset, self.end_offset());
            self.take_room(1)?;
            let bytes = Bytes::from(record_batches::encode(batch).unwrap());
            self.batches.extend(record_batches::parse(bytes));
        }
        Ok(())
    }

    fn append_as_follower(&mut self, batches: &[ReceivedBatch], _now: Now) -> Result<(), LogError> {
        assert_eq!(batches[0].base_offset, self.end_offset());
        self.take_room(batches.len())?;
        self.batches.extend_from_slice(batches);
        Ok(())
    }

    fn flush(&mut self, _now: Now) -> Result<Offset, LogError> {
        self.flushed_end_offset = self.end_offset();
        Ok(self.flushed_end_offset)
    }

    fn truncate_to(&mut self, offset: Offset, _now: Now) -> Result<(), LogError> {
        assert!(offset >= self.high_watermark, "truncated what was committed");
        self.batches.retain(|batch| batch.last_offset < offset);
        assert_eq!(self.end_offset(), offset, "epochs begin at batches");
        self.flushed_end_offset = self.flushed_end_offset.min(offset);
        Ok(())
    }

    fn read(&self, offset: Offset, end: Offset, max_bytes: usize) -> Result<LogRead, LogError> {
        assert!(offset >= self.start_offset);
        let mut bytes = BytesMut::new();
        let mut next_offset = offset;
        for batch in self.batches.iter().filter(|batch| batch.last_offset >= offset) {
            if batch.last_offset >= end || (!bytes.is_empty() && bytes.len() >= max_bytes) {
                break;
            }
            bytes.extend_from_slice(&batch.bytes);
            next_offset = batch.last_offset.next();
        }
        Ok(LogRead { bytes: bytes.freeze(), next_offset })
    }

    fn parse(&self, bytes: Bytes) -> Vec<ReceivedBatch> {
        record_batches::parse(bytes)
    }

    fn set_high_watermark(&mut self, offset: Offset) {
        assert!(offset >= self.high_watermark, "the high watermark went back");
        self.high_watermark = offset;
    }

    fn read_snapshot(&self, id: OffsetAndEpoch, position: u64, max_bytes: usize) -> Result<Bytes, LogError> {
        let bytes = self.snapshots.get(&id).ok_or_else(|| LogError::Corrupt("no such snapshot".into()))?;
        let position = position as usize;
        Ok(bytes.slice(position..bytes.len().min(position + max_bytes)))
    }

    fn write_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &Bytes) -> Result<(), LogError> {
        let partial = self.partial.entry(id).or_default();
        partial.truncate(position as usize);
        partial.extend_from_slice(bytes);
        Ok(())
    }

    fn install_snapshot(
        &mut self,
        id: OffsetAndEpoch,
        _now: Now,
    ) -> Result<Option<(u64, Vec<ControlRecord>)>, LogError> {
        let bytes = Bytes::from(self.partial.remove(&id).unwrap_or_default());
        let size = bytes.len() as u64;
        self.batches.clear();
        self.start_offset = id.offset;
        self.flushed_end_offset = id.offset;
        let control = MemoryLog::control_of(&bytes);
        self.snapshots = BTreeMap::from([(id, bytes)]);
        Ok(Some((size, control)))
    }

    fn clean(&mut self, _now: Now) -> Result<Option<(Offset, Vec<OffsetAndEpoch>)>, LogError> {
        let Some(id) = self.snapshots.keys().last().copied() else {
            return Ok(None);
        };
        if self.start_offset == id.offset || self.keeps_all {
            return Ok(None);
        }
        self.drop_prefix(id);
        Ok(Some((self.start_offset, self.snapshots.keys().copied().collect())))
    }
}

#[derive(Clone, Debug, Default)]
pub struct MemoryStore(pub Option<ElectionState>);

impl QuorumStateStore for MemoryStore {
    fn read(&self) -> Result<Option<ElectionState>, LogError> {
        Ok(self.0.clone())
    }

    fn write(&mut self, election: &ElectionState, kraft_version: i16) -> Result<(), LogError> {
        let text = quorum_state_file::encode(election, kraft_version);
        self.0 = Some(quorum_state_file::decode(&text).unwrap());
        Ok(())
    }
}
