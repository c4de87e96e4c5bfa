//! `num.network.threads` threads, each with a runtime of its own, so that a connection's task never moves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A pool of threads that run connection tasks; dropping or stopping it ends the tasks and waits for the threads.
#[derive(Debug)]
pub struct NetworkThreads {
    /// None once they are stopped.
    threads: RwLock<Option<Vec<NetworkThread>>>,
    name: &'static str,
    next: AtomicUsize,
}

#[derive(Debug)]
struct NetworkThread {
    tasks: mpsc::UnboundedSender<Task>,
    stop: Option<oneshot::Sender<()>>,
    join: Option<JoinHandle<()>>,
}

impl NetworkThreads {
    pub fn start(count: usize) -> io::Result<NetworkThreads> {
        NetworkThreads::named("network", count)
    }

    /// Threads that tools show by another name.
    pub fn named(name: &'static str, count: usize) -> io::Result<NetworkThreads> {
        let threads =
            NetworkThreads { threads: RwLock::new(Some(Vec::new())), name, next: AtomicUsize::new(0) };
        threads.resize(count)?;
        Ok(threads)
    }

    /// Changes the number of threads (`num.network.threads`). The connections of those that go are closed. Threads that
    /// were stopped stay so.
    pub fn resize(&self, count: usize) -> io::Result<()> {
        let mut held = self.threads.write();
        let Some(threads) = held.as_mut() else { return Ok(()) };
        let kept = count.max(1).min(threads.len());
        let removed: Vec<_> = threads.drain(kept..).collect();
        let start = |index| NetworkThread::start(self.name, index);
        let added = (kept..count.max(1)).map(start).collect::<io::Result<Vec<_>>>();
        let added = added.map(|added| threads.extend(added));
        drop(held);
        end(removed);
        added
    }

    /// Closes all connections and ends the threads: whoever else holds the pool, no request is handled any more when this
    /// returns.
    pub fn stop(&self) {
        let threads = self.threads.write().take();
        end(threads.unwrap_or_default());
    }

    /// Runs `task` on the next thread in turn, for as long as it lives or the pool does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let held = self.threads.read();
        let Some(threads) = held.as_ref() else { return };
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % threads.len().max(1);
        if let Some(thread) = threads.get(turn) {
            // The thread ends only with the pool.
            let _ = thread.tasks.send(Box::pin(task));
        }
    }
}

impl Drop for NetworkThreads {
    fn drop(&mut self) {
        self.stop();
    }
}

fn end(mut threads: Vec<NetworkThread>) {
    for thread in &mut threads {
        drop(thread.stop.take());
    }
    for thread in &mut threads {
        if let Some(join) = thread.join.take()
            && join.join().is_err()
        {
            tracing::error!("a network thread had panicked");
        }
    }
}

impl NetworkThread {
    fn start(name: &str, index: usize) -> io::Result<NetworkThread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tasks, mut arriving) = mpsc::unbounded_channel::<Task>();
        let (stop, stopped) = oneshot::channel::<()>();
        let join = std::thread::Builder::new().name(format!("{name}-{index}")).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = async { while let Some(task) = arriving.recv().await { tokio::spawn(task); } } => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(NetworkThread { tasks, stop: Some(stop), join: Some(join) })
    }
}
