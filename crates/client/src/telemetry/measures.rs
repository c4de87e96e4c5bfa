//! Counts and times, as whoever does something notes them, and as they are read now and then.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Goes up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Mean and largest of what was noted.
#[derive(Debug, Default)]
pub(crate) struct Spread(Mutex<Noted>);

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    count: u64,
    sum: u64,
    max: u64,
}

impl Spread {
    pub fn note(&self, value: u64) {
        let mut noted = self.0.lock();
        noted.count += 1;
        noted.sum = noted.sum.saturating_add(value);
        noted.max = noted.max.max(value);
    }

    /// How many milliseconds have passed.
    pub fn note_since(&self, began: Instant) {
        self.note(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    }

    pub fn take(&self) -> Option<(f64, f64)> {
        let Noted { count, sum, max } = std::mem::take(&mut *self.0.lock());
        (count > 0).then(|| (sum as f64 / count as f64, max as f64))
    }
}

/// Something that is done again and again: how often, and how many milliseconds it took.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub count: Counter,
    pub took: Spread,
}

impl Activity {
    pub fn note(&self, took_ms: u64) {
        self.count.add(1);
        self.took.note(took_ms);
    }

    /// It was done just now.
    pub fn note_since(&self, began: Instant) {
        self.count.add(1);
        self.took.note_since(began);
    }
}

/// When something happened last.
#[derive(Debug, Default)]
pub(crate) struct Moment(Mutex<Option<Instant>>);

impl Moment {
    pub fn is_now(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    pub fn elapsed(&self) -> Option<Duration> {
        self.0.lock().map(|at| at.elapsed())
    }
}

/// Which part of the time a client's owner waits for it: of each time that it is asked, from when it was done with what it was
/// given last until it is given more.
#[derive(Debug, Default)]
pub(crate) struct Idleness(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    count: u64,
    sum_of_ratios: f64,
    ended: Option<Instant>,
}

/// Somebody waits until this is dropped.
pub(crate) struct Idle<'a> {
    of: &'a Idleness,
    began: Instant,
}

impl Idleness {
    pub fn begin(&self) -> Idle<'_> {
        Idle { of: self, began: Instant::now() }
    }

    pub fn take(&self) -> Option<f64> {
        let mut waits = self.0.lock();
        let Waits { count, sum_of_ratios, .. } = *waits;
        (waits.count, waits.sum_of_ratios) = (0, 0.0);
        (count > 0).then(|| sum_of_ratios / count as f64)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let (mut waits, now) = (self.of.0.lock(), Instant::now());
        let waited = now.duration_since(self.began);
        let worked = waits.ended.map_or(Duration::ZERO, |ended| self.began.saturating_duration_since(ended));
        waits.ended = Some(now);
        let whole = waited + worked;
        // What took no time at all says nothing.
        if !whole.is_zero() {
            waits.count += 1;
            waits.sum_of_ratios += waited.as_secs_f64() / whole.as_secs_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idleness_is_the_part_of_the_time_that_is_waited() {
        let idleness = Idleness::default();
        assert_eq!(idleness.take(), None);
        for (worked_ms, waited_ms) in [(50, 100), (300, 100), (100, 300)] {
            tokio::time::sleep(Duration::from_millis(worked_ms)).await;
            let idle = idleness.begin();
            tokio::time::sleep(Duration::from_millis(waited_ms)).await;
            drop(idle);
        }
        // Before the first time nobody was known to work.
        assert_eq!(idleness.take(), Some((1.0 + 0.25 + 0.75) / 3.0));
        assert_eq!(idleness.take(), None);
    }
}
