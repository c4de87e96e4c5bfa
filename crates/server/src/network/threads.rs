//! `num.network.threads` threads, each with a runtime of its own, so that a connection's task never moves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A pool of threads that run connection tasks; dropping it ends the tasks and waits for the threads.
#[derive(Debug)]
pub struct NetworkThreads {
    threads: Vec<NetworkThread>,
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
        let threads = (0..count.max(1)).map(NetworkThread::start).collect::<io::Result<_>>()?;
        Ok(NetworkThreads { threads, next: AtomicUsize::new(0) })
    }

    /// Runs `task` on the next thread in turn, for as long as it lives or the pool does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        if let Some(thread) = self.threads.get(turn) {
            // The thread ends only with the pool.
            let _ = thread.tasks.send(Box::pin(task));
        }
    }
}

impl Drop for NetworkThreads {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            drop(thread.stop.take());
        }
        for thread in &mut self.threads {
            if let Some(join) = thread.join.take()
                && join.join().is_err()
            {
                tracing::error!("a network thread had panicked");
            }
        }
    }
}

impl NetworkThread {
    fn start(index: usize) -> io::Result<NetworkThread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tasks, mut arriving) = mpsc::unbounded_channel::<Task>();
        let (stop, stopped) = oneshot::channel::<()>();
        let join = std::thread::Builder::new().name(format!("network-{index}")).spawn(move || {
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
