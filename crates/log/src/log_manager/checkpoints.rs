//! The checkpoints of each log directory: recovery points, log start offsets, high watermarks.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use ottla_types::{Offset, TopicPartition};
use tracing::warn;

use super::LogManager;
use super::dirs::LogDir;
use crate::checkpoint::{CheckpointError, OffsetCheckpoint};
use crate::recovery::OFFSET_MAX;
use crate::unified_log::UnifiedLog;

pub(super) type LogsOfDir = BTreeMap<TopicPartition, Arc<UnifiedLog>>;

impl LogManager {
    pub fn checkpoint_recovery_points(&self) {
        self.checkpoint(LogManager::all_logs, write_recovery_points);
    }

    pub fn checkpoint_log_start_offsets(&self) {
        self.checkpoint(LogManager::all_logs, write_log_start_offsets);
    }

    pub fn checkpoint_high_watermarks(&self) {
        self.checkpoint(LogManager::logs, write_high_watermarks);
    }

    /// After something was taken from, or moved in, one directory.
    pub(super) fn checkpoint_dir(&self, path: &Path) {
        if let Some(dir) = self.online(path).filter(|dir| dir.takes_checkpoints()) {
            let _turn = dir.checkpointing.lock();
            let logs = logs_of(dir, self.all_logs());
            self.report(dir, write_recovery_points(dir, &logs));
            self.report(dir, write_log_start_offsets(dir, &logs));
        }
    }

    fn checkpoint(
        &self,
        logs: impl Fn(&LogManager) -> Vec<Arc<UnifiedLog>>,
        write: impl Fn(&LogDir, &LogsOfDir) -> Result<(), CheckpointError>,
    ) {
        for dir in self.dirs.iter().filter(|dir| dir.takes_checkpoints()) {
            let _turn = dir.checkpointing.lock();
            self.report(dir, write(dir, &logs_of(dir, logs(self))));
        }
    }

    /// All three, for the last time. False: not all could be written.
    pub(super) fn checkpoint_all_in(&self, dir: &LogDir, logs: &LogsOfDir) -> bool {
        let _turn = dir.checkpointing.lock();
        [write_recovery_points, write_log_start_offsets, write_high_watermarks]
            .into_iter()
            .all(|write| self.report(dir, write(dir, logs)))
    }

    fn report(&self, dir: &LogDir, written: Result<(), CheckpointError>) -> bool {
        match written {
            Ok(()) => true,
            Err(error) => {
                self.context.storage_error(&dir.path, "writing a checkpoint", error.into());
                false
            }
        }
    }
}

pub(super) fn by_partition(logs: &[Arc<UnifiedLog>]) -> LogsOfDir {
    logs.iter().map(|log| (log.partition().clone(), Arc::clone(log))).collect()
}

fn logs_of(dir: &LogDir, mut logs: Vec<Arc<UnifiedLog>>) -> LogsOfDir {
    logs.retain(|log| log.log_dir() == dir.path);
    by_partition(&logs)
}

fn write_recovery_points(dir: &LogDir, logs: &LogsOfDir) -> Result<(), CheckpointError> {
    let entries: Vec<_> = logs.iter().map(|(partition, log)| (partition, log.recovery_point())).collect();
    dir.recovery_points.write(entries)
}

/// Where the first segment starts need not be said.
fn write_log_start_offsets(dir: &LogDir, logs: &LogsOfDir) -> Result<(), CheckpointError> {
    let entries: Vec<_> = logs
        .iter()
        .map(|(partition, log)| (partition, log.log_start_offset(), log))
        .filter(|(_, start, log)| log.segments().first().is_none_or(|first| *start > first.base_offset()))
        .map(|(partition, start, _)| (partition, start))
        .collect();
    dir.log_start_offsets.write(entries)
}

fn write_high_watermarks(dir: &LogDir, logs: &LogsOfDir) -> Result<(), CheckpointError> {
    let entries: Vec<_> = logs.iter().map(|(partition, log)| (partition, log.high_watermark())).collect();
    dir.high_watermarks.write(entries)
}

const OFFSETS: RangeInclusive<Offset> = Offset::ZERO..=OFFSET_MAX;

/// The entries of a checkpoint. One that makes no sense is passed over, and a file that makes none counts as empty, which is
/// safe for each of them.
pub(super) fn read(checkpoint: &OffsetCheckpoint) -> std::io::Result<BTreeMap<TopicPartition, Offset>> {
    let makes_sense = |(partition, offset): &(TopicPartition, Offset)| {
        let makes_sense = OFFSETS.contains(offset);
        if !makes_sense {
            warn!(path = %checkpoint.path().display(), %partition, %offset, "no offset of a log: passed over");
        }
        makes_sense
    };
    match checkpoint.read() {
        Ok(entries) => Ok(entries.into_iter().filter(makes_sense).collect()),
        Err(error) if error.is_corrupt() => {
            warn!("a checkpoint is passed over: {error}");
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error.into()),
    }
}
