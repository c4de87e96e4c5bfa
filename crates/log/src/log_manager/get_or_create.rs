//! Making the logs of new partitions.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{Now, Offset, TopicPartition, Uuid};
use tracing::info;

use super::LogManager;
use crate::error::{OpenError, StorageError};
use crate::log_config::LogConfig;
use crate::names::{DirState, dir_name, marked_dir_name};
use crate::unified_log::{OpenLog, UnifiedLog};

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
            None => self.create(create, &dir_name(&create.partition), now)?,
        };
        if let Some(topic_id) = create.topic_id {
            log.assign_topic_id(topic_id)?;
        }
        self.current.write().insert(create.partition.clone(), Arc::clone(&log));
        Ok(log)
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
        let log = self.create(create, &name, now)?;
        self.future.write().insert(create.partition.clone(), Arc::clone(&log));
        Ok(log)
    }

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
                Ok(log) => {
                    info!(partition = %create.partition, dir = %log.dir().display(), "made a log");
                    return Ok(log);
                }
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
        let make = || -> io::Result<()> {
            self.context.disk.create_dir_all(&path)?;
            self.context.disk.sync_dir(dir)
        };
        make().map_err(|error| -> StorageError {
            self.context.storage_error(dir, "making a partition's directory", error)
        })?;
        let params = OpenLog {
            context: Arc::clone(&self.context),
            dir: path,
            partition: create.partition.clone(),
            config: Arc::clone(&create.config),
            log_start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            had_clean_shutdown: true,
            topic_id: create.topic_id,
        };
        UnifiedLog::open(params, now)
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
