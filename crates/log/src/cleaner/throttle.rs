//! Holds the cleaner's I/O to a rate (`log.cleaner.io.max.bytes.per.second`), reads and writes together.

use ottla_types::MonoMs;

/// What may be done at once after a pause.
const BURST_MS: f64 = 300.0;

/// Says how long to wait after I/O. It is shared by all cleaner threads.
#[derive(Debug)]
pub struct IoThrottle {
    bytes_per_ms: f64,
    /// Bytes that may be read or written at `at` without waiting; negative while the rate is exceeded.
    allowance: f64,
    at: MonoMs,
}

impl IoThrottle {
    /// A rate that is not finite or not positive, or as large as Kafka's default, is none.
    pub fn new(bytes_per_second: f64, now: MonoMs) -> IoThrottle {
        let mut throttle = IoThrottle { bytes_per_ms: 0.0, allowance: 0.0, at: now };
        throttle.set_bytes_per_second(bytes_per_second);
        throttle
    }

    pub fn set_bytes_per_second(&mut self, bytes_per_second: f64) {
        self.bytes_per_ms = bytes_per_second / 1000.0;
        self.allowance = self.allowance.min(self.bytes_per_ms * BURST_MS);
    }

    /// Notes I/O that was done; returns the milliseconds to wait before more.
    pub fn charge(&mut self, bytes: u64, now: MonoMs) -> u64 {
        let is_limited = self.bytes_per_ms > 0.0 && self.bytes_per_ms < f64::MAX / 1e6;
        if !is_limited {
            return 0;
        }
        let refill = now.since_ms(self.at) as f64 * self.bytes_per_ms;
        self.allowance = (self.allowance + refill).min(self.bytes_per_ms * BURST_MS) - bytes as f64;
        self.at = self.at.max(now);
        if self.allowance >= 0.0 { 0 } else { (-self.allowance / self.bytes_per_ms).ceil() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_time() {
        let mut throttle = IoThrottle::new(1_000_000.0, MonoMs(0));
        let mut now = MonoMs(0);
        for bytes in (1..200).map(|i| i * 997) {
            now.0 += throttle.charge(bytes, now);
        }
        let total: u64 = (1..200).map(|i| i * 997).sum();
        assert_eq!(now.0, total.div_ceil(1000));
    }

    #[test]
    fn a_pause_allows_a_short_burst_only() {
        let mut throttle = IoThrottle::new(1000.0, MonoMs(0));
        assert_eq!(throttle.charge(300, MonoMs(1_000_000)), 0);
        assert_eq!(throttle.charge(10, MonoMs(1_000_000)), 10);
    }

    #[test]
    fn no_limit_by_default() {
        for rate in [f64::MAX, f64::INFINITY, f64::NAN, 0.0, -1.0] {
            assert_eq!(IoThrottle::new(rate, MonoMs(0)).charge(u64::MAX, MonoMs(0)), 0);
        }
    }
}
