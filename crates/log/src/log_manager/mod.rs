//! All logs of a broker, over its log directories.
//!
//! What always holds: a partition has at most one current log, in one directory (and at most one future one, that moves
//! to another directory). A directory that fails goes offline with its logs and takes nothing else with it. Nothing here
//! runs by itself: the owner of the clock calls [`LogManager::tick`], on a thread where waiting for the disk hurts nobody.
//! Only loading and closing, which have all the logs to go through, use threads of their own while they last.
//!
//! The directories are locked by whoever starts the process ([`crate::dir_lock`]). Compaction has a manager of its own,
//! which is told here of all that happens to logs; its threads are the caller's, who calls [`LogManager::clean_step`].

mod checkpoints;
mod compaction;
mod delete;
mod dirs;
#[cfg(test)]
mod fault_tests;
mod get_or_create;
mod load;
mod maintenance;
mod shutdown;
#[cfg(test)]
mod tests;
mod truncate;

pub use dirs::DirFailed;
pub use get_or_create::CreateLog;
pub use load::{LoadError, LoadProgress};
pub use maintenance::LogManagerEvents;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_types::{Now, TopicPartition};
use parking_lot::{Mutex, RwLock};

use self::delete::DoomedDir;
use self::dirs::LogDir;
use self::maintenance::Schedule;
use crate::cleaner::{CleanerManager, CleanerSettings, IoThrottle};
use crate::context::LogContext;
use crate::disk::Disk;
use crate::log_config::LogConfig;
use crate::producer_state::ProducerStateConfig;
use crate::unified_log::UnifiedLog;

/// Settings of the broker that concern all its logs. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct LogManagerConfig {
    /// `log.dirs`
    pub log_dirs: Vec<PathBuf>,
    /// `num.recovery.threads.per.data.dir`
    pub recovery_threads_per_dir: usize,
    /// `log.initial.task.delay.ms`
    pub initial_task_delay_ms: i64,
    /// `log.flush.scheduler.interval.ms`
    pub flush_check_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub recovery_point_checkpoint_ms: i64,
    /// `log.flush.start.offset.checkpoint.interval.ms`
    pub log_start_offset_checkpoint_ms: i64,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub high_watermark_checkpoint_ms: i64,
    /// `log.retention.check.interval.ms`
    pub retention_check_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiration_check_ms: i64,
    /// `log.segment.delete.delay.ms`: how long the directory of a deleted partition stays.
    pub delete_delay_ms: i64,
    pub cleaner: CleanerSettings,
    pub producer_state: ProducerStateConfig,
}

impl LogManagerConfig {
    /// Kafka's defaults.
    pub fn new(log_dirs: Vec<PathBuf>) -> LogManagerConfig {
        LogManagerConfig {
            log_dirs,
            recovery_threads_per_dir: 2,
            initial_task_delay_ms: 30_000,
            flush_check_ms: i64::MAX,
            recovery_point_checkpoint_ms: 60_000,
            log_start_offset_checkpoint_ms: 60_000,
            high_watermark_checkpoint_ms: 5_000,
            retention_check_ms: 300_000,
            producer_expiration_check_ms: 600_000,
            delete_delay_ms: 60_000,
            cleaner: CleanerSettings::default(),
            producer_state: ProducerStateConfig::default(),
        }
    }
}

/// Says how the logs of a topic are configured.
pub type TopicConfigs<'a> = dyn Fn(&str) -> Arc<LogConfig> + Sync + 'a;

type Logs = RwLock<BTreeMap<TopicPartition, Arc<UnifiedLog>>>;

/// The logs of a broker.
#[derive(Debug)]
pub struct LogManager {
    /// Intervals and delays can be changed at run time.
    config: RwLock<LogManagerConfig>,
    context: Arc<LogContext>,
    cleaner: CleanerManager,
    throttle: Mutex<IoThrottle>,
    /// In the order of the settings; each is online until it fails.
    dirs: Vec<LogDir>,
    current: Logs,
    future: Logs,
    /// Held while a log is made or taken away: both need the directory's name and the entry to agree.
    changing: Mutex<()>,
    doomed: Mutex<Vec<DoomedDir>>,
    schedule: Mutex<Schedule>,
}

impl LogManager {
    /// Opens the log directories, making those that are missing. None of their logs is loaded yet.
    pub fn new(config: LogManagerConfig, disk: Arc<dyn Disk>, now: Now) -> LogManager {
        let context = LogContext::new(Arc::clone(&disk), config.producer_state);
        let cleaner = CleanerManager::new(disk);
        let dirs = config.log_dirs.iter().map(|path| LogDir::open(&context, &cleaner, path)).collect();
        let throttle = IoThrottle::new(config.cleaner.io_max_bytes_per_second, now.mono);
        let schedule = Mutex::new(Schedule::starting(&config, now));
        LogManager {
            config: RwLock::new(config),
            context,
            cleaner,
            throttle: Mutex::new(throttle),
            dirs,
            current: Logs::default(),
            future: Logs::default(),
            changing: Mutex::new(()),
            doomed: Mutex::default(),
            schedule,
        }
    }

    pub fn context(&self) -> &Arc<LogContext> {
        &self.context
    }

    /// Chooses what to compact, and knows how far each log is compacted.
    pub fn cleaner(&self) -> &CleanerManager {
        &self.cleaner
    }

    /// Changes intervals and delays from now on. The directories stay.
    pub fn update_config(&self, change: impl FnOnce(&mut LogManagerConfig)) {
        let mut config = self.config.write();
        change(&mut config);
        self.context.producer_state.store(Arc::new(config.producer_state));
        self.throttle.lock().set_bytes_per_second(config.cleaner.io_max_bytes_per_second);
    }

    /// The log of a partition.
    pub fn log(&self, partition: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.current.read().get(partition).map(Arc::clone)
    }

    /// The log that a partition is moving to, in another directory.
    pub fn future_log(&self, partition: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.future.read().get(partition).map(Arc::clone)
    }

    /// All current logs.
    pub fn logs(&self) -> Vec<Arc<UnifiedLog>> {
        self.current.read().values().map(Arc::clone).collect()
    }

    /// All future logs.
    pub fn future_logs(&self) -> Vec<Arc<UnifiedLog>> {
        self.future.read().values().map(Arc::clone).collect()
    }

    fn all_logs(&self) -> Vec<Arc<UnifiedLog>> {
        let mut logs = self.logs();
        logs.extend(self.future_logs());
        logs
    }

    /// The logs of a topic act on these settings from now on. What is not compacted any more stops being compacted.
    pub fn update_topic_config(&self, topic: &str, config: &Arc<LogConfig>) {
        for log in self.all_logs() {
            if &*log.partition().topic != topic {
                continue;
            }
            let old = log.update_config(Arc::clone(config));
            if old.cleanup_policy.compact && !config.cleanup_policy.compact {
                self.cleaner.abort(log.partition());
            }
        }
    }
}
