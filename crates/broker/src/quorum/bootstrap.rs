//! What formatting a directory writes: `bootstrap.checkpoint`, whose records the first leader of the quorum appends, and for
//! a dynamic quorum (`kraft.version` 1) the snapshot of offset 0 with the first voters.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::disk::{Disk, Open};
use ottla_raft::{LogError, OffsetAndEpoch, VoterSet};
use ottla_types::{Now, Timestamp};

use super::snapshot_reader::{SnapshotBatch, SnapshotReader};
use super::snapshot_writer::{Header, SnapshotWriter};
use super::snapshots::snapshot_name;
use super::{PARTITION_DIR, Place, Values};

pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// The id of the snapshot that formatting writes. It is never replicated, and no snapshot of the log.
pub(super) const BOOTSTRAP_ID: OffsetAndEpoch = OffsetAndEpoch::new(0, 0);

/// Writes `bootstrap.checkpoint` into a metadata directory.
pub fn write_bootstrap(
    disk: &Arc<dyn Disk>,
    metadata_dir: &Path,
    values: Values,
    now: Now,
) -> Result<(), LogError> {
    let header = Header { last_contained_log_timestamp: Timestamp(0), kraft_version: 0, voters: None };
    let path = metadata_dir.join(BOOTSTRAP_CHECKPOINT);
    let part = metadata_dir.join(format!("{BOOTSTRAP_CHECKPOINT}.tmp"));
    let place = Place { disk: Arc::clone(disk), dir: metadata_dir.to_owned() };
    let mut writer = SnapshotWriter::begin_at(place, BOOTSTRAP_ID, path, part, &header, now)?;
    for value in values {
        writer.append(value, now)?;
    }
    writer.finish(now).map(drop)
}

/// The values in `bootstrap.checkpoint`; `None` when there is no such file.
pub fn read_bootstrap(disk: &dyn Disk, metadata_dir: &Path) -> Result<Option<Values>, LogError> {
    let path = metadata_dir.join(BOOTSTRAP_CHECKPOINT);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let mut reader = SnapshotReader::new(disk.open(&path, Open::Read)?)?;
    let mut values = Values::new();
    while let Some(batch) = reader.next_batch()? {
        if let SnapshotBatch::Data(batch) = batch {
            values.extend(batch);
        }
    }
    Ok(Some(values))
}

/// Where [`write_first_voters`] writes.
pub fn first_voters_path(metadata_dir: &Path) -> PathBuf {
    metadata_dir.join(PARTITION_DIR).join(snapshot_name(BOOTSTRAP_ID))
}

/// Writes the first voters of a dynamic quorum, as formatting with `--standalone` or `--initial-controllers` does.
pub fn write_first_voters(
    disk: &Arc<dyn Disk>,
    metadata_dir: &Path,
    voters: &VoterSet,
    now: Now,
) -> Result<(), LogError> {
    let dir = metadata_dir.join(PARTITION_DIR);
    disk.create_dir_all(&dir)?;
    let header = Header { last_contained_log_timestamp: now.wall, kraft_version: 1, voters: Some(voters) };
    let place = Place { disk: Arc::clone(disk), dir };
    SnapshotWriter::begin(place, BOOTSTRAP_ID, &header, now)?.finish(now)?;
    disk.sync_dir(metadata_dir)?;
    Ok(())
}
