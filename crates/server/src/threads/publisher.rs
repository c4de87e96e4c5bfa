//! Puts images of the metadata into effect. That may take long, and the quorum does not wait for it.

use std::fmt;
use std::sync::Arc;

use ottla_types::MonoMs;
use parking_lot::Mutex;

use super::{Alarm, Woken};
use crate::clock::Clock;

type Job = Box<dyn FnOnce() + Send>;

/// What the thread is to do next: never more than one thing.
#[derive(Default)]
pub struct Publications {
    next: Mutex<Option<Job>>,
    alarm: Arc<Alarm>,
}

impl fmt::Debug for Publications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publications").field("alarm", &self.alarm).finish_non_exhaustive()
    }
}

impl Publications {
    pub fn alarm(&self) -> Arc<Alarm> {
        Arc::clone(&self.alarm)
    }

    pub fn give(&self, job: Job) {
        *self.next.lock() = Some(job);
        self.alarm.ring();
    }

    /// The thread: ends when its alarm says so, at the end of what it is doing.
    pub fn run(&self, clock: Clock) {
        loop {
            let next = self.next.lock().take();
            match next {
                Some(job) if !self.alarm.is_stopped() => job(),
                _ => {
                    if self.alarm.sleep_until(&clock, || MonoMs::NEVER) == Woken::Stop {
                        return;
                    }
                }
            }
        }
    }
}
