//! Waits that grow with each failure.

use std::time::Duration;

/// Doubles from the first wait to the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new((first, last): (Duration, Duration)) -> Backoff {
        Backoff { first, last, failures: 0 }
    }

    /// The wait after the failures so far; the first one's if there was none.
    pub fn current(&self) -> Duration {
        let doubled = self.failures.saturating_sub(1).min(16);
        self.first.saturating_mul(1 << doubled).min(self.last.max(self.first))
    }

    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new((ms(50), ms(500)));
        let mut waits = Vec::new();
        for _ in 0..6 {
            backoff.failed();
            waits.push(backoff.current());
        }
        assert_eq!(waits, [50, 100, 200, 400, 500, 500].map(ms));
        backoff.reset();
        assert_eq!((backoff.current(), backoff.failures()), (ms(50), 0));
    }
}
