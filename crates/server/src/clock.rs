//! The clocks of the process: the only place that reads them on behalf of the rooms below.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_types::{MonoMs, Now, Timestamp};

/// Reads wall-clock and monotonic time; copies of one clock agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Now {
            wall: Timestamp(i64::try_from(wall).unwrap_or(i64::MAX)),
            mono: MonoMs(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// When the monotonic clock will show `at`.
    pub fn instant(&self, at: MonoMs) -> Instant {
        self.start + std::time::Duration::from_millis(at.0)
    }
}
