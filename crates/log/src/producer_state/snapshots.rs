//! Taking producer state from snapshot files and leaving it in them.
//!
//! `<offset>.snapshot` holds the state of the log up to that offset. There is one for each segment's base offset, and
//! after a clean stop one for the log's end.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{Offset, Timestamp};
use tracing::{debug, warn};

use super::entry::{BatchMetadata, ProducerStateEntry};
use super::{ProducerStateManager, is_expired};
use crate::disk::{Disk, Open};
use crate::files;
use crate::names::{FileKind, FileState, SegmentFile};
use crate::partition_dir::PartitionDir;
use crate::producer_snapshot::{self, ProducerSnapshotEntry};

/// The snapshot files that are there.
#[derive(Debug)]
pub(super) struct Snapshots {
    dir: Arc<PartitionDir>,
    offsets: BTreeSet<Offset>,
    highest_removed: Option<Offset>,
}

impl Snapshots {
    pub(super) fn new(dir: Arc<PartitionDir>, offsets: impl IntoIterator<Item = Offset>) -> Snapshots {
        Snapshots { dir, offsets: offsets.into_iter().collect(), highest_removed: None }
    }

    fn path(&self, offset: Offset, state: FileState) -> PathBuf {
        snapshot_path(&self.dir, offset, state)
    }

    fn remove(&mut self, offset: Offset) -> io::Result<()> {
        if !self.offsets.remove(&offset) {
            return Ok(());
        }
        self.highest_removed = self.highest_removed.max(Some(offset));
        ignore_missing(self.dir.disk().remove_file(&self.path(offset, FileState::Live)))
    }
}

fn snapshot_path(dir: &PartitionDir, offset: Offset, state: FileState) -> PathBuf {
    dir.file(&SegmentFile { base_offset: offset.0, kind: FileKind::ProducerSnapshot, state }.to_string())
}

/// Removes a snapshot that [`ProducerStateManager::retire_snapshot`] has renamed.
pub(crate) fn delete_retired(dir: &PartitionDir, offset: Offset) -> io::Result<()> {
    ignore_missing(dir.disk().remove_file(&snapshot_path(dir, offset, FileState::Deleted)))
}

/// Makes a snapshot durable, if it is still there.
pub(crate) fn sync_snapshot(dir: &PartitionDir, offset: Offset) -> io::Result<()> {
    let path = snapshot_path(dir, offset, FileState::Live);
    ignore_missing(dir.disk().open(&path, Open::Read).and_then(|file| file.sync()))
}

fn write(disk: &dyn Disk, path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let file = disk.open(path, Open::Truncate)?;
    file.write_all_at(&[IoSlice::new(content)], 0)?;
    if sync { file.sync() } else { Ok(()) }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl ProducerStateManager {
    pub fn latest_snapshot_offset(&self) -> Option<Offset> {
        self.snapshots.offsets.last().copied()
    }

    pub fn oldest_snapshot_offset(&self) -> Option<Offset> {
        self.snapshots.offsets.first().copied()
    }

    /// The offset of the latest snapshot that was removed. Beyond the log's end it must not come back after a crash: the
    /// log may have grown to that offset again, with other records.
    pub(crate) fn highest_removed_snapshot(&self) -> Option<Offset> {
        self.snapshots.highest_removed
    }

    /// Writes a snapshot at the map's end unless there is one for it. Returns its offset if it was written.
    pub(crate) fn take_snapshot(&mut self, sync: bool) -> io::Result<Option<Offset>> {
        if self.map_end_offset <= self.last_snapshot_offset {
            return Ok(None);
        }
        let offset = self.map_end_offset;
        let entries: Vec<ProducerSnapshotEntry> = self.producers.values().map(to_file).collect();
        let path = self.snapshots.path(offset, FileState::Live);
        let disk = self.snapshots.dir.disk();
        if let Err(error) = write(&**disk, &path, &producer_snapshot::encode(&entries), sync) {
            // A torn snapshot would only be passed over when it is read.
            let _ = disk.remove_file(&path);
            return Err(error);
        }
        debug!(path = %path.display(), producers = entries.len(), "producer snapshot written");
        self.snapshots.offsets.insert(offset);
        self.last_snapshot_offset = offset;
        Ok(Some(offset))
    }

    /// Brings the state to that of some snapshot at or below `log_end_offset`, or to none at the log's start. What lies
    /// between it and the end is for the caller to replay. Unreadable snapshots are removed.
    pub(crate) fn truncate_and_reload(
        &mut self,
        log_start_offset: Offset,
        log_end_offset: Offset,
        now: Timestamp,
    ) -> io::Result<()> {
        let useless: Vec<Offset> = self
            .snapshots
            .offsets
            .iter()
            .copied()
            .filter(|&offset| offset > log_end_offset || offset <= log_start_offset)
            .collect();
        for offset in useless {
            self.snapshots.remove(offset)?;
        }
        if log_end_offset == self.map_end_offset {
            self.on_log_start_offset_incremented(log_start_offset);
            return Ok(());
        }
        self.clear();
        self.load_latest_snapshot(log_start_offset, now)
    }

    /// The state that the newest snapshot at or below `offset` holds, or none from the log's start on. It is for a look: no file
    /// is written or removed for it.
    pub(crate) fn as_of_snapshot_before(
        &self,
        offset: Offset,
        log_start_offset: Offset,
        now: Timestamp,
    ) -> io::Result<ProducerStateManager> {
        let dir = &self.snapshots.dir;
        let mut state = ProducerStateManager::new(dir, &self.config, []);
        state.map_end_offset = log_start_offset;
        for &at in self.snapshots.offsets.range(..=offset).rev() {
            let content = files::read(&**dir.disk(), &self.snapshots.path(at, FileState::Live))?;
            if let Ok(entries) = producer_snapshot::decode(&content.unwrap_or_default()) {
                state.load_entries(&entries, now);
                state.map_end_offset = at;
                break;
            }
        }
        Ok(state)
    }

    fn load_entries(&mut self, entries: &[ProducerSnapshotEntry], now: Timestamp) {
        let expiration_ms = self.config.load().producer_id_expiration_ms;
        for entry in entries.iter().map(from_file) {
            if !is_expired(&entry, now, expiration_ms) {
                self.load_entry(entry);
            }
        }
    }

    fn load_latest_snapshot(&mut self, log_start_offset: Offset, now: Timestamp) -> io::Result<()> {
        while let Some(offset) = self.latest_snapshot_offset() {
            let path = self.snapshots.path(offset, FileState::Live);
            let content = files::read(&**self.snapshots.dir.disk(), &path)?.unwrap_or_default();
            match producer_snapshot::decode(&content) {
                Ok(entries) => {
                    self.load_entries(&entries, now);
                    self.last_snapshot_offset = offset;
                    self.map_end_offset = offset;
                    return Ok(());
                }
                Err(error) => {
                    warn!(path = %path.display(), "producer snapshot is passed over: {error}");
                    self.snapshots.remove(offset)?;
                }
            }
        }
        self.last_snapshot_offset = log_start_offset;
        self.map_end_offset = log_start_offset;
        Ok(())
    }

    /// Forgets everything: the log starts anew at `offset`.
    pub(crate) fn truncate_fully_and_start_at(&mut self, offset: Offset) -> io::Result<()> {
        self.clear();
        while let Some(offset) = self.latest_snapshot_offset() {
            self.snapshots.remove(offset)?;
        }
        self.last_snapshot_offset = Offset::ZERO;
        self.map_end_offset = offset;
        Ok(())
    }

    /// Removes snapshots that belong to no segment, but the newest of them if it lies behind the last segment's base
    /// offset: a clean stop leaves one at the log's end.
    pub(crate) fn remove_stray_snapshots(&mut self, base_offsets: &BTreeSet<Offset>) -> io::Result<()> {
        let strays: Vec<Offset> = self.snapshots.offsets.difference(base_offsets).copied().collect();
        let Some((&newest, others)) = strays.split_last() else { return Ok(()) };
        for &offset in others {
            self.snapshots.remove(offset)?;
        }
        if base_offsets.last().is_some_and(|&last| newest < last) {
            self.snapshots.remove(newest)?;
        }
        Ok(())
    }

    /// Takes the snapshot of a segment that goes away out of use; true if there was one, whose file is now named
    /// `.deleted`.
    pub(crate) fn retire_snapshot(&mut self, offset: Offset) -> io::Result<bool> {
        if !self.snapshots.offsets.remove(&offset) {
            return Ok(false);
        }
        let from = self.snapshots.path(offset, FileState::Live);
        let to = self.snapshots.path(offset, FileState::Deleted);
        match self.snapshots.dir.disk().rename(&from, &to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes snapshots below `offset`.
    pub fn delete_snapshots_before(&mut self, offset: Offset) -> io::Result<()> {
        let older: Vec<Offset> = self.snapshots.offsets.range(..offset).copied().collect();
        older.into_iter().try_for_each(|offset| self.snapshots.remove(offset))
    }
}

/// The file keeps the last batch alone.
fn to_file(entry: &ProducerStateEntry) -> ProducerSnapshotEntry {
    let last = entry.last_batch();
    ProducerSnapshotEntry {
        producer_id: entry.producer_id,
        producer_epoch: entry.producer_epoch,
        last_sequence: entry.last_sequence(),
        last_offset: last.map_or(Offset::UNKNOWN, |batch| batch.last_offset),
        offset_delta: last.map_or(0, |batch| batch.offset_delta),
        timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.current_txn_first_offset.unwrap_or(Offset::UNKNOWN),
    }
}

fn from_file(stored: &ProducerSnapshotEntry) -> ProducerStateEntry {
    let mut entry = ProducerStateEntry::empty(stored.producer_id);
    entry.producer_epoch = stored.producer_epoch;
    entry.coordinator_epoch = stored.coordinator_epoch;
    entry.last_timestamp = stored.timestamp;
    entry.current_txn_first_offset =
        (stored.current_txn_first_offset >= Offset::ZERO).then_some(stored.current_txn_first_offset);
    if stored.last_offset < Offset::ZERO {
        return entry;
    }
    entry.with_last_batch(BatchMetadata {
        last_sequence: stored.last_sequence,
        last_offset: stored.last_offset,
        offset_delta: stored.offset_delta,
        timestamp: stored.timestamp,
    })
}
