//! The snapshot files of a directory: `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_log::disk::{DiskFile, Open};
use ottla_raft::{LogError, OffsetAndEpoch};
use ottla_types::Timestamp;

use super::Place;
use super::snapshot_reader::SnapshotReader;

const SUFFIX: &str = ".checkpoint";
/// Of a snapshot that is being written or downloaded. Kafka removes such files when it starts.
const PART_SUFFIX: &str = ".checkpoint.part";
const DELETED_SUFFIX: &str = ".checkpoint.deleted";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;

pub fn snapshot_name(id: OffsetAndEpoch) -> String {
    format!("{:020}-{:010}{SUFFIX}", id.offset.value(), id.epoch.value())
}

pub(super) fn part_name(id: OffsetAndEpoch) -> String {
    format!("{:020}-{:010}{PART_SUFFIX}", id.offset.value(), id.epoch.value())
}

/// The id in a complete snapshot's name.
pub fn parse_snapshot_name(name: &str) -> Option<OffsetAndEpoch> {
    let (offset, rest) = name.split_at_checked(OFFSET_DIGITS)?;
    let (epoch, suffix) = rest.strip_prefix('-')?.split_at_checked(EPOCH_DIGITS)?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if suffix != SUFFIX || !digits(offset) || !digits(epoch) {
        return None;
    }
    Some(OffsetAndEpoch::new(offset.parse().ok()?, epoch.parse().ok()?))
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotInfo {
    /// Bytes.
    pub(super) size: u64,
    /// Of the last record that it stands for; `None` when its header can't be read.
    pub(super) last_contained_log_timestamp: Option<Timestamp>,
}

/// Finds the complete snapshots and removes what is left of others.
pub(super) fn load(place: &Place) -> Result<BTreeMap<OffsetAndEpoch, SnapshotInfo>, LogError> {
    let mut found = BTreeMap::new();
    for entry in place.disk.read_dir(&place.dir)? {
        if entry.name.ends_with(".part") || entry.name.ends_with(DELETED_SUFFIX) {
            place.disk.remove_file(&place.dir.join(&entry.name))?;
        } else if let Some(id) = parse_snapshot_name(&entry.name) {
            found.insert(id, info(place, id)?);
        }
    }
    Ok(found)
}

/// Reads a snapshot from its header to its footer.
pub(super) fn check(file: &Arc<dyn DiskFile>) -> Result<(), LogError> {
    let mut reader = SnapshotReader::new(Arc::clone(file))?;
    while reader.next_batch()?.is_some() {}
    Ok(())
}

pub(super) fn info(place: &Place, id: OffsetAndEpoch) -> Result<SnapshotInfo, LogError> {
    let path = place.dir.join(snapshot_name(id));
    let file = place.disk.open(&path, Open::Read)?;
    let size = file.len()?;
    let last_contained_log_timestamp = match SnapshotReader::new(file)?.header() {
        Ok(timestamp) => timestamp,
        Err(LogError::Corrupt(reason)) => {
            tracing::error!(reason, "the header of a snapshot can't be read");
            None
        }
        Err(error) => return Err(error),
    };
    Ok(SnapshotInfo { size, last_contained_log_timestamp })
}
