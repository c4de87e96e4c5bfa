//! Loading all logs when a broker starts.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ottla_types::{METADATA_TOPIC, Now, Offset, TopicPartition, Uuid};
use parking_lot::Mutex;
use thiserror::Error;
use tracing::{debug, info, warn};

use super::dirs::LogDir;
use super::{LogManager, Logs, TopicConfigs, checkpoints};
use crate::clean_shutdown;
use crate::error::{OpenError, StorageError};
use crate::names::{self, DirState, PartitionDirName, PartitionDirNameError};
use crate::unified_log::{OpenLog, UnifiedLog};

/// What fails where a log of the directory can't be loaded.
const LOADING: &str = "loading its logs";
/// Progress is told after so many logs that need no recovery, and after each that does.
const LOGS_PER_MESSAGE: usize = 1000;

/// Why the logs could not be loaded; directories that fail are no reason.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("in log directory {}: {source}", dir.display())]
    DirName { dir: PathBuf, source: PartitionDirNameError },
    #[error(transparent)]
    Log(#[from] OpenError),
}

/// How far loading has come.
#[derive(Debug, Default)]
pub struct LoadProgress {
    logs: AtomicUsize,
    loaded: AtomicUsize,
}

impl LoadProgress {
    /// Found so far.
    pub fn logs(&self) -> usize {
        self.logs.load(Ordering::Relaxed)
    }

    pub fn loaded(&self) -> usize {
        self.loaded.load(Ordering::Relaxed)
    }
}

/// A log directory's partitions and what its checkpoints say of them.
struct DirToLoad<'a> {
    dir: &'a LogDir,
    had_clean_shutdown: bool,
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_start_offsets: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    logs: Vec<LogToLoad>,
}

struct LogToLoad {
    path: PathBuf,
    name: PartitionDirName,
}

impl LogManager {
    /// Loads the logs of all directories, several at once. Those of a directory that was not left clean are recovered.
    ///
    /// The mark of a clean stop is removed first: a crash from then on is seen.
    pub fn load(
        &self,
        configs: &TopicConfigs<'_>,
        progress: &LoadProgress,
        now: Now,
    ) -> Result<(), LoadError> {
        let mut to_load = Vec::new();
        for dir in self.dirs.iter().filter(|dir| dir.is_online()) {
            match self.look_into(dir, now) {
                Ok(found) => to_load.push(found?),
                Err(error) => drop(self.context.dir_failed(&dir.path, LOADING, error)),
            }
        }
        progress.logs.store(to_load.iter().map(|dir| dir.logs.len()).sum(), Ordering::Relaxed);
        let fatal = Mutex::new(None);
        let threads = self.config.read().recovery_threads_per_dir.max(1);
        thread::scope(|scope| {
            for dir in &to_load {
                let next = Arc::new(AtomicUsize::new(0));
                for _ in 0..threads.min(dir.logs.len()) {
                    let (next, fatal) = (Arc::clone(&next), &fatal);
                    scope.spawn(move || self.load_some(dir, &next, configs, progress, fatal, now));
                }
            }
        });
        if let Some(error) = fatal.into_inner() {
            return Err(error);
        }
        // At once, before anybody takes note: a log that could not be loaded must be made anew nowhere, and what the
        // checkpoints say of it is needed when the directory is back.
        self.dirs.iter().filter(|dir| self.context.failures.contains(&dir.path)).for_each(LogDir::go_offline);
        self.let_go_of_offline_dirs();
        for dir in to_load.iter().filter(|dir| dir.dir.is_online()) {
            dir.dir.is_loaded.store(true, Ordering::Release);
            let here = |log: &Arc<UnifiedLog>| log.log_dir() == dir.dir.path;
            let logs = self.logs().into_iter().filter(here).map(|log| log.partition().clone());
            if self.context.failures.is_empty() {
                self.cleaner.forget_absent(&dir.dir.path, &logs.collect());
            }
        }
        info!(logs = progress.loaded(), "loaded all logs");
        Ok(())
    }

    fn look_into<'a>(&self, dir: &'a LogDir, now: Now) -> io::Result<Result<DirToLoad<'a>, LoadError>> {
        let disk = &*self.context.disk;
        let had_clean_shutdown = clean_shutdown::read(disk, &dir.path)?.is_some();
        let mut found = DirToLoad {
            dir,
            had_clean_shutdown,
            recovery_points: checkpoints::read(&dir.recovery_points)?,
            log_start_offsets: checkpoints::read(&dir.log_start_offsets)?,
            high_watermarks: checkpoints::read(&dir.high_watermarks)?,
            logs: Vec::new(),
        };
        for entry in disk.read_dir(&dir.path)? {
            if !entry.is_dir || entry.name == names::REMOTE_LOG_INDEX_CACHE {
                continue;
            }
            let name = match PartitionDirName::parse(&entry.name) {
                Ok(name) => name,
                Err(source) => return Ok(Err(LoadError::DirName { dir: dir.path.clone(), source })),
            };
            let path = dir.path.join(&entry.name);
            match name.state {
                DirState::Delete => self.doom(path, now),
                DirState::Stray => warn!(dir = %path.display(), "a stray log is left alone"),
                // It belongs to Raft.
                DirState::Live | DirState::Future if &*name.partition.topic == METADATA_TOPIC => {}
                DirState::Live | DirState::Future => found.logs.push(LogToLoad { path, name }),
            }
        }
        found.logs.sort_by(|a, b| a.path.cmp(&b.path));
        if had_clean_shutdown {
            clean_shutdown::remove(disk, &dir.path)?;
        }
        info!(dir = %dir.path.display(), logs = found.logs.len(), had_clean_shutdown, "loading logs");
        Ok(Ok(found))
    }

    /// What one thread does: it takes logs one after another until there are no more.
    fn load_some(
        &self,
        dir: &DirToLoad<'_>,
        next: &AtomicUsize,
        configs: &TopicConfigs<'_>,
        progress: &LoadProgress,
        fatal: &Mutex<Option<LoadError>>,
        now: Now,
    ) {
        while let Some(to_load) = dir.logs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let log = match self.load_log(dir, to_load, configs, now) {
                Ok(log) => log,
                // This directory's alone: without one of its logs it can't be used.
                Err(OpenError::Storage(error)) => {
                    debug!(dir = %to_load.path.display(), "not loaded: {error}");
                    if !matches!(error, StorageError::DirFailed { .. }) {
                        self.context.dir_failed(&dir.dir.path, LOADING, io::Error::other(error));
                    }
                    return;
                }
                Err(error) => {
                    fatal.lock().get_or_insert(error.into());
                    return;
                }
            };
            let loaded = progress.loaded.fetch_add(1, Ordering::Relaxed) + 1;
            if !dir.had_clean_shutdown {
                info!(partition = %log.partition(), segments = log.segments().len(),
                    log_start_offset = %log.log_start_offset(), log_end_offset = %log.log_end_offset(),
                    loaded, of = progress.logs(), "recovered a log");
            } else if loaded.is_multiple_of(LOGS_PER_MESSAGE) {
                info!(loaded, of = progress.logs(), "loading logs");
            }
        }
    }

    fn load_log(
        &self,
        dir: &DirToLoad<'_>,
        log: &LogToLoad,
        configs: &TopicConfigs<'_>,
        now: Now,
    ) -> Result<Arc<UnifiedLog>, OpenError> {
        let partition = &log.name.partition;
        let offset =
            |of: &BTreeMap<TopicPartition, Offset>| of.get(partition).copied().unwrap_or(Offset::ZERO);
        let params = OpenLog {
            context: Arc::clone(&self.context),
            dir: log.path.clone(),
            partition: partition.clone(),
            config: configs(&partition.topic),
            log_start_offset: offset(&dir.log_start_offsets),
            recovery_point: offset(&dir.recovery_points),
            had_clean_shutdown: dir.had_clean_shutdown,
            topic_id: None,
        };
        let loaded = UnifiedLog::open(params, now)?;
        let is_future = log.name.state == DirState::Future;
        if !is_future {
            loaded.resume_at_high_watermark(offset(&dir.high_watermarks), now)?;
        }
        let logs = if is_future { &self.future } else { &self.current };
        let other = logs.write().insert(partition.clone(), Arc::clone(&loaded));
        if let Some(other) = other {
            self.keep_one(logs, &other, &loaded, now)?;
        }
        Ok(loaded)
    }

    /// Two directories hold a partition: a move between them had given the copy its name when the process ended, or the disk
    /// failed, and not yet taken it from the log that was moved. What was written last is the partition's, and the other is set
    /// aside. (Apache Kafka does not start then.) An error: the second one's directory can't be used.
    fn keep_one(
        &self,
        logs: &Logs,
        first: &Arc<UnifiedLog>,
        second: &Arc<UnifiedLog>,
        now: Now,
    ) -> Result<(), StorageError> {
        let reaches = |log: &UnifiedLog| (log.latest_epoch(), log.log_end_offset());
        let is_first_kept = reaches(first) > reaches(second);
        let (kept, aside) = if is_first_kept { (first, second) } else { (second, first) };
        logs.write().insert(kept.partition().clone(), Arc::clone(kept));
        warn!(partition = %kept.partition(), kept = %kept.dir().display(), end = %kept.log_end_offset(),
            other = %aside.dir().display(), other_end = %aside.log_end_offset(), "two directories hold a partition");
        let dir = aside.log_dir();
        let set_aside = self.retire_log(aside, DirState::Stray, id_of(now), now).and_then(|()| {
            self.context.disk.sync_dir(&dir).map_err(|error| self.context.storage_error(&dir, LOADING, error))
        });
        match set_aside {
            // Its directory is offline, or it is set aside with the next start.
            Err(error) if !is_first_kept => {
                warn!(dir = %dir.display(), "a log that is not used could not be set aside: {error}");
                Ok(())
            }
            set_aside => set_aside,
        }
    }
}

/// For the name of a log that is set aside: no start before this one had the same time.
fn id_of(now: Now) -> Uuid {
    let (wall, mono) = (now.wall.value().to_be_bytes(), now.mono.0.to_be_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(wall.into_iter().chain(mono)).for_each(|(to, from)| *to = from);
    Uuid(id)
}
