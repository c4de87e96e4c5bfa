//! The threads around a node. Each is a small loop around a function that takes the time: it sleeps on an [`Alarm`] until
//! something is due, so that an idle node uses no CPU.

mod alarm;
mod cleaner;
mod fatal;
mod loader;
mod log_end;
mod maintenance;
mod metadata;
mod pool;
mod publisher;
mod ticker;

pub use alarm::{Alarm, Woken};
pub use cleaner::Cleaners;
pub use fatal::{Fatal, FatalReceiver};
pub use loader::loader;
pub use maintenance::maintenance;
pub use metadata::{MetadataThread, metadata};
pub use pool::{Pool, PoolKind};
pub use publisher::Publications;
pub use ticker::ticker;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A thread that ends when its alarm tells it to.
#[derive(Debug)]
pub struct Worker<T = ()> {
    alarm: Arc<Alarm>,
    join: JoinHandle<T>,
}

impl<T: Send + 'static> Worker<T> {
    /// `name` is what tools show: 15 characters of it.
    pub fn spawn(
        name: &str,
        alarm: Arc<Alarm>,
        body: impl FnOnce(&Alarm) -> T + Send + 'static,
    ) -> io::Result<Worker<T>> {
        let of_thread = Arc::clone(&alarm);
        let join = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&of_thread))?;
        Ok(Worker { alarm, join })
    }

    /// Ends the thread, at the end of what it is doing, and waits for that. None if it had panicked.
    pub fn stop(self) -> Option<T> {
        self.alarm.stop();
        let name = self.join.thread().name().unwrap_or_default().to_owned();
        let result = self.join.join();
        if result.is_err() {
            tracing::error!(thread = name, "the thread had panicked");
        }
        result.ok()
    }
}
