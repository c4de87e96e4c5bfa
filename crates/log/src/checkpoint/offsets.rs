//! Offsets of many partitions: lines of topic, partition, offset.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{Offset, TopicPartition};
use parking_lot::Mutex;

use super::{CheckpointError, lines};
use crate::disk::Disk;
use crate::names;

/// Which offsets a checkpoint keeps: one file of each kind a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OffsetCheckpointKind {
    /// Up to where a log is known to be on disk.
    RecoveryPoint,
    LogStartOffset,
    /// High watermarks.
    Replication,
    /// Up to where a log has been compacted.
    Cleaner,
}

impl OffsetCheckpointKind {
    pub const fn file_name(self) -> &'static str {
        match self {
            OffsetCheckpointKind::RecoveryPoint => names::RECOVERY_POINT_CHECKPOINT,
            OffsetCheckpointKind::LogStartOffset => names::LOG_START_OFFSET_CHECKPOINT,
            OffsetCheckpointKind::Replication => names::REPLICATION_OFFSET_CHECKPOINT,
            OffsetCheckpointKind::Cleaner => names::CLEANER_OFFSET_CHECKPOINT,
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            OffsetCheckpointKind::RecoveryPoint => {
                "delete the file: all logs of its directory are then checked from their start"
            }
            OffsetCheckpointKind::LogStartOffset => {
                "delete the file: logs then start at their first segment, so records that were deleted up to an offset \
                 inside of it are seen again"
            }
            OffsetCheckpointKind::Replication => {
                "delete the file: high watermarks then start at the log start offset and advance with replication"
            }
            OffsetCheckpointKind::Cleaner => {
                "delete the file: compaction then starts at the beginning of each log"
            }
        }
    }
}

/// A checkpoint of one kind in one log directory. Writers take turns.
#[derive(Debug)]
pub struct OffsetCheckpoint {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    kind: OffsetCheckpointKind,
    writing: Mutex<()>,
}

struct Line<'a>(&'a TopicPartition, Offset);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.0.topic, self.0.partition, self.1)
    }
}

impl OffsetCheckpoint {
    pub fn new(disk: Arc<dyn Disk>, log_dir: &Path, kind: OffsetCheckpointKind) -> OffsetCheckpoint {
        OffsetCheckpoint { disk, path: log_dir.join(kind.file_name()), kind, writing: Mutex::new(()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries as they stand in the file; if a partition is there twice, the later one counts.
    pub fn read(&self) -> Result<Vec<(TopicPartition, Offset)>, CheckpointError> {
        lines::read(&*self.disk, &self.path, self.kind.remedy(), |fields| match fields {
            [topic, partition, offset] => {
                Some((TopicPartition::new(*topic, partition.parse().ok()?), Offset(offset.parse().ok()?)))
            }
            _ => None,
        })
    }

    /// Replaces all entries, durably.
    pub fn write<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a TopicPartition, Offset), IntoIter: ExactSizeIterator>,
    ) -> Result<(), CheckpointError> {
        let _turn = self.writing.lock();
        let lines = entries.into_iter().map(|(partition, offset)| Line(partition, offset));
        lines::write(&*self.disk, &self.path, lines)
    }
}
