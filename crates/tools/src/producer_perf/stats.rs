//! What became of the records: how many, how fast, how late.

use std::time::Instant;

use crate::java::fixed;

/// Latencies that are kept to tell percentiles of.
const SAMPLES_MAX: u64 = 500_000;
const MB: f64 = 1024.0 * 1024.0;

/// Counts since a moment.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    records: u64,
    bytes: u64,
    latency_total_ms: u64,
    latency_max_ms: u64,
}

impl Window {
    fn since(since: Instant) -> Window {
        Window { since, records: 0, bytes: 0, latency_total_ms: 0, latency_max_ms: 0 }
    }

    fn add(&mut self, latency_ms: u64, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.latency_total_ms += latency_ms;
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
    }

    fn elapsed_ms(&self, now: Instant) -> u128 {
        now.duration_since(self.since).as_millis()
    }

    fn records_per_s(&self, now: Instant) -> f64 {
        1000.0 * self.records as f64 / self.elapsed_ms(now) as f64
    }

    fn mb_per_s(&self, now: Instant) -> f64 {
        1000.0 * self.bytes as f64 / self.elapsed_ms(now) as f64 / MB
    }

    fn latency_avg_ms(&self) -> f64 {
        self.latency_total_ms as f64 / self.records as f64
    }
}

#[derive(Clone, Debug)]
pub(super) struct Stats {
    all: Window,
    window: Window,
    reporting_interval_ms: u64,
    /// Only what came after the first records.
    is_steady: bool,
    /// Its windows are not told any more.
    is_silent: bool,
    /// Every so many a latency is kept.
    sampling: u64,
    samples_ms: Vec<u64>,
}

impl Stats {
    pub(super) fn new(records: u64, reporting_interval_ms: u64, is_steady: bool, now: Instant) -> Stats {
        Stats {
            all: Window::since(now),
            window: Window::since(now),
            reporting_interval_ms,
            is_steady,
            is_silent: false,
            sampling: records / records.clamp(1, SAMPLES_MAX),
            samples_ms: Vec::new(),
        }
    }

    pub(super) fn silence(&mut self) {
        self.is_silent = true;
    }

    pub(super) fn records(&self) -> u64 {
        self.all.records
    }

    pub(super) fn bytes(&self) -> u64 {
        self.all.bytes
    }

    /// Counts a record that was written. Lines, where it is time to tell.
    pub(super) fn add(&mut self, latency_ms: u64, bytes: usize, now: Instant) -> Vec<String> {
        if self.all.records.is_multiple_of(self.sampling.max(1)) {
            self.samples_ms.push(latency_ms);
        }
        self.all.add(latency_ms, bytes);
        self.window.add(latency_ms, bytes);
        if self.window.elapsed_ms(now) < self.reporting_interval_ms.into() {
            return Vec::new();
        }
        let mut lines = Vec::new();
        if self.is_steady && self.all.records == self.window.records {
            lines.push("In steady state.".to_owned());
        }
        if !self.is_silent {
            lines.push(self.window_line(now));
        }
        self.window = Window::since(now);
        lines
    }

    fn window_line(&self, now: Instant) -> String {
        let of = &self.window;
        format!(
            "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency.",
            of.records,
            fixed(of.records_per_s(now), 1),
            fixed(of.mb_per_s(now), 2),
            fixed(of.latency_avg_ms(), 1),
            fixed(of.latency_max_ms as f64, 1)
        )
    }

    pub(super) fn total_line(&mut self, now: Instant) -> String {
        self.samples_ms.sort_unstable();
        let percentile = |part: f64| {
            let at = (part * self.samples_ms.len() as f64) as usize;
            self.samples_ms.get(at).copied().unwrap_or(0)
        };
        let of = &self.all;
        format!(
            "{}{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency, {} ms 50th, {} ms 95th, {} ms \
             99th, {} ms 99.9th.",
            of.records,
            if self.is_steady { " steady state" } else { "" },
            fixed(of.records_per_s(now), 6),
            fixed(of.mb_per_s(now), 2),
            fixed(of.latency_avg_ms(), 2),
            fixed(of.latency_max_ms as f64, 2),
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            percentile(0.999)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn totals_and_windows_are_told() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut stats = Stats::new(200, 1000, false, start);
        for record in 0..100 {
            assert!(stats.add(record, 1024, at(999)).is_empty());
        }
        assert_eq!(
            stats.add(400, 1024, at(1000)),
            ["101 records sent, 101.0 records/sec (0.10 MB/sec), 53.0 ms avg latency, 400.0 ms max latency."]
        );
        assert!(stats.add(1, 1024, at(1500)).is_empty());
        assert_eq!(
            stats.total_line(at(2000)),
            "102 records sent, 51.000000 records/sec (0.05 MB/sec), 52.46 ms avg latency, 400.00 ms max latency, 50 ms 50th, \
             95 ms 95th, 99 ms 99th, 400 ms 99.9th."
        );
    }

    #[test]
    fn the_steady_state_is_told_of_on_its_own() {
        let start = Instant::now();
        let late = start + Duration::from_millis(2000);
        let mut all = Stats::new(10, 1000, false, start);
        all.silence();
        assert!(all.add(1, 1, late).is_empty());
        let mut steady = Stats::new(5, 1000, true, start);
        assert_eq!(steady.add(1, 1, late)[0], "In steady state.");
        assert!(steady.total_line(late).starts_with("1 steady state records sent, 0.500000 records/sec"));
    }

    #[test]
    fn nothing_is_told_as_java_tells_it() {
        let start = Instant::now();
        let line = Stats::new(10, 1000, false, start).total_line(start);
        assert!(line.starts_with("0 records sent, NaN records/sec (NaN MB/sec), NaN ms avg"), "{line}");
    }

    #[test]
    fn only_so_many_latencies_are_kept() {
        let start = Instant::now();
        let mut stats = Stats::new(5 * SAMPLES_MAX, 1000, false, start);
        for _ in 0..100 {
            stats.add(1, 1, start);
        }
        assert_eq!(stats.samples_ms.len(), 20);
    }
}
