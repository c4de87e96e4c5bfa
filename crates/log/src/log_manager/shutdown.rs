//! A clean stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use ottla_types::{BrokerEpoch, Now};
use tracing::{info, warn};

use super::checkpoints::by_partition;
use super::dirs::LogDir;
use super::{LogManager, LogManagerEvents};
use crate::clean_shutdown;
use crate::unified_log::UnifiedLog;

impl LogManager {
    /// The broker epoch of the last process, if it left all directories that are online clean: to be asked for before the
    /// logs are loaded, which takes the marks away. The controller then knows that no replica here has lost anything
    /// (KIP-966).
    pub fn clean_shutdown_epoch(&self) -> Option<BrokerEpoch> {
        let mut epochs = self.dirs.iter().filter(|dir| dir.is_online()).map(|dir| {
            let mark = clean_shutdown::read(&*self.context.disk, &dir.path).ok().flatten();
            mark.and_then(|mark| mark.broker_epoch)
        });
        let first = epochs.next().flatten()?;
        epochs.all(|other| other == Some(first)).then_some(first)
    }

    /// Flushes and closes all logs, several at once, writes the checkpoints, and leaves the mark of a clean stop in each
    /// directory where all went well. Nothing can be appended any more.
    pub fn shutdown(&self, broker_epoch: BrokerEpoch, now: Now) -> LogManagerEvents {
        let logs = self.all_logs();
        for dir in self.dirs.iter().filter(|dir| dir.is_online()) {
            let in_dir: Vec<_> =
                logs.iter().filter(|log| log.log_dir() == dir.path).map(Arc::clone).collect();
            self.close_dir(dir, &in_dir, broker_epoch, now);
        }
        info!(logs = logs.len(), "closed all logs");
        LogManagerEvents { failed_dirs: self.take_failed_dirs_offline() }
    }

    fn close_dir(&self, dir: &LogDir, logs: &[Arc<UnifiedLog>], broker_epoch: BrokerEpoch, now: Now) {
        let threads = self.config.read().recovery_threads_per_dir.max(1).min(logs.len());
        let next = AtomicUsize::new(0);
        let all_closed = AtomicBool::new(true);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(log) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = log.close(now) {
                            warn!(partition = %log.partition(), "not closed: {error}");
                            all_closed.store(false, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let is_clean = all_closed.into_inner()
            && !self.context.failures.contains(&dir.path)
            && dir.is_loaded.load(Ordering::Acquire)
            && self.checkpoint_all_in(dir, &by_partition(logs));
        if is_clean && let Err(error) = clean_shutdown::write(&*self.context.disk, &dir.path, broker_epoch) {
            self.context.storage_error(&dir.path, "writing the mark of a clean stop", error);
        }
    }
}
