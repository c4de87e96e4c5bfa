//! What the logs of a broker share: the disk, what failed on it, and the work that is left for later.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_types::{MonoMs, Now};
use parking_lot::Mutex;
use tracing::error;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::producer_state::ProducerStateConfig;

/// Shared by all logs of a broker.
#[derive(Debug)]
pub struct LogContext {
    pub disk: Arc<dyn Disk>,
    /// Changeable at run time.
    pub producer_state: Arc<ArcSwap<ProducerStateConfig>>,
    pub failures: LogDirFailures,
    pub deferred: Deferred,
}

impl LogContext {
    pub fn new(disk: Arc<dyn Disk>, producer_state: ProducerStateConfig) -> Arc<LogContext> {
        Arc::new(LogContext {
            disk,
            producer_state: Arc::new(ArcSwap::from_pointee(producer_state)),
            failures: LogDirFailures::default(),
            deferred: Deferred::default(),
        })
    }

    /// Turns an error of the disk into what callers see. Anything but a full disk takes the directory offline.
    pub(crate) fn storage_error(&self, dir: &Path, doing: &'static str, source: io::Error) -> StorageError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StorageError::NoSpace { dir: dir.to_owned() }
            }
            _ => {
                let source = Arc::new(source);
                self.failures.report(dir, doing, Arc::clone(&source));
                StorageError::DirFailed { dir: dir.to_owned(), doing, source }
            }
        }
    }
}

/// A log directory that must go offline.
#[derive(Clone, Debug)]
pub struct LogDirFailure {
    pub dir: PathBuf,
    pub doing: &'static str,
    pub source: Arc<io::Error>,
}

/// The first failure of each directory, until somebody acts on it.
#[derive(Debug, Default)]
pub struct LogDirFailures {
    reported: Mutex<Vec<LogDirFailure>>,
}

impl LogDirFailures {
    pub fn report(&self, dir: &Path, doing: &'static str, source: Arc<io::Error>) {
        let mut reported = self.reported.lock();
        if !reported.iter().any(|failure| failure.dir == dir) {
            error!(dir = %dir.display(), doing, "log directory failed: {source}");
            reported.push(LogDirFailure { dir: dir.to_owned(), doing, source });
        }
    }

    /// The failures that were reported since the last call.
    pub fn take(&self) -> Vec<LogDirFailure> {
        std::mem::take(&mut *self.reported.lock())
    }
}

type Task = Box<dyn FnOnce(Now) + Send>;

/// Work that waits for its time: flushing a segment that was rolled, removing files that readers may still hold.
/// Whoever owns the clock runs what is due.
#[derive(Default)]
pub struct Deferred {
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    by_due: BTreeMap<(MonoMs, u64), Task>,
    added: u64,
}

impl Deferred {
    pub(crate) fn after_ms(&self, now: Now, delay_ms: i64, task: impl FnOnce(Now) + Send + 'static) {
        let mut tasks = self.tasks.lock();
        tasks.added += 1;
        let key = (now.mono.plus_ms(delay_ms), tasks.added);
        tasks.by_due.insert(key, Box::new(task));
    }

    /// Runs what is due, in order; returns how much that was. What it adds waits for the next call.
    pub fn run_due(&self, now: Now) -> usize {
        let due = {
            let mut tasks = self.tasks.lock();
            let later = tasks.by_due.split_off(&(MonoMs(now.mono.0.saturating_add(1)), 0));
            std::mem::replace(&mut tasks.by_due, later)
        };
        let count = due.len();
        for task in due.into_values() {
            task(now);
        }
        count
    }

    /// When the next task is due.
    pub fn next_due(&self) -> Option<MonoMs> {
        self.tasks.lock().by_due.keys().next().map(|&(due, _)| due)
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("tasks", &self.tasks.lock().by_due.len()).finish()
    }
}
