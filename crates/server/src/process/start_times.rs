//! What a start spends its time on.

use std::time::{Duration, Instant};

/// How long each phase of a start took. A phase that was not reached took no time.
#[derive(Clone, Copy, Debug)]
pub struct StartTimes {
    last: Instant,
    /// Taking the addresses of the listeners.
    pub listeners: Duration,
    /// Locking, reading and, if they are empty, formatting the log directories.
    pub directories: Duration,
    /// Opening and recovering the metadata log.
    pub metadata_log: Duration,
    /// Putting the node together and starting its threads.
    pub assembly: Duration,
    /// Replaying the metadata, and loading the logs of all partitions.
    pub logs: Duration,
    /// Until the controller has registered this broker and given it its partitions.
    pub registration: Duration,
    /// Starting to serve clients.
    pub serving: Duration,
}

impl StartTimes {
    pub fn begin() -> StartTimes {
        let zero = Duration::ZERO;
        StartTimes {
            last: Instant::now(),
            listeners: zero,
            directories: zero,
            metadata_log: zero,
            assembly: zero,
            logs: zero,
            registration: zero,
            serving: zero,
        }
    }

    /// A phase has ended, and the next begins.
    pub fn ended(&mut self, phase: fn(&mut StartTimes) -> &mut Duration) {
        let now = Instant::now();
        *phase(self) = now - self.last;
        self.last = now;
    }

    /// One line for the log; milliseconds.
    pub fn tell(&self) {
        let ms = |phase: Duration| phase.as_millis() as u64;
        tracing::info!(
            listeners_ms = ms(self.listeners),
            directories_ms = ms(self.directories),
            metadata_log_ms = ms(self.metadata_log),
            assembly_ms = ms(self.assembly),
            logs_ms = ms(self.logs),
            registration_ms = ms(self.registration),
            serving_ms = ms(self.serving),
            "started"
        );
    }
}
