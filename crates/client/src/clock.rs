//! The clock of the process: the only place that reads it on behalf of what is pure.

use ottla_types::MonoMs;
use tokio::time::Instant;

/// Reads monotonic time; copies of one clock agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub fn mono(&self) -> MonoMs {
        MonoMs(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
