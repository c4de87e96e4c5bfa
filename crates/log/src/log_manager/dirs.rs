//! Log directories, online and offline.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_types::{TopicPartition, Uuid};
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::{LogManager, Logs};
use crate::checkpoint::{OffsetCheckpoint, OffsetCheckpointKind};
use crate::cleaner::CleanerManager;
use crate::context::{LogContext, LogDirFailure};
use crate::meta_properties::MetaProperties;
use crate::unified_log::UnifiedLog;

/// One entry of `log.dirs`.
#[derive(Debug)]
pub(super) struct LogDir {
    pub path: PathBuf,
    /// From `meta.properties` (KIP-858).
    pub id: Option<Uuid>,
    is_online: AtomicBool,
    /// Its logs have all been loaded: closing them again leaves it clean, and a checkpoint leaves none of them out.
    pub is_loaded: AtomicBool,
    pub recovery_points: OffsetCheckpoint,
    pub log_start_offsets: OffsetCheckpoint,
    pub high_watermarks: OffsetCheckpoint,
    /// Held from the look at the logs until what was seen is written: one who looked before another must not write after it.
    pub checkpointing: Mutex<()>,
}

impl LogDir {
    /// A directory that can not be opened is offline from the start, and reported.
    pub fn open(context: &LogContext, cleaner: &CleanerManager, path: &Path) -> LogDir {
        let checkpoint = |kind| OffsetCheckpoint::new(Arc::clone(&context.disk), path, kind);
        let opened = open(context, cleaner, path);
        let is_online = opened.is_ok();
        let id = opened.unwrap_or_else(|error| {
            context.dir_failed(path, "opening it", error);
            None
        });
        LogDir {
            path: path.to_owned(),
            id,
            is_online: AtomicBool::new(is_online),
            is_loaded: AtomicBool::new(false),
            recovery_points: checkpoint(OffsetCheckpointKind::RecoveryPoint),
            log_start_offsets: checkpoint(OffsetCheckpointKind::LogStartOffset),
            high_watermarks: checkpoint(OffsetCheckpointKind::Replication),
            checkpointing: Mutex::default(),
        }
    }

    pub fn is_online(&self) -> bool {
        self.is_online.load(Ordering::Acquire)
    }

    /// Nothing is made in it any more, and its checkpoints stay as they are.
    pub fn go_offline(&self) {
        self.is_online.store(false, Ordering::Release);
    }

    /// Until its logs are loaded, what its checkpoints say of them is known from the files alone.
    pub fn takes_checkpoints(&self) -> bool {
        self.is_online() && self.is_loaded.load(Ordering::Acquire)
    }
}

fn open(context: &LogContext, cleaner: &CleanerManager, path: &Path) -> io::Result<Option<Uuid>> {
    if !context.disk.exists(path)? {
        info!(dir = %path.display(), "making a log directory");
        context.disk.create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            context.disk.sync_dir(parent)?;
        }
    }
    context.disk.read_dir(path)?;
    match cleaner.add_dir(path) {
        Err(error) if error.is_corrupt() => error!("nothing is compacted in {}: {error}", path.display()),
        added => added?,
    }
    let properties = MetaProperties::read(&*context.disk, path).map_err(io::Error::other)?;
    Ok(properties.and_then(|properties| properties.directory_id))
}

/// A log directory went offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirFailed {
    pub dir: PathBuf,
    pub dir_id: Option<Uuid>,
    /// Partitions whose current log was there.
    pub partitions: Vec<TopicPartition>,
    /// Partitions that were moving there.
    pub future_partitions: Vec<TopicPartition>,
    /// What was being done there, and what came of it.
    pub why: String,
}

impl LogManager {
    pub fn online_dirs(&self) -> Vec<PathBuf> {
        self.dirs.iter().filter(|dir| dir.is_online()).map(|dir| dir.path.clone()).collect()
    }

    pub fn offline_dirs(&self) -> Vec<PathBuf> {
        self.dirs.iter().filter(|dir| !dir.is_online()).map(|dir| dir.path.clone()).collect()
    }

    /// Without any directory left a broker has nothing to do.
    pub fn has_online_dir(&self) -> bool {
        self.dirs.iter().any(LogDir::is_online)
    }

    /// The id of a directory that is online.
    pub fn dir_id(&self, path: &Path) -> Option<Uuid> {
        self.online(path)?.id
    }

    /// The directory that is online and has this id.
    pub fn dir_of_id(&self, id: Uuid) -> Option<PathBuf> {
        self.dirs.iter().find(|dir| dir.is_online() && dir.id == Some(id)).map(|dir| dir.path.clone())
    }

    /// Ids of the directories that are online.
    pub fn online_dir_ids(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_online()).filter_map(|dir| dir.id).collect()
    }

    pub(super) fn online(&self, path: &Path) -> Option<&LogDir> {
        self.dirs.iter().find(|dir| dir.path == path && dir.is_online())
    }

    /// Takes the directories offline that were reported to have failed, with all that is in them.
    pub fn take_failed_dirs_offline(&self) -> Vec<DirFailed> {
        let failures = self.context.failures.to_act_on();
        let take_offline = |failure: &LogDirFailure| {
            let failed = self.take_offline(failure);
            self.context.failures.acted_on(&failure.dir);
            failed
        };
        failures.iter().map(take_offline).collect()
    }

    /// While a directory was taken offline logs of it may still have been loaded by other threads.
    pub(super) fn let_go_of_offline_dirs(&self) {
        let _changing = self.changing.lock();
        for dir in self.dirs.iter().filter(|dir| !dir.is_online()) {
            for logs in [&self.current, &self.future] {
                remove_logs_in(logs, &dir.path);
            }
        }
    }

    fn take_offline(&self, failure: &LogDirFailure) -> DirFailed {
        let path = failure.dir.as_path();
        let why = format!("{}: {}", failure.doing, failure.source);
        let _changing = self.changing.lock();
        let Some(dir) = self.dirs.iter().find(|dir| dir.path == path) else {
            // The metadata log's own.
            return DirFailed {
                dir: path.to_owned(),
                dir_id: None,
                partitions: Vec::new(),
                future_partitions: Vec::new(),
                why,
            };
        };
        // One that never was online is news too, the first time.
        dir.go_offline();
        self.cleaner.remove_dir(path);
        let failed = DirFailed {
            dir: path.to_owned(),
            dir_id: dir.id,
            partitions: remove_logs_in(&self.current, path),
            future_partitions: remove_logs_in(&self.future, path),
            why,
        };
        warn!(dir = %path.display(), partitions = failed.partitions.len(), "a log directory is offline");
        failed
    }
}

fn remove_logs_in(logs: &Logs, dir: &Path) -> Vec<TopicPartition> {
    let mut logs = logs.write();
    let (offline, online): (BTreeMap<_, Arc<UnifiedLog>>, _) =
        std::mem::take(&mut *logs).into_iter().partition(|(_, log)| log.log_dir() == dir);
    *logs = online;
    offline
        .into_iter()
        .map(|(partition, log)| {
            log.abandon();
            partition
        })
        .collect()
}
