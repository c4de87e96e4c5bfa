//! Holds replication to a rate: bytes over a window of samples, against a bound that may be changed at any time.
//!
//! What is moved counts afterwards: nothing more is moved while the rate is above the bound. Time comes with the calls; between
//! them the rate counts as it was.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_types::MonoMs;
use parking_lot::Mutex;

/// Samples, and how long each lasts (`replication.quota.window.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWindow {
    pub samples: usize,
    pub sample_ms: u64,
}

impl Default for RateWindow {
    /// Kafka's defaults.
    fn default() -> RateWindow {
        RateWindow { samples: 11, sample_ms: 1000 }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Quota {
    /// Above its bound, when it was looked at last.
    is_exceeded: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: RateWindow,
    bytes_per_second_max: u64,
    /// When each began, and the bytes in it; the newest last.
    samples: VecDeque<(MonoMs, u64)>,
}

impl Quota {
    /// Without a bound.
    pub fn unbounded(window: RateWindow) -> Quota {
        let state = State { window, bytes_per_second_max: u64::MAX, samples: VecDeque::new() };
        Quota { is_exceeded: AtomicBool::new(false), state: Mutex::new(state) }
    }

    pub fn set_bytes_per_second_max(&self, max: u64, now: MonoMs) {
        let mut state = self.state.lock();
        state.bytes_per_second_max = max;
        self.settle(&mut state, now);
    }

    /// Notes what was moved.
    pub fn record(&self, bytes: u64, now: MonoMs) {
        let mut state = self.state.lock();
        state.record(bytes, now);
        self.settle(&mut state, now);
    }

    /// Looks at the rate as it is at `now`.
    pub fn look(&self, now: MonoMs) -> bool {
        if self.is_exceeded() {
            self.settle(&mut self.state.lock(), now);
        }
        self.is_exceeded()
    }

    /// As it was when it was looked at last.
    pub fn is_exceeded(&self) -> bool {
        self.is_exceeded.load(Ordering::Relaxed)
    }

    fn settle(&self, state: &mut State, now: MonoMs) {
        self.is_exceeded.store(state.is_exceeded(now), Ordering::Relaxed);
    }
}

impl State {
    fn record(&mut self, bytes: u64, now: MonoMs) {
        self.forget_old(now);
        match self.samples.back_mut() {
            Some((start, sum)) if now < start.plus_ms(self.window.sample_ms.cast_signed()) => {
                *sum = sum.saturating_add(bytes);
            }
            _ => self.samples.push_back((now, bytes)),
        }
        while self.samples.len() > self.window.samples.max(1) {
            self.samples.pop_front();
        }
    }

    fn forget_old(&mut self, now: MonoMs) {
        let window_ms = self.window.sample_ms.saturating_mul(self.window.samples as u64);
        let is_old = |start: MonoMs| now.since_ms(start) >= window_ms;
        while self.samples.front().is_some_and(|(start, _)| is_old(*start)) {
            self.samples.pop_front();
        }
    }

    /// Over the time since the oldest sample began, but at least over one sample: a short burst is no rate.
    fn is_exceeded(&mut self, now: MonoMs) -> bool {
        self.forget_old(now);
        let Some((oldest, _)) = self.samples.front() else { return false };
        let bytes: u128 = self.samples.iter().map(|(_, bytes)| u128::from(*bytes)).sum();
        let ms = now.since_ms(*oldest).max(self.window.sample_ms);
        bytes * 1000 > u128::from(self.bytes_per_second_max) * u128::from(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until when `bytes` at time 0 keep a rate exceeded.
    fn check(samples: usize, sample_ms: u64, max: u64, bytes: u64, expected_ms: u64) {
        let quota = Quota::unbounded(RateWindow { samples, sample_ms });
        quota.set_bytes_per_second_max(max, MonoMs(0));
        quota.record(bytes, MonoMs(0));
        let until = (0..100_000).find(|ms| !quota.look(MonoMs(*ms)));
        assert_eq!(until, Some(expected_ms), "{bytes} bytes at {max} a second");
    }

    #[test]
    fn a_rate_is_exceeded_until_time_has_made_up_for_it() {
        check(11, 1000, 1000, 1000, 0);
        check(11, 1000, 1000, 1001, 1001);
        check(11, 1000, 1000, 5000, 5000);
        check(11, 2000, 1000, 2000, 0);
        // What is older than the window is forgotten.
        check(11, 1000, 1000, 1_000_000, 11_000);
        check(3, 2000, 1000, 1_000_000, 6000);
        check(11, 1000, u64::MAX, u64::MAX, 0);
        check(3, 1000, 0, 1, 3000);
    }

    #[test]
    fn a_steady_rate_at_the_bound_is_kept_and_one_above_it_is_exceeded() {
        for (bytes, expected) in [(100, false), (111, true)] {
            let quota = Quota::unbounded(RateWindow::default());
            quota.set_bytes_per_second_max(1000, MonoMs(0));
            for ms in (0..60_000).step_by(100) {
                quota.record(bytes, MonoMs(ms));
            }
            assert_eq!(quota.look(MonoMs(60_000)), expected, "{bytes}");
        }
    }

    #[test]
    fn a_new_bound_counts_at_once() {
        let quota = Quota::unbounded(RateWindow::default());
        quota.record(10_000, MonoMs(0));
        assert!(!quota.is_exceeded());
        quota.set_bytes_per_second_max(1000, MonoMs(0));
        assert!(quota.is_exceeded());
        quota.set_bytes_per_second_max(u64::MAX, MonoMs(0));
        assert!(!quota.is_exceeded());
    }
}
