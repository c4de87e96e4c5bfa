//! Deleting the logs of partitions, and putting a future log in a current one's place.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{MonoMs, Now, TopicPartition, Uuid};
use tracing::{info, warn};

use super::{LogManager, Logs};
use crate::error::StorageError;
use crate::names::{DirState, dir_name, marked_dir_name};
use crate::unified_log::UnifiedLog;

const RENAMING: &str = "making new names of partitions' directories durable";

/// A directory whose partition was deleted.
#[derive(Debug)]
pub(super) struct DoomedDir {
    path: PathBuf,
    since: MonoMs,
}

/// Directories in which names have changed, and are not known to be on disk.
type Renamed = BTreeSet<PathBuf>;

impl LogManager {
    /// Deletes the log of a partition, and the one that it was moving to: the directory gets another name at once and is
    /// removed later. `unique` is random. Returns the log, which is closed. None: there is none.
    pub fn delete(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
        now: Now,
    ) -> Result<Option<Arc<UnifiedLog>>, StorageError> {
        let _changing = self.changing.lock();
        let mut renamed = Renamed::new();
        let deleted = self.delete_unlocked(partition, unique, &mut renamed, now);
        self.settle(&renamed)?;
        deleted
    }

    /// As [`LogManager::delete`] for each, with one sync and one checkpoint a directory for all; returns what failed.
    pub fn delete_all(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, Uuid)>,
        now: Now,
    ) -> Vec<(TopicPartition, StorageError)> {
        let _changing = self.changing.lock();
        let (mut renamed, mut failed) = (Renamed::new(), Vec::new());
        for (partition, unique) in partitions {
            if let Err(error) = self.delete_unlocked(&partition, unique, &mut renamed, now) {
                failed.push((partition, error));
            }
        }
        // A directory that fails has been reported, and goes offline with all that it has.
        let _ = self.settle(&renamed);
        failed
    }

    /// Deletes the log that a partition was moving to, if there is one.
    pub fn delete_future(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
        now: Now,
    ) -> Result<(), StorageError> {
        let _changing = self.changing.lock();
        let mut renamed = Renamed::new();
        let deleted = self.retire(&self.future, partition, DirState::Delete, unique, &mut renamed, now);
        self.settle(&renamed)?;
        deleted.map(drop)
    }

    fn delete_unlocked(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
        renamed: &mut Renamed,
        now: Now,
    ) -> Result<Option<Arc<UnifiedLog>>, StorageError> {
        self.retire(&self.future, partition, DirState::Delete, unique, renamed, now)?;
        self.retire(&self.current, partition, DirState::Delete, unique, renamed, now)
    }

    /// Sets aside a log that the metadata does not know, and the one that it was moving to: they are out of use, and kept.
    pub fn set_aside_stray(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
        now: Now,
    ) -> Result<Option<Arc<UnifiedLog>>, StorageError> {
        let _changing = self.changing.lock();
        let mut renamed = Renamed::new();
        let mut set_aside = |logs| self.retire(logs, partition, DirState::Stray, unique, &mut renamed, now);
        let (copy, stray) = (set_aside(&self.future), set_aside(&self.current));
        self.settle(&renamed)?;
        Ok(stray?.or(copy?))
    }

    /// Makes the new names durable, then writes checkpoints of what is left.
    fn settle(&self, renamed: &Renamed) -> Result<(), StorageError> {
        let mut settled = Ok(());
        for dir in renamed {
            match self.context.disk.sync_dir(dir) {
                Ok(()) => self.checkpoint_dir(dir),
                Err(error) => settled = Err(self.context.storage_error(dir, RENAMING, error)),
            }
        }
        settled
    }

    /// By who changes the logs, and settles what was renamed.
    fn retire(
        &self,
        logs: &Logs,
        partition: &TopicPartition,
        state: DirState,
        unique: Uuid,
        renamed: &mut Renamed,
        now: Now,
    ) -> Result<Option<Arc<UnifiedLog>>, StorageError> {
        let Some(log) = logs.write().remove(partition) else { return Ok(None) };
        let is_current = std::ptr::eq(logs, &self.current);
        if is_current {
            self.cleaner.abort(partition);
        }
        let retired = self.retire_log(&log, state, unique, now);
        if is_current {
            // A cleaner that had listed the log before may have begun with it until it was closed.
            self.cleaner.forget(&log.log_dir(), partition);
        }
        retired?;
        renamed.insert(log.log_dir());
        Ok(Some(log))
    }

    pub(super) fn retire_log(
        &self,
        log: &UnifiedLog,
        state: DirState,
        unique: Uuid,
        now: Now,
    ) -> Result<(), StorageError> {
        if state == DirState::Stray {
            log.close(now)?;
        } else {
            log.abandon();
        }
        log.rename_dir(&marked_dir_name(log.partition(), state, unique))?;
        let dir = log.dir();
        if state == DirState::Stray {
            warn!(partition = %log.partition(), dir = %dir.display(), "a stray log is set aside");
        } else {
            info!(partition = %log.partition(), dir = %dir.display(), "a log is to be deleted");
            self.doom(dir.to_path_buf(), now);
        }
        Ok(())
    }

    /// The log that a partition was moving to becomes its log; the old one is deleted.
    pub fn replace_current_with_future(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
        now: Now,
    ) -> Result<Option<Arc<UnifiedLog>>, StorageError> {
        let _changing = self.changing.lock();
        let Some(future) = self.future_log(partition) else { return Ok(None) };
        self.cleaner.abort_and_pause(partition);
        let mut renamed = Renamed::new();
        let replaced = self.replace_current(partition, &future, unique, &mut renamed, now);
        let settled = self.settle(&renamed);
        self.cleaner.resume(partition);
        replaced.and(settled).map(|()| Some(future))
    }

    /// A process before this one has ended when the log that a partition was moving to, in `dir`, was to take the place of one that
    /// is not there any more: then this is the partition's log.
    pub fn take_up_abandoned_future(
        &self,
        partition: &TopicPartition,
        dir: Option<&Path>,
        unique: Uuid,
        now: Now,
    ) -> Result<(), StorageError> {
        let is_in_dir = |future: Arc<UnifiedLog>| Some(future.log_dir().as_path()) == dir;
        if self.log(partition).is_some() || !self.future_log(partition).is_some_and(is_in_dir) {
            return Ok(());
        }
        let taken = self.replace_current_with_future(partition, unique, now)?;
        if let Some(log) = taken {
            warn!(%partition, dir = %log.dir().display(), end = %log.log_end_offset(),
                "took up the log that the partition was moving to: the one it was moving from is gone");
        }
        Ok(())
    }

    fn replace_current(
        &self,
        partition: &TopicPartition,
        future: &Arc<UnifiedLog>,
        unique: Uuid,
        renamed: &mut Renamed,
        now: Now,
    ) -> Result<(), StorageError> {
        future.rename_dir(&dir_name(partition))?;
        renamed.insert(future.log_dir());
        self.future.write().remove(partition);
        let old = self.current.write().insert(partition.clone(), Arc::clone(future));
        if let Some(old) = old {
            future.resume_at_high_watermark(old.high_watermark(), now)?;
            self.cleaner.move_dir(partition, &old.log_dir(), &future.log_dir());
            self.retire_log(&old, DirState::Delete, unique, now)?;
            renamed.insert(old.log_dir());
        }
        Ok(())
    }

    pub(super) fn doom(&self, path: PathBuf, now: Now) {
        self.doomed.lock().push(DoomedDir { path, since: now.mono });
        self.context.wake_at(now.mono.plus_ms(self.config.read().delete_delay_ms));
    }

    /// When the next directory is to be removed.
    pub(super) fn next_removal(&self) -> Option<MonoMs> {
        let delay_ms = self.config.read().delete_delay_ms;
        self.doomed.lock().iter().map(|dir| dir.since.plus_ms(delay_ms)).min()
    }

    /// Removes the directories of partitions that were deleted `log.segment.delete.delay.ms` ago; returns how many.
    pub fn remove_deleted(&self, now: Now) -> usize {
        let delay_ms = self.config.read().delete_delay_ms;
        let due: Vec<DoomedDir> = {
            let mut doomed = self.doomed.lock();
            let all = std::mem::take(&mut *doomed);
            let (due, later) = all.into_iter().partition(|dir| dir.since.plus_ms(delay_ms) <= now.mono);
            *doomed = later;
            due
        };
        for dir in &due {
            self.remove_doomed(dir, now);
        }
        due.len()
    }

    fn remove_doomed(&self, doomed: &DoomedDir, now: Now) {
        let path = &doomed.path;
        let Some(log_dir) = path.parent().and_then(|parent| self.online(parent)) else { return };
        match self.context.disk.remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let doing = "deleting a partition's directory";
                if let StorageError::OutOfFiles { .. } =
                    self.context.storage_error(&log_dir.path, doing, error)
                {
                    self.doom(path.clone(), now);
                }
            }
            _ => info!(dir = %path.display(), "a deleted log is removed"),
        }
    }

    /// Directories that wait for their removal.
    pub fn deleted_waiting(&self) -> usize {
        self.doomed.lock().len()
    }
}
