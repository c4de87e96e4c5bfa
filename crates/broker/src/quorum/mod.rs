//! The metadata quorum's replica on this node's disk: `__cluster_metadata-0` with its snapshots, the `quorum-state` file,
//! and `bootstrap.checkpoint`.
//!
//! [`Quorum`] is the consensus core on a [`MetadataLog`]. It is stepped from outside, by a thread of the server or by the
//! simulator.

mod bootstrap;
mod metadata_log;
mod quorum_state_file;
mod records;
mod retention;
mod snapshot_reader;
mod snapshot_writer;
mod snapshots;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::LogContext;
use ottla_log::disk::Disk;
use ottla_raft::{LogError, OffsetAndEpoch, QuorumSettings, RaftDriver, RaftDriverError};
use ottla_types::{Now, Timestamp};

pub use bootstrap::{
    BOOTSTRAP_CHECKPOINT, first_voters_path, read_bootstrap, write_bootstrap, write_first_voters,
};
pub use metadata_log::{MetadataLog, MetadataLogSettings, PARTITION_DIR, dir_failure};
pub use quorum_state_file::QuorumStateFile;
pub use records::{CommittedBatch, committed_batches};
pub use snapshot_reader::{SnapshotBatch, SnapshotReader};
pub use snapshot_writer::{FinishedSnapshot, SnapshotWriter};
pub use snapshots::{parse_snapshot_name, snapshot_name};

/// This node's replica of the metadata partition.
pub type Quorum = RaftDriver<MetadataLog, QuorumStateFile>;

/// Opens the replica in `metadata_dir` (`metadata.log.dir`, or the first of `log.dirs`) and starts it.
pub fn open_quorum(
    quorum: QuorumSettings,
    context: Arc<LogContext>,
    metadata_dir: &Path,
    settings: MetadataLogSettings,
    now: Now,
) -> Result<Quorum, RaftDriverError> {
    open_quorum_on(quorum, MetadataLog::open(context, metadata_dir, settings, now)?, now)
}

/// The same on a log that is open.
pub fn open_quorum_on(quorum: QuorumSettings, log: MetadataLog, now: Now) -> Result<Quorum, RaftDriverError> {
    let Place { disk, dir } = log.place().clone();
    RaftDriver::open(quorum, log, QuorumStateFile::new(disk, dir), now)
}

/// Begins a snapshot of the committed state whose last record is the one before `id.offset`; `None` when there is one of
/// this id, or a later one, already. The writer needs no lock: it may be used beside the running replica.
pub fn begin_snapshot(
    quorum: &Quorum,
    id: OffsetAndEpoch,
    last_contained_log_timestamp: Timestamp,
    now: Now,
) -> Result<Option<SnapshotWriter>, LogError> {
    let known = quorum.core().log().latest_snapshot().is_some_and(|latest| id <= latest);
    if known || quorum.core().high_watermark().is_none_or(|committed| id.offset > committed) {
        return Ok(None);
    }
    let (kraft_version, voters) = quorum.core().voters().at(id.offset - 1);
    let header = snapshot_writer::Header { last_contained_log_timestamp, kraft_version, voters };
    quorum.log().begin_snapshot(id, &header, now).map(Some)
}

/// Gives up a snapshot that was begun.
pub fn discard_snapshot(quorum: &Quorum, id: OffsetAndEpoch) {
    quorum.log().discard_snapshot(id);
}

/// Takes note of a snapshot that is complete on disk.
pub fn complete_snapshot(
    quorum: &mut Quorum,
    finished: FinishedSnapshot,
    now: Now,
) -> Result<(), RaftDriverError> {
    let (id, size) = (finished.id(), finished.size());
    quorum.log_mut().add_snapshot(finished);
    quorum.snapshot_created(id, size, now)
}

/// A disk and a directory on it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
}

/// Values of metadata records.
pub type Values = Vec<Bytes>;
