//! Threads that do what network threads must not wait for.
//!
//! They come when there is work for them, and go when there has been none for a while: a node that keeps up has none.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_config::{Config, keys};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// How long a thread waits for work before it ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// What a pool is for, and so how many threads it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Wait for the disk: what a client asks for and memory does not hold is brought there first. At most `num.io.threads`.
    Reader,
    /// Keep processors busy with what groups ask for: patterns, and assignments of large groups. At most
    /// `group.coordinator.background.threads`.
    Computer,
}

impl PoolKind {
    fn threads_max(self, config: &Config) -> usize {
        let threads = match self {
            PoolKind::Reader => config.get(keys::NUM_IO_THREADS),
            PoolKind::Computer => config.get(keys::GROUP_COORDINATOR_BACKGROUND_THREADS),
        };
        // At least one, which the settings' own bounds see to.
        usize::try_from(threads).unwrap_or(1)
    }

    /// What tools show, before a number.
    fn thread_name(self) -> &'static str {
        match self {
            PoolKind::Reader => "reader",
            PoolKind::Computer => "computer",
        }
    }
}

/// The threads of one kind, and what waits for them.
#[derive(Debug)]
pub struct Pool {
    kind: PoolKind,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    idle_max: Duration,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Of those, the ones that wait for a job.
    idle: usize,
    threads_max: usize,
    is_stopped: bool,
    /// Of all threads that have been started since the last look, so that a stop can wait for those that still run.
    joins: Vec<JoinHandle<()>>,
}

impl Pool {
    pub fn from_config(kind: PoolKind, config: &Config) -> Pool {
        Pool::new(kind, kind.threads_max(config))
    }

    pub fn new(kind: PoolKind, threads_max: usize) -> Pool {
        Pool::with_idle_max(kind, threads_max, IDLE_MAX)
    }

    fn with_idle_max(kind: PoolKind, threads_max: usize, idle_max: Duration) -> Pool {
        let state = State {
            jobs: VecDeque::new(),
            threads: 0,
            idle: 0,
            threads_max: threads_max.max(1),
            is_stopped: false,
            joins: Vec::new(),
        };
        Pool {
            kind,
            shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), idle_max }),
        }
    }

    /// Takes up a new number of threads. Those that are too many end after their job.
    pub fn update(&self, config: &Config) {
        self.shared.state.lock().threads_max = self.kind.threads_max(config).max(1);
        self.shared.changed.notify_all();
    }

    /// Has one of the threads do `job`, after those that came before it. Once they are stopped it is dropped instead.
    pub fn run(&self, job: Job) {
        let mut state = self.shared.state.lock();
        if state.is_stopped {
            drop(state);
            return drop(job);
        }
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle {
            drop(state);
            self.shared.changed.notify_one();
        } else if state.threads < state.threads_max {
            self.start(&mut state);
        }
    }

    /// Without a thread the work waits for the next attempt; there is none only if the system has none to give.
    fn start(&self, state: &mut State) {
        state.joins.retain(|join| !join.is_finished());
        let shared = Arc::clone(&self.shared);
        let name = format!("{}-{}", self.kind.thread_name(), state.threads);
        match std::thread::Builder::new().name(name).spawn(move || work(&shared)) {
            Ok(join) => {
                state.threads += 1;
                state.joins.push(join);
            }
            Err(error) => {
                tracing::error!(%error, kind = self.kind.thread_name(), "a thread could not be started");
            }
        }
    }

    /// Drops what waits, and ends the threads after what they are doing.
    pub fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.is_stopped = true;
        let (jobs, joins) = (std::mem::take(&mut state.jobs), std::mem::take(&mut state.joins));
        drop(state);
        self.shared.changed.notify_all();
        drop(jobs);
        // The last to let go of the pool may be one of its own jobs.
        let me = std::thread::current().id();
        for join in joins.into_iter().filter(|join| join.thread().id() != me) {
            // What has panicked has been reported.
            let _ = join.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Counts a thread out that a job's panic ends.
struct Panicking<'a>(&'a Shared);

impl Drop for Panicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.lock().threads -= 1;
        }
    }
}

fn work(shared: &Shared) {
    let _panicking = Panicking(shared);
    while let Some(job) = next_job(shared) {
        job();
    }
}

/// None: the thread is to end, and is none any more for who comes with work from now on.
fn next_job(shared: &Shared) -> Option<Job> {
    let mut state = shared.state.lock();
    let job = wait_for_job(shared, &mut state);
    if job.is_none() {
        state.threads -= 1;
    }
    job
}

fn wait_for_job(shared: &Shared, state: &mut MutexGuard<'_, State>) -> Option<Job> {
    loop {
        if state.is_stopped || state.threads > state.threads_max {
            return None;
        }
        if let Some(job) = state.jobs.pop_front() {
            return Some(job);
        }
        state.idle += 1;
        let is_over = shared.changed.wait_for(state, shared.idle_max).timed_out();
        state.idle -= 1;
        if is_over && state.jobs.is_empty() {
            return None;
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Shared").field("jobs", &state.jobs.len()).field("threads", &state.threads).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn config(threads: &str) -> Config {
        Config::of_pairs([("num.io.threads", threads)]).unwrap()
    }

    #[test]
    fn as_many_jobs_run_at_once_as_there_may_be_threads() {
        let readers = Pool::from_config(PoolKind::Reader, &config("2"));
        let (started, starting) = mpsc::channel();
        let gates: Vec<_> = (0..3)
            .map(|n| {
                let (gate, open) = mpsc::channel::<()>();
                let started = started.clone();
                readers.run(Box::new(move || {
                    started.send(n).unwrap();
                    let _ = open.recv();
                }));
                gate
            })
            .collect();
        let mut running = [starting.recv().unwrap(), starting.recv().unwrap()];
        running.sort_unstable();
        assert_eq!(running, [0, 1]);
        assert!(starting.try_recv().is_err(), "the third waits");
        readers.update(&config("3"));
        let last = started.clone();
        readers.run(Box::new(move || last.send(3).unwrap()));
        // The new thread takes what has waited longest.
        assert_eq!(starting.recv().unwrap(), 2);
        drop(gates);
        assert_eq!(starting.recv().unwrap(), 3);
    }

    #[test]
    fn each_kind_has_its_own_setting() {
        let settings = [("num.io.threads", "7"), ("group.coordinator.background.threads", "3")];
        let config = Config::of_pairs(settings).unwrap();
        let of = |kind| Pool::from_config(kind, &config).shared.state.lock().threads_max;
        assert_eq!((of(PoolKind::Reader), of(PoolKind::Computer)), (7, 3));
    }

    #[test]
    fn a_stop_ends_the_threads_and_drops_what_waits() {
        let readers = Pool::new(PoolKind::Reader, 1);
        let (begun, beginning) = mpsc::channel();
        let (gate, open) = mpsc::channel::<()>();
        readers.run(Box::new(move || {
            begun.send(()).unwrap();
            let _ = open.recv();
        }));
        beginning.recv().unwrap();
        let held = Arc::new(());
        let of_job = Arc::clone(&held);
        readers.run(Box::new(move || drop(of_job)));
        drop(gate);
        readers.stop();
        assert_eq!(Arc::strong_count(&held), 1);
        readers.run(Box::new(|| panic!("nobody is left")));
    }

    #[test]
    fn work_that_comes_as_the_last_thread_goes_is_done() {
        let readers = Pool::with_idle_max(PoolKind::Reader, 1, Duration::ZERO);
        let (done, doing) = mpsc::channel();
        for n in 0..20_000 {
            let done = done.clone();
            readers.run(Box::new(move || done.send(n).unwrap()));
            assert_eq!(doing.recv().unwrap(), n);
        }
    }
}
