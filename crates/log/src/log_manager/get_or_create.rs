//! Making the logs of new partitions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ottla_types::{Now, Offset, TopicPartition, Uuid};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::LogManager;
use crate::error::{OpenError, StorageError};
use crate::log_config::LogConfig;
use crate::names::{DirState, dir_name, marked_dir_name};
use crate::unified_log::{OpenLog, UnifiedLog};

/// Logs that one more thread is worth while for.
const LOGS_PER_THREAD: usize = 64;
/// Threads that make logs at once. They wait for the disk, which does for several at a time what it does for one.
const THREADS_MAX: usize = 16;

/// The log that a partition shall have.
#[derive(Clone, Debug)]
pub struct CreateLog {
    pub partition: TopicPartition,
    pub topic_id: Option<Uuid>,
    pub config: Arc<LogConfig>,
    /// The partition was never here. Otherwise its log may lie in a directory that is offline, and making another one
    /// would lose it.
    pub is_new: bool,
    /// Where the controller, or an administrator, wants it (KIP-858, KIP-113).
    pub dir: Option<PathBuf>,
}

impl LogManager {
    /// The log of a partition; made if there is none, in the directory that is wanted, or in the one with the fewest logs.
    pub fn get_or_create(&self, create: &CreateLog, now: Now) -> Result<Arc<UnifiedLog>, OpenError> {
        let _changing = self.changing.lock();
        let log = match self.log(&create.partition) {
            Some(log) => log,
            None => self.create_durably(create, &dir_name(&create.partition), now)?,
        };
        if let Some(topic_id) = create.topic_id {
            log.assign_topic_id(topic_id)?;
        }
        self.current.write().insert(create.partition.clone(), Arc::clone(&log));
        Ok(log)
    }

    /// Makes the logs of many new partitions, several at once, since each has to wait for the disk. What can't be made is
    /// left out: [`LogManager::get_or_create`] says why.
    pub fn create_missing(&self, mut missing: Vec<CreateLog>, now: Now) {
        let _changing = self.changing.lock();
        missing.retain(|create| self.log(&create.partition).is_none());
        let threads = (missing.len() / LOGS_PER_THREAD).min(THREADS_MAX);
        if threads < 2 {
            return;
        }
        self.spread(&mut missing);
        let (next, dirs) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(create) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let Ok(log) = self.create(create, &dir_name(&create.partition), now) else {
                            continue;
                        };
                        dirs.lock().insert(log.log_dir());
                        self.current.write().insert(create.partition.clone(), log);
                    }
                });
            }
        });
        for dir in dirs.into_inner() {
            // What goes wrong has been reported.
            let _ = self.sync_dir(&dir);
        }
        info!(logs = missing.len(), "made logs");
    }

    /// Chooses directories for the logs that may lie in any.
    fn spread(&self, creates: &mut [CreateLog]) {
        let mut dirs: Vec<(usize, PathBuf)> = self.online_dirs().into_iter().map(|dir| (0, dir)).collect();
        if dirs.len() < 2 {
            return;
        }
        for log in self.all_logs() {
            let log_dir = log.log_dir();
            dirs.iter_mut().filter(|(_, dir)| *dir == log_dir).for_each(|(logs, _)| *logs += 1);
        }
        for create in creates.iter_mut().filter(|create| create.dir.is_none()) {
            if let Some((logs, dir)) = dirs.iter_mut().min_by_key(|(logs, _)| *logs) {
                *logs += 1;
                create.dir = Some(dir.clone());
            }
        }
    }

    /// The log that a partition moves to, in `create.dir`. `unique` is random.
    pub fn get_or_create_future(
        &self,
        create: &CreateLog,
        unique: Uuid,
        now: Now,
    ) -> Result<Arc<UnifiedLog>, OpenError> {
        let _changing = self.changing.lock();
        if let Some(log) = self.future_log(&create.partition) {
            return Ok(log);
        }
        let current_dir = self.log(&create.partition).map(|log| log.log_dir());
        if create.dir.is_none() || create.dir == current_dir {
            return Err(OpenError::NoDir { partition: create.partition.clone() });
        }
        let name = marked_dir_name(&create.partition, DirState::Future, unique);
        let log = self.create_durably(create, &name, now)?;
        if let Some(topic_id) = create.topic_id {
            log.assign_topic_id(topic_id)?;
        }
        self.future.write().insert(create.partition.clone(), Arc::clone(&log));
        Ok(log)
    }

    fn create_durably(&self, create: &CreateLog, name: &str, now: Now) -> Result<Arc<UnifiedLog>, OpenError> {
        let log = self.create(create, name, now)?;
        self.sync_dir(&log.log_dir())?;
        info!(partition = %create.partition, dir = %log.dir().display(), "made a log");
        Ok(log)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), StorageError> {
        let synced = self.context.disk.sync_dir(dir);
        synced.map_err(|error| self.context.storage_error(dir, "making a partition's directory", error))
    }

    /// Without making the directory's name durable.
    fn create(&self, create: &CreateLog, name: &str, now: Now) -> Result<Arc<UnifiedLog>, OpenError> {
        let offline = self.offline_dirs();
        if !create.is_new && !offline.is_empty() {
            return Err(OpenError::DirsOffline { partition: create.partition.clone(), offline });
        }
        let dirs = match &create.dir {
            Some(dir) => self.online(dir).map(|dir| dir.path.clone()).into_iter().collect(),
            None => self.dirs_by_load(),
        };
        let mut refused = OpenError::NoDir { partition: create.partition.clone() };
        for dir in dirs {
            match self.create_in(&dir, create, name, now) {
                Ok(log) => return Ok(log),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn create_in(
        &self,
        dir: &Path,
        create: &CreateLog,
        name: &str,
        now: Now,
    ) -> Result<Arc<UnifiedLog>, OpenError> {
        let path = dir.join(name);
        let disk = &self.context.disk;
        let failed = |error| -> StorageError {
            self.context.storage_error(dir, "making a partition's directory", error)
        };
        let was_there = disk.exists(&path).map_err(failed)?;
        disk.create_dir_all(&path).map_err(failed)?;
        let params = OpenLog {
            context: Arc::clone(&self.context),
            dir: path.clone(),
            partition: create.partition.clone(),
            config: Arc::clone(&create.config),
            log_start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            had_clean_shutdown: true,
            topic_id: create.topic_id,
        };
        let opened = UnifiedLog::open(params, now);
        if opened.is_err() && !was_there {
            // Half a log in its place would be in the way of a whole one, which may be made in another directory: the next start
            // would find two. Where it can't be removed the directory has failed, or will.
            if let Err(error) = disk.remove_dir_all(&path) {
                warn!(dir = %path.display(), %error, "what was made of a log stays");
            }
        }
        opened
    }

    /// The directories that are online, those with the fewest logs first.
    fn dirs_by_load(&self) -> Vec<PathBuf> {
        let mut dirs = self.online_dirs();
        if dirs.len() > 1 {
            let used: Vec<PathBuf> = self.all_logs().iter().map(|log| log.log_dir()).collect();
            dirs.sort_by_key(|dir| used.iter().filter(|used| *used == dir).count());
        }
        dirs
    }
}
