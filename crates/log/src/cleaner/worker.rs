//! What one cleaner thread keeps between its steps; [`LogManager::clean_step`](crate::log_manager::LogManager::clean_step)
//! is the step.

use std::collections::VecDeque;

use super::manager::{Cleaning, Deletion};
use super::{CleanerConfig, CleanerManager};

/// The broker's `log.cleaner.*` settings; all but the first can be changed at run time.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerSettings {
    /// `log.cleaner.enable`
    pub is_enabled: bool,
    /// `log.cleaner.threads`
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`, of all threads
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: above 0, up to 1
    pub dedupe_buffer_load_factor: f64,
    /// `log.cleaner.io.buffer.size`, of all threads
    pub io_buffer_bytes: u64,
    /// `log.cleaner.io.max.bytes.per.second`, of all threads; reads and writes together
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`
    pub backoff_ms: i64,
}

impl Default for CleanerSettings {
    /// Kafka's defaults.
    fn default() -> CleanerSettings {
        CleanerSettings {
            is_enabled: true,
            threads: 1,
            dedupe_buffer_bytes: 128 << 20,
            dedupe_buffer_load_factor: 0.9,
            io_buffer_bytes: 512 << 10,
            io_max_bytes_per_second: f64::MAX,
            backoff_ms: 15_000,
        }
    }
}

impl CleanerSettings {
    /// For a cleaning that begins now.
    pub(crate) fn config(&self, hash_secret: (u64, u64)) -> CleanerConfig {
        CleanerConfig {
            threads: self.threads,
            dedupe_buffer_bytes: self.dedupe_buffer_bytes,
            dedupe_buffer_load_factor: self.dedupe_buffer_load_factor,
            io_buffer_bytes: self.io_buffer_bytes,
            hash_secret,
        }
    }

    /// How many threads are to compact logs.
    pub fn workers(&self) -> usize {
        if self.is_enabled { self.threads } else { 0 }
    }
}

/// One cleaner thread's work. It may not just be dropped: see [`LogManager::stop_cleaning`](crate::log_manager::LogManager::stop_cleaning).
#[derive(Debug)]
pub struct CleanerWorker {
    pub(crate) hash_secret: (u64, u64),
    pub(crate) cleaning: Option<Cleaning>,
    pub(crate) deletions: VecDeque<Deletion>,
    /// Since it last had nothing to clean: then more may be waiting.
    pub(crate) has_cleaned: bool,
}

impl CleanerWorker {
    /// `hash_secret` is random.
    pub fn new(hash_secret: (u64, u64)) -> CleanerWorker {
        CleanerWorker { hash_secret, cleaning: None, deletions: VecDeque::new(), has_cleaned: false }
    }

    /// Whether it is in the middle of something.
    pub fn is_busy(&self) -> bool {
        self.cleaning.is_some() || !self.deletions.is_empty()
    }

    /// Gives back what it has begun: the next worker starts it anew.
    pub(crate) fn stop(self, manager: &CleanerManager) {
        let logs = self.cleaning.iter().map(Cleaning::log).chain(self.deletions.iter().map(Deletion::log));
        for log in logs {
            manager.abort(log.partition());
        }
    }
}
