//! The steps of the cleaner threads.

use ottla_types::Now;

use super::LogManager;
use crate::cleaner::{CleanProgress, CleanerSettings, CleanerWorker};

impl LogManager {
    pub fn cleaner_settings(&self) -> CleanerSettings {
        self.config.read().cleaner.clone()
    }

    /// Does the next piece of a cleaner thread's work; returns the milliseconds to wait before the next step. Several
    /// threads may be at it, each with a worker of its own.
    ///
    /// A worker cleans the dirtiest log, then removes the old segments of the logs that are compacted, and begins anew:
    /// at once if it found a log to clean, or else after the backoff.
    pub fn clean_step(&self, worker: &mut CleanerWorker, now: Now) -> u64 {
        if let Some(cleaning) = &worker.cleaning {
            return match self.cleaner.step(cleaning, now) {
                CleanProgress::Worked { io_bytes } => self.throttle.lock().charge(io_bytes, now.mono),
                CleanProgress::Finished(_) | CleanProgress::Ended => {
                    worker.cleaning = None;
                    self.begin_deletions(worker)
                }
            };
        }
        if let Some(deletion) = worker.deletions.pop_front() {
            self.cleaner.delete(&deletion, now);
            return if worker.deletions.is_empty() { self.pause(worker) } else { 0 };
        }
        let config = self.config.read().cleaner.config(worker.hash_secret);
        worker.cleaning = self.cleaner.grab_filthiest(&self.logs(), &config, now);
        worker.has_cleaned = worker.cleaning.is_some();
        if worker.has_cleaned { 0 } else { self.begin_deletions(worker) }
    }

    fn begin_deletions(&self, worker: &mut CleanerWorker) -> u64 {
        worker.deletions = self.cleaner.grab_deletable(&self.logs()).into();
        if worker.deletions.is_empty() { self.pause(worker) } else { 0 }
    }

    fn pause(&self, worker: &CleanerWorker) -> u64 {
        if worker.has_cleaned {
            return 0;
        }
        u64::try_from(self.config.read().cleaner.backoff_ms).unwrap_or(0).max(1)
    }

    /// A cleaner thread ends. What it has begun is given up, and left for others.
    pub fn stop_cleaning(&self, worker: CleanerWorker) {
        worker.stop(&self.cleaner);
    }
}
