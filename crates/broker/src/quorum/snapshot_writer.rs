//! Writes a snapshot: a control batch with header, `kraft.version` and voters, batches of records, a control batch with the
//! footer. The file has a working name until it is complete and on disk.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::disk::{DiskFile, Open};
use ottla_raft::{ControlRecord, LogError, OffsetAndEpoch, VoterSet, record_batches};
use ottla_types::{Now, Offset, Timestamp};

use super::records::corrupt;
use super::snapshots::{SnapshotInfo, part_name, snapshot_name};
use super::{Place, Values};

/// A batch is written when its values have this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// What stands before the records.
pub(super) struct Header<'a> {
    pub(super) last_contained_log_timestamp: Timestamp,
    pub(super) kraft_version: i16,
    pub(super) voters: Option<&'a VoterSet>,
}

/// A snapshot that is being written. Dropping it leaves a file with a working name, which the next start removes.
#[derive(Debug)]
pub struct SnapshotWriter {
    place: Place,
    id: OffsetAndEpoch,
    path: PathBuf,
    last_contained_log_timestamp: Timestamp,
    file: Arc<dyn DiskFile>,
    position: u64,
    next_offset: Offset,
    pending: Values,
    pending_bytes: usize,
}

/// A snapshot that is complete on disk.
#[derive(Debug)]
pub struct FinishedSnapshot {
    id: OffsetAndEpoch,
    info: SnapshotInfo,
}

impl FinishedSnapshot {
    pub fn id(&self) -> OffsetAndEpoch {
        self.id
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.info.size
    }

    pub(super) fn info(&self) -> SnapshotInfo {
        self.info
    }
}

impl SnapshotWriter {
    pub(super) fn begin(
        place: Place,
        id: OffsetAndEpoch,
        header: &Header<'_>,
        now: Now,
    ) -> Result<SnapshotWriter, LogError> {
        let path = place.dir.join(snapshot_name(id));
        let part = place.dir.join(part_name(id));
        SnapshotWriter::begin_at(place, id, path, part, header, now)
    }

    /// Begins a file of another name, in the same format.
    pub(super) fn begin_at(
        place: Place,
        id: OffsetAndEpoch,
        path: PathBuf,
        part: PathBuf,
        header: &Header<'_>,
        now: Now,
    ) -> Result<SnapshotWriter, LogError> {
        let file = place.disk.open(&part, Open::Truncate)?;
        let last_contained_log_timestamp = header.last_contained_log_timestamp;
        let mut writer = SnapshotWriter {
            place,
            id,
            path,
            last_contained_log_timestamp,
            file,
            position: 0,
            next_offset: Offset::ZERO,
            pending: Values::new(),
            pending_bytes: 0,
        };
        let mut records = vec![ControlRecord::SnapshotHeader {
            last_contained_log_timestamp: last_contained_log_timestamp.value(),
        }];
        if header.kraft_version > 0 {
            records.push(ControlRecord::KRaftVersion(header.kraft_version));
            records.extend(header.voters.cloned().map(ControlRecord::Voters));
        }
        writer.write_control(&records, now)?;
        Ok(writer)
    }

    /// Adds the value of one metadata record.
    pub fn append(&mut self, value: Bytes, now: Now) -> Result<(), LogError> {
        self.pending_bytes += value.len();
        self.pending.push(value);
        if self.pending_bytes >= BATCH_BYTES { self.write_pending(now) } else { Ok(()) }
    }

    /// Completes the file and makes it and its name durable.
    pub fn finish(mut self, now: Now) -> Result<FinishedSnapshot, LogError> {
        self.write_pending(now)?;
        self.write_control(&[ControlRecord::SnapshotFooter], now)?;
        self.file.sync()?;
        self.file.rename(&self.path)?;
        if let Some(dir) = self.path.parent() {
            self.place.disk.sync_dir(dir)?;
        }
        let info = SnapshotInfo {
            size: self.position,
            last_contained_log_timestamp: Some(self.last_contained_log_timestamp),
        };
        Ok(FinishedSnapshot { id: self.id, info })
    }

    pub(super) fn write_pending(&mut self, now: Now) -> Result<(), LogError> {
        let values = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if values.is_empty() {
            return Ok(());
        }
        let batch = record_batches::encode_data(self.next_offset, self.id.epoch, now.wall, &values);
        self.write(&batch.map_err(corrupt)?, values.len())
    }

    fn write_control(&mut self, records: &[ControlRecord], now: Now) -> Result<(), LogError> {
        let batch = record_batches::encode_control(self.next_offset, self.id.epoch, now.wall, records);
        self.write(&batch.map_err(corrupt)?, records.len())
    }

    fn write(&mut self, batch: &[u8], records: usize) -> Result<(), LogError> {
        self.file.write_all_at(&[IoSlice::new(batch)], self.position)?;
        self.position += batch.len() as u64;
        self.next_offset += records as i64;
        Ok(())
    }
}
