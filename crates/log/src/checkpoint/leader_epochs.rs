//! Leader epochs of one partition and their start offsets (KIP-101): lines of epoch, start offset.

use std::fmt;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset};

use super::{CheckpointError, lines};
use crate::names;
use crate::partition_dir::PartitionDir;

/// A leader epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

impl fmt::Display for EpochEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.start_offset)
    }
}

/// `leader-epoch-checkpoint` in a partition's directory.
#[derive(Debug)]
pub struct LeaderEpochCheckpoint {
    dir: Arc<PartitionDir>,
}

impl LeaderEpochCheckpoint {
    pub fn new(dir: Arc<PartitionDir>) -> LeaderEpochCheckpoint {
        LeaderEpochCheckpoint { dir }
    }

    pub fn read(&self) -> Result<Vec<EpochEntry>, CheckpointError> {
        const REMEDY: &str = "delete the file: leader epochs are noted again from the next one on";
        let path = self.dir.file(names::LEADER_EPOCH_CHECKPOINT);
        lines::read(&**self.dir.disk(), &path, REMEDY, |fields| match fields {
            [epoch, start_offset] => Some(EpochEntry {
                epoch: LeaderEpoch(epoch.parse().ok()?),
                start_offset: Offset(start_offset.parse().ok()?),
            }),
            _ => None,
        })
    }

    /// Replaces all entries, durably.
    pub fn write(&self, entries: &[EpochEntry]) -> Result<(), CheckpointError> {
        let path = self.dir.file(names::LEADER_EPOCH_CHECKPOINT);
        lines::write(&**self.dir.disk(), &path, entries.iter())
    }
}
