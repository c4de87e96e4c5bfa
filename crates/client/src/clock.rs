//! The clocks of the process: the only place that reads them on behalf of what is pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_types::{MonoMs, Timestamp};
use tokio::time::Instant;

/// Reads wall-clock and monotonic time; copies of one clock agree.
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

    /// When the monotonic clock will show `at`.
    pub fn instant(&self, at: MonoMs) -> Instant {
        // A deadline that is never reached is far enough away after a century.
        self.start + Duration::from_millis(at.0.min(100 * 365 * 24 * 60 * 60 * 1000))
    }
}

pub(crate) fn wall_clock() -> Timestamp {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp(i64::try_from(wall).unwrap_or(i64::MAX))
}
