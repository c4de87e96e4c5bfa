//! Waits that grow with each failure, with jitter (KIP-580).

/// Doubles from the first wait to the last; each is up to a fifth longer or shorter, so that many clients don't come
/// back at the same moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first_ms: u64,
    last_ms: u64,
    failures: u32,
}

const JITTER: f64 = 0.2;

impl Backoff {
    pub fn new(first_ms: u64, last_ms: u64) -> Backoff {
        Backoff { first_ms, last_ms: last_ms.max(first_ms), failures: 0 }
    }

    /// Counts a failure; the wait that follows it. `random` is from 0 to 1.
    pub fn failed(&mut self, random: f64) -> u64 {
        let wait_ms = self.after(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        wait_ms
    }

    /// The wait after so many earlier failures.
    pub fn after(&self, earlier_failures: u32, random: f64) -> u64 {
        let doubled = self.first_ms.saturating_mul(1 << earlier_failures.min(30)).min(self.last_ms);
        let factor = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        ((doubled as f64 * factor) as u64).min(self.last_ms)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last_and_vary_by_a_fifth() {
        let mut backoff = Backoff::new(100, 1000);
        let waits: Vec<u64> = (0..6).map(|_| backoff.failed(0.5)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!([backoff.failed(0.0), backoff.failed(1.0)], [80, 240]);
        assert_eq!(Backoff::new(50, 0).failed(0.5), 50);
        assert_eq!(Backoff::new(0, 0).failed(0.7), 0);
    }
}
