//! The life of the process: a node with its threads and sockets, from its configuration to a clean stop.

mod gate;
mod running;
mod serving;
mod signals;
mod start_times;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::loggers::Loggers;
use ottla_config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::startup::StartError;
use crate::threads::Fatal;
pub use signals::Signals;

use running::Running;
use start_times::StartTimes;

/// What the user is told when the node serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Addresses for clients, as `host:port`.
    pub bootstrap: Vec<String>,
    /// Addresses for other controllers.
    pub controllers: Vec<String>,
    pub log_dirs: Vec<String>,
    pub cluster_id: String,
    /// The directories were empty: this is a new cluster.
    pub was_formatted: bool,
    /// Since the process began with this.
    pub took: Duration,
}

/// Why a node did not run to a clean stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("no event loop: {0}")]
    Runtime(#[source] std::io::Error),
    /// The rest of the process may hang on what failed: it is to be left at once.
    #[error("{0}")]
    Fatal(String),
}

/// Who asks a node to end.
pub trait StopRequests {
    /// Comes back with the next request: the first asks for a clean stop, the second for an end without it.
    fn next(&mut self) -> impl Future<Output = ()>;
}

/// Runs a node as this process, until it is told to stop (SIGTERM, SIGINT, SIGHUP) and has stopped; `tell` is called when it
/// serves. A second signal ends the process at once.
///
/// `loggers` steer what the process logs.
pub fn run(config: Config, loggers: Arc<dyn Loggers>, tell: impl FnOnce(&Ready)) -> Result<(), RunError> {
    raise_open_files_limit();
    run_until(Signals::listen, config, loggers, tell)
}

/// Runs a node until those requests end it; they are made within the runtime that waits for them. Nothing outside of the node's
/// threads, its files and its sockets is touched: another program may be around it.
pub fn run_until<S: StopRequests>(
    requests: impl FnOnce() -> std::io::Result<S>,
    config: Config,
    loggers: Arc<dyn Loggers>,
    tell: impl FnOnce(&Ready),
) -> Result<(), RunError> {
    let clock = Clock::start();
    check_files_are_left().map_err(RunError::Runtime)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    let result = runtime.block_on(async {
        let mut requests = requests().map_err(RunError::Runtime)?;
        let (fatal, mut heard) = Fatal::channel();
        let starting = tokio::task::spawn_blocking(move || {
            let mut times = StartTimes::begin();
            running::start(config, clock, fatal, loggers, &mut times)
                .map(|(running, bound)| (running, bound, times))
        });
        let (mut running, bound, mut times) = tokio::select! {
            started = starting => started.map_err(|error| RunError::Fatal(format!("the start failed: {error}")))??,
            // No log of a partition is open yet: there is nothing to close.
            () = requests.next() => return Ok(()),
        };
        running.take_connections(bound).map_err(StartError::Thread)?;
        let reason = tokio::select! {
            biased;
            reason = heard.heard() => return Err(abandon(running, reason)),
            () = requests.next() => None,
            () = is_running(running.states(), &mut times) => Some(()),
        };
        if reason.is_some() {
            running.serve().map_err(StartError::Thread)?;
            times.ended(|times| &mut times.serving);
            times.tell();
            tell(&running.ready(clock));
            tokio::select! {
                biased;
                reason = heard.heard() => return Err(abandon(running, reason)),
                () = requests.next() => {}
            }
        }
        tracing::info!("stopping");
        let stopped = tokio::task::spawn_blocking(move || running.stop());
        tokio::select! {
            done = stopped => {
                tracing::info!("stopped");
                done.unwrap_or_else(|error| Err(format!("the stop failed: {error}"))).map_err(RunError::Fatal)
            }
            reason = heard.heard() => Err(RunError::Fatal(reason)),
            () = requests.next() => Err(RunError::Fatal("ended by a second request, before it had stopped".to_owned())),
        }
    });
    // Dropped, it would wait for a stop that hangs.
    runtime.shutdown_background();
    result
}

/// Files and connections may be as many as the system lets this process have, as the JVM does it.
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, ?limit, "the limit of open files stays as it is");
    }
}

/// Where the runtime finds no file for its own signals it panics, which tells nobody what to do.
fn check_files_are_left() -> std::io::Result<()> {
    const OF_A_RUNTIME: usize = 16;
    let opened: std::io::Result<Vec<File>> = (0..OF_A_RUNTIME).map(|_| File::open("/dev/null")).collect();
    opened.map(drop)
}

/// Nothing is closed: what has failed must not be written to, and nobody waits for threads that may be stuck in it.
fn abandon(running: Running, reason: String) -> RunError {
    std::mem::forget(running);
    RunError::Fatal(reason)
}

async fn is_running(mut states: watch::Receiver<LifecycleState>, times: &mut StartTimes) {
    // Without its ticker a node fails in other ways.
    let _ = states.wait_for(|state| *state != LifecycleState::Starting).await;
    times.ended(|times| &mut times.logs);
    let _ = states.wait_for(|state| *state == LifecycleState::Running).await;
    times.ended(|times| &mut times.registration);
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
