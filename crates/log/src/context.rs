//! What the logs of a broker share: the disk, what failed on it, and the work that is left for later.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ottla_types::{MonoMs, Now};
use parking_lot::Mutex;
use tracing::{error, warn};

use crate::disk::{Disk, is_out_of_files};
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
    waker: Arc<Waker>,
}

/// Told when the logs' owner has something to do, maybe earlier than it knows.
type WakeAt = Box<dyn Fn(MonoMs) + Send + Sync>;

/// Set once by the owner of the clock; nobody needs to be woken before.
#[derive(Default)]
struct Waker(OnceLock<WakeAt>);

impl Waker {
    fn wake_at(&self, due: MonoMs) {
        if let Some(wake_at) = self.0.get() {
            wake_at(due);
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

impl LogContext {
    pub fn new(disk: Arc<dyn Disk>, producer_state: ProducerStateConfig) -> Arc<LogContext> {
        let waker = Arc::<Waker>::default();
        Arc::new(LogContext {
            disk,
            producer_state: Arc::new(ArcSwap::from_pointee(producer_state)),
            failures: LogDirFailures { waker: Arc::clone(&waker), ..LogDirFailures::default() },
            deferred: Deferred { waker: Arc::clone(&waker), ..Deferred::default() },
            waker,
        })
    }

    /// Has `wake_at` called with the time when work has come up for whoever does what is due. Only the first call counts.
    pub fn on_work(&self, wake_at: impl Fn(MonoMs) + Send + Sync + 'static) {
        let _ = self.waker.0.set(Box::new(wake_at));
    }

    pub(crate) fn wake_at(&self, due: MonoMs) {
        self.waker.wake_at(due);
    }

    /// Turns an error of the disk into what callers see. Anything but a full disk and a lack of descriptors takes the
    /// directory offline.
    pub(crate) fn storage_error(&self, dir: &Path, doing: &'static str, source: io::Error) -> StorageError {
        if is_no_space(&source) {
            StorageError::NoSpace { dir: dir.to_owned() }
        } else if is_out_of_files(&source) {
            warn!(dir = %dir.display(), doing, "the limit of open files is used up: {source}");
            StorageError::OutOfFiles { dir: dir.to_owned() }
        } else {
            self.dir_failed(dir, doing, source)
        }
    }

    /// Takes the directory offline, whatever the error: for what a directory can't be used without.
    pub(crate) fn dir_failed(&self, dir: &Path, doing: &'static str, source: io::Error) -> StorageError {
        let source = Arc::new(source);
        self.failures.report(dir, doing, Arc::clone(&source));
        StorageError::DirFailed { dir: dir.to_owned(), doing, source }
    }
}

/// The volume, or what its user may have of it, is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A log directory that must go offline.
#[derive(Clone, Debug)]
pub struct LogDirFailure {
    pub dir: PathBuf,
    pub doing: &'static str,
    pub source: Arc<io::Error>,
}

/// The first failure of each directory. It stays known when somebody has acted on it: a directory that has failed once is not
/// used again.
#[derive(Debug, Default)]
pub struct LogDirFailures {
    reported: Mutex<Vec<Reported>>,
    waker: Arc<Waker>,
}

#[derive(Debug)]
struct Reported {
    failure: LogDirFailure,
    is_acted_on: bool,
}

impl LogDirFailures {
    pub fn report(&self, dir: &Path, doing: &'static str, source: Arc<io::Error>) {
        let mut reported = self.reported.lock();
        if !reported.iter().any(|reported| reported.failure.dir == dir) {
            error!(dir = %dir.display(), doing, "log directory failed: {source}");
            let failure = LogDirFailure { dir: dir.to_owned(), doing, source };
            reported.push(Reported { failure, is_acted_on: false });
            drop(reported);
            self.waker.wake_at(MonoMs(0));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.reported.lock().is_empty()
    }

    /// Whether this directory has failed.
    pub fn contains(&self, dir: &Path) -> bool {
        self.of(dir).is_some()
    }

    /// Why this directory has failed.
    pub(crate) fn of(&self, dir: &Path) -> Option<LogDirFailure> {
        let reported = self.reported.lock();
        let found = reported.iter().find(|reported| reported.failure.dir == dir);
        found.map(|reported| reported.failure.clone())
    }

    /// Those that are still to be acted on.
    pub(crate) fn to_act_on(&self) -> Vec<LogDirFailure> {
        let reported = self.reported.lock();
        let untold = reported.iter().filter(|reported| !reported.is_acted_on);
        untold.map(|reported| reported.failure.clone()).collect()
    }

    pub(crate) fn acted_on(&self, dir: &Path) {
        let mut reported = self.reported.lock();
        reported
            .iter_mut()
            .filter(|reported| reported.failure.dir == dir)
            .for_each(|reported| reported.is_acted_on = true);
    }

    /// Forgets them.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Vec<LogDirFailure> {
        std::mem::take(&mut *self.reported.lock()).into_iter().map(|reported| reported.failure).collect()
    }
}

type Task = Box<dyn FnOnce(Now) + Send>;

/// Work that waits for its time: flushing a segment that was rolled, removing files that readers may still hold.
/// Whoever owns the clock runs what is due.
#[derive(Default)]
pub struct Deferred {
    tasks: Mutex<Tasks>,
    waker: Arc<Waker>,
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
        let due = now.mono.plus_ms(delay_ms);
        let key = (due, tasks.added);
        tasks.by_due.insert(key, Box::new(task));
        drop(tasks);
        self.waker.wake_at(due);
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
