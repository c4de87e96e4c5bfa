//! `__cluster_metadata-0` on disk.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_log::disk::{DiskFile, Open};
use ottla_log::{
    AppendError, DeleteRecordsError, FetchIsolation, LeaderAppend, LogConfig, LogContext, OpenLog,
    StorageError, UnifiedLog,
};
use ottla_raft::{
    ControlRecord, LeaderBatch, LogError, LogRead, LogStart, OffsetAndEpoch, ReceivedBatch, ReplicatedLog,
    VoterSet, record_batches,
};
use ottla_record::{AppendOrigin, Batches};
use ottla_types::{METADATA_TOPIC, Now, Offset, TopicPartition, Uuid};

use super::Place;
use super::bootstrap::BOOTSTRAP_ID;
use super::records::corrupt;
use super::retention::oldest_to_keep;
use super::snapshot_reader::{SnapshotBatch, SnapshotReader};
use super::snapshot_writer::{FinishedSnapshot, Header, SnapshotWriter};
use super::snapshots::{self, SnapshotInfo, part_name, snapshot_name};
use crate::log_maintenance::Halt;

/// The partition's directory in the metadata directory.
pub const PARTITION_DIR: &str = "__cluster_metadata-0";

/// Read at a time when the log is looked through at the start, in bytes.
const SCAN_BYTES: usize = 8 << 20;

/// Settings `metadata.log.*` and `metadata.max.retention.*`; bytes and milliseconds.
#[derive(Clone, Debug)]
pub struct MetadataLogSettings {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    /// Of log and snapshots together; negative: no bound.
    pub retention_bytes: i64,
    /// Of a snapshot's last record; negative: no bound.
    pub retention_ms: i64,
    pub max_batch_bytes: u32,
}

impl Default for MetadataLogSettings {
    fn default() -> MetadataLogSettings {
        MetadataLogSettings {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            retention_bytes: 100 << 20,
            retention_ms: 604_800_000,
            max_batch_bytes: 8 << 20,
        }
    }
}

/// The log with its snapshots. What always holds: everything before the log's start is covered by a snapshot that is
/// complete on disk.
#[derive(Debug)]
pub struct MetadataLog {
    log: Arc<UnifiedLog>,
    place: Place,
    pub(super) settings: MetadataLogSettings,
    snapshots: BTreeMap<OffsetAndEpoch, SnapshotInfo>,
    download: Option<Download>,
}

/// A snapshot that comes from the leader.
#[derive(Debug)]
struct Download {
    id: OffsetAndEpoch,
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl MetadataLog {
    /// Opens the log in a metadata directory, making it if it is missing. The log is recovered, as Kafka always does with
    /// this one, and everything in it is made durable.
    pub fn open(
        context: Arc<LogContext>,
        metadata_dir: &Path,
        settings: MetadataLogSettings,
        now: Now,
    ) -> Result<MetadataLog, LogError> {
        let place = Place { disk: Arc::clone(&context.disk), dir: metadata_dir.join(PARTITION_DIR) };
        place.disk.create_dir_all(&place.dir)?;
        // Also when it is there: who made it may have been killed before this.
        place.disk.sync_dir(metadata_dir)?;
        let snapshots = snapshots::load(&place)?;
        let config = LogConfig {
            segment_bytes: settings.segment_bytes,
            segment_ms: settings.segment_ms,
            max_message_bytes: settings.max_batch_bytes.saturating_add(1 << 16),
            // Segments go with the snapshots that cover them, and only then.
            retention_bytes: -1,
            retention_ms: -1,
            ..LogConfig::default()
        };
        let params = OpenLog {
            context,
            dir: place.dir.clone(),
            partition: TopicPartition::new(METADATA_TOPIC, 0),
            config: Arc::new(config),
            log_start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            had_clean_shutdown: false,
            topic_id: Some(Uuid::METADATA_TOPIC),
        };
        let log = UnifiedLog::open(params, now).map_err(engine)?;
        let mut opened = MetadataLog { log, place, settings, snapshots, download: None };
        opened.discard_log_behind_snapshot(now)?;
        match opened.log.flush(now) {
            // The first append that finds room flushes all that is before it.
            Err(StorageError::NoSpace { .. } | StorageError::OutOfFiles { .. }) => {}
            flushed => flushed.map_err(engine)?,
        }
        Ok(opened)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// There is nothing but what formatting wrote.
    pub fn is_empty(&self) -> bool {
        self.log.log_end_offset() == Offset::ZERO && self.latest_snapshot().is_none()
    }

    /// Those that its records and its latest snapshot name last; none where a static quorum is named by settings.
    pub fn voters(&self) -> Result<Option<VoterSet>, LogError> {
        let records = self.control_records()?.into_iter().rev();
        Ok(records.map(|(_, record)| record).find_map(|record| match record {
            ControlRecord::Voters(voters) => Some(voters),
            _ => None,
        }))
    }

    /// The log engine's view, for whoever describes log directories.
    pub fn unified_log(&self) -> &Arc<UnifiedLog> {
        &self.log
    }

    /// Reads a snapshot of [`ottla_raft::Delivery::Snapshot`].
    pub fn open_snapshot(&self, id: OffsetAndEpoch) -> Result<SnapshotReader, LogError> {
        let path = self.place.dir.join(snapshot_name(id));
        Ok(SnapshotReader::new(self.place.disk.open(&path, Open::Read)?)?)
    }

    /// Closes the log as a clean stop does.
    pub fn close(&self, now: Now) -> Result<(), LogError> {
        self.log.close(now).map_err(engine)
    }

    pub(super) fn begin_snapshot(
        &self,
        id: OffsetAndEpoch,
        header: &Header<'_>,
        now: Now,
    ) -> Result<SnapshotWriter, LogError> {
        SnapshotWriter::begin(self.place.clone(), id, header, now)
    }

    pub(super) fn add_snapshot(&mut self, finished: FinishedSnapshot) {
        self.snapshots.insert(finished.id(), finished.info());
    }

    /// Removes what was written of a snapshot that could not be finished.
    pub(super) fn discard_snapshot(&self, id: OffsetAndEpoch) {
        if let Err(error) = self.place.disk.remove_file(&self.place.dir.join(part_name(id))) {
            tracing::debug!(%error, snapshot = %id, "a part of a snapshot is left for the next start to remove");
        }
    }

    /// A crash may come between the download of a snapshot and the log's truncation: what the log holds is then older
    /// than the snapshot and of no use.
    fn discard_log_behind_snapshot(&mut self, now: Now) -> Result<(), LogError> {
        let Some(latest) = self.latest_snapshot() else {
            return Ok(());
        };
        let end = self.log.log_end_offset();
        let is_newer = self
            .log
            .latest_epoch()
            .is_none_or(|epoch| latest.epoch > epoch || (latest.epoch == epoch && latest.offset > end));
        if is_newer {
            tracing::info!(snapshot = %latest, %end, "the latest snapshot takes the place of an older log");
            self.log.truncate_fully_and_start_at(latest.offset, None, now).map_err(engine)?;
            self.log.update_high_watermark(latest.offset);
        }
        Ok(())
    }

    /// The latest snapshot of the log; the one that formatting wrote is none.
    fn latest_snapshot(&self) -> Option<OffsetAndEpoch> {
        self.snapshots.last_key_value().map(|(id, _)| *id).filter(|id| *id != BOOTSTRAP_ID)
    }

    /// `KRaftVersion` and `Voters` records of the latest snapshot, or of that which formatting wrote, and of the log.
    fn control_records(&self) -> Result<Vec<(Offset, ControlRecord)>, LogError> {
        let mut found = Vec::new();
        let mut from = self.log.log_start_offset();
        if let Some((id, _)) = self.snapshots.last_key_value() {
            let snapshot = self.snapshot_control(*id)?;
            found.extend(snapshot.into_iter().map(|record| (id.offset - 1, record)));
            from = from.max(id.offset);
        }
        let end = self.log.log_end_offset();
        while from < end {
            let read = self.read(from, end, SCAN_BYTES)?;
            if read.next_offset == from {
                break;
            }
            for batch in Batches::new(&read.bytes) {
                let batch = batch.map_err(corrupt)?;
                found.extend(record_batches::control_records(&batch).map_err(corrupt)?);
            }
            from = read.next_offset;
        }
        found.retain(|(_, record)| is_governing(record));
        Ok(found)
    }

    fn snapshot_control(&self, id: OffsetAndEpoch) -> Result<Vec<ControlRecord>, LogError> {
        // Control records come first in a snapshot.
        match self.open_snapshot(id)?.next_batch()? {
            Some(SnapshotBatch::Control(records)) => Ok(records.into_iter().filter(is_governing).collect()),
            _ => Err(corrupt(format_args!("snapshot {id} doesn't begin with a header"))),
        }
    }

    /// Removes snapshots before `keep`, and the log before it.
    fn delete_before(&mut self, keep: OffsetAndEpoch, now: Now) -> Result<(), LogError> {
        let start = self.log.maybe_increment_log_start_offset(keep.offset, "snapshot retention");
        start.map_err(engine)?;
        self.log.delete_old_segments(now).map_err(engine)?;
        let kept = self.snapshots.split_off(&keep);
        for id in std::mem::replace(&mut self.snapshots, kept).into_keys() {
            tracing::info!(snapshot = %id, oldest_kept = %keep, "deleting a snapshot");
            self.place.disk.remove_file(&self.place.dir.join(snapshot_name(id)))?;
        }
        Ok(())
    }
}

impl ReplicatedLog for MetadataLog {
    fn start(&self) -> Result<LogStart, LogError> {
        let end_offset = self.log.log_end_offset();
        let epochs = self.log.leader_epochs().entries();
        let snapshots = self.snapshots.iter().filter(|(id, _)| **id != BOOTSTRAP_ID);
        Ok(LogStart {
            log_start_offset: self.log.log_start_offset(),
            end_offset,
            flushed_end_offset: self.log.recovery_point().min(end_offset),
            epochs: epochs.iter().map(|entry| (entry.epoch, entry.start_offset)).collect(),
            snapshots: snapshots.map(|(id, info)| (*id, info.size)).collect(),
            control: self.control_records()?,
        })
    }

    fn append_as_leader(&mut self, batches: &[LeaderBatch], now: Now) -> Result<(), LogError> {
        let end = self.log.log_end_offset();
        for batch in batches.iter().filter(|batch| batch.base_offset >= end) {
            let bytes = Bytes::from(record_batches::encode(batch).map_err(corrupt)?);
            let append = LeaderAppend::new(batch.leader_epoch, AppendOrigin::RaftLeader);
            self.log.append_as_leader(&bytes, &append, now).map_err(engine)?;
        }
        Ok(())
    }

    fn append_as_follower(&mut self, batches: &[ReceivedBatch], now: Now) -> Result<(), LogError> {
        let Some(last) = batches.last() else {
            return Ok(());
        };
        let bytes = match batches {
            [batch] => batch.bytes.clone(),
            batches => {
                let size = batches.iter().map(|batch| batch.bytes.len()).sum();
                let mut bytes = BytesMut::with_capacity(size);
                batches.iter().for_each(|batch| bytes.extend_from_slice(&batch.bytes));
                bytes.freeze()
            }
        };
        self.log.append_as_follower(&bytes, last.leader_epoch, now).map_err(engine)?;
        Ok(())
    }

    fn flush(&mut self, now: Now) -> Result<Offset, LogError> {
        let end_offset = self.log.log_end_offset();
        self.log.flush_up_to(end_offset, now).map_err(engine)?;
        Ok(self.log.recovery_point().min(end_offset))
    }

    fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<(), LogError> {
        self.log.truncate_to(offset, now).map_err(engine)?;
        Ok(())
    }

    fn read(&self, offset: Offset, end: Offset, max_bytes: usize) -> Result<LogRead, LogError> {
        let max = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let read = self.log.read(offset, max, FetchIsolation::LogEnd, true).map_err(engine)?;
        let Some(slice) = read.records else {
            return Ok(LogRead { bytes: Bytes::new(), next_offset: offset });
        };
        let mut bytes = Bytes::from(slice.read()?);
        let mut next_offset = offset;
        let mut len = 0;
        let mut batches = Batches::new(&bytes);
        while let Some(batch) = batches.next().transpose().map_err(corrupt)? {
            if batch.last_offset() >= end {
                break;
            }
            next_offset = batch.last_offset().next();
            len = batches.position();
        }
        bytes.truncate(len);
        Ok(LogRead { bytes, next_offset })
    }

    fn parse(&self, bytes: Bytes) -> Vec<ReceivedBatch> {
        record_batches::parse(bytes)
    }

    fn set_high_watermark(&mut self, offset: Offset) {
        self.log.update_high_watermark(offset);
    }

    fn read_snapshot(&self, id: OffsetAndEpoch, position: u64, max_bytes: usize) -> Result<Bytes, LogError> {
        let size = self.snapshots.get(&id).map_or(0, |info| info.size);
        let len = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX).min(max_bytes);
        let file = self.place.disk.open(&self.place.dir.join(snapshot_name(id)), Open::Read)?;
        let mut bytes = BytesMut::zeroed(len);
        let read = file.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        Ok(bytes.freeze())
    }

    fn write_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &Bytes) -> Result<(), LogError> {
        if position == 0 {
            let part = self.place.dir.join(part_name(id));
            let file = self.place.disk.open(&part, Open::Truncate)?;
            self.download = Some(Download { id, file, size: 0 });
        }
        match &mut self.download {
            Some(download) if download.id == id && download.size == position => {
                download.file.write_all_at(&[IoSlice::new(bytes)], position)?;
                download.size += bytes.len() as u64;
                Ok(())
            }
            _ => Err(corrupt(format_args!("a piece of snapshot {id} at {position} follows nothing"))),
        }
    }

    fn install_snapshot(
        &mut self,
        id: OffsetAndEpoch,
        now: Now,
    ) -> Result<Option<(u64, Vec<ControlRecord>)>, LogError> {
        let download = self.download.as_ref().filter(|download| download.id == id);
        let download = download.ok_or_else(|| corrupt(format_args!("snapshot {id} was not downloaded")))?;
        let file = Arc::clone(&download.file);
        // By its name it counts as whole, and each start would read it: what can't be read gets none.
        match snapshots::check(&file) {
            Err(LogError::Corrupt(reason)) => {
                tracing::error!(snapshot = %id, reason, "what was downloaded is damaged: it is asked for again");
                self.download = None;
                return Ok(None);
            }
            checked => checked?,
        }
        file.sync()?;
        let path = self.place.dir.join(snapshot_name(id));
        if file.path() != path {
            file.rename(&path)?;
        }
        self.place.disk.sync_dir(&self.place.dir)?;
        let info = snapshots::info(&self.place, id)?;
        let control = self.snapshot_control(id)?;
        self.snapshots.insert(id, info);
        self.log.truncate_fully_and_start_at(id.offset, None, now).map_err(engine)?;
        self.log.update_high_watermark(id.offset);
        self.delete_before(id, now)?;
        // Until here it may have to be done again.
        self.download = None;
        Ok(Some((info.size, control)))
    }

    fn clean(&mut self, now: Now) -> Result<Option<(Offset, Vec<OffsetAndEpoch>)>, LogError> {
        let MetadataLogSettings { retention_bytes, retention_ms, .. } = self.settings;
        let keep =
            oldest_to_keep(&self.snapshots, self.log.size_bytes(), retention_bytes, retention_ms, now.wall);
        // What is not known to be committed yet is not to be deleted.
        let Some(keep) = keep.filter(|keep| keep.offset <= self.log.high_watermark()) else {
            return Ok(None);
        };
        self.delete_before(keep, now)?;
        let left = self.snapshots.keys().copied().filter(|id| *id != BOOTSTRAP_ID);
        Ok(Some((self.log.log_start_offset(), left.collect())))
    }
}

/// Whether a control record says who votes, and how.
fn is_governing(record: &ControlRecord) -> bool {
    matches!(record, ControlRecord::KRaftVersion(_) | ControlRecord::Voters(_))
}

fn engine(error: impl std::error::Error + Send + Sync + 'static) -> LogError {
    if passes(&error) {
        return LogError::NotNow(error.to_string());
    }
    LogError::Engine(Box::new(error))
}

/// There is no room, or no descriptor.
fn passes(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(of_storage(error), Some(StorageError::NoSpace { .. } | StorageError::OutOfFiles { .. }))
}

/// Why the metadata log's directory is offline, if that is why the log has failed: whatever in it was noticed first.
pub fn dir_failure(error: &LogError) -> Option<Halt> {
    let LogError::Engine(engine) = error else { return None };
    let StorageError::DirFailed { dir, doing, source } = of_storage(&**engine)? else { return None };
    Some(Halt::MetadataDirFailed { dir: dir.clone(), why: format!("{doing}: {source}") })
}

fn of_storage<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a StorageError> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(AppendError::Storage(storage)), _) | (_, Some(DeleteRecordsError::Storage(storage))) => {
            Some(storage)
        }
        _ => error.downcast_ref(),
    }
}
