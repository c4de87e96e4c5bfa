//! So many records a second, and no more.

use std::time::{Duration, Instant};

/// A pause is worth it from here on.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// At a rate of nothing.
const FOREVER: Duration = Duration::from_secs(3600 * 24 * 365);

/// How long to wait after the record of this number, from 0 on, was sent; `None` as rate is no limit.
pub(crate) fn pause(records_per_s: Option<f64>, number: u64, start: Instant) -> Option<Duration> {
    let due = Duration::try_from_secs_f64(number as f64 / records_per_s?).unwrap_or(FOREVER);
    Some(due.saturating_sub(start.elapsed()).min(FOREVER)).filter(|pause| *pause >= PAUSE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_ahead_of_their_time_wait() {
        let start = Instant::now();
        assert_eq!(pause(None, 1_000_000, start), None);
        assert_eq!(pause(Some(1e9), 1, start), None);
        assert!(pause(Some(0.001), 10, start).unwrap() > Duration::from_secs(1000));
        assert!(pause(Some(0.0), 1, start).unwrap() > Duration::from_secs(1000));
    }
}
