//! A sleep that can be cut short: by a deadline that comes closer, by new work, by the end.

use std::sync::atomic::{AtomicU64, Ordering};

use ottla_types::MonoMs;
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;

/// What [`Alarm`]'s sleeper plans while it works: whatever comes up now, it will see.
const AWAKE: u64 = 0;

/// One thread sleeps on it; any thread may wake that.
#[derive(Debug, Default)]
pub struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
    /// When the sleeper means to wake up, as [`MonoMs`]; [`AWAKE`] while it works.
    planned: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    is_rung: bool,
    is_stopped: bool,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There may be something to do.
    Work,
    /// The thread is to end.
    Stop,
}

impl Alarm {
    /// Wakes the sleeper, or lets its next sleep end at once.
    pub fn ring(&self) {
        self.state.lock().is_rung = true;
        self.changed.notify_one();
    }

    /// Wakes the sleeper if it would sleep beyond `deadline`. Cheap when it would not.
    pub fn ring_before(&self, deadline: MonoMs) {
        if deadline.0 < self.planned.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// From now on every sleep ends at once, and tells to stop.
    pub fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_one();
    }

    pub fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }

    /// Sleeps until `deadline()` or until woken. The deadline is asked for again once it is known to others, so that
    /// neither side misses one that comes closer in between.
    pub fn sleep_until(&self, clock: &Clock, deadline: impl Fn() -> MonoMs) -> Woken {
        let planned = deadline();
        self.planned.store(planned.0, Ordering::SeqCst);
        let woken = self.sleep(clock, planned.min(deadline()));
        self.planned.store(AWAKE, Ordering::SeqCst);
        woken
    }

    fn sleep(&self, clock: &Clock, deadline: MonoMs) -> Woken {
        let mut state = self.state.lock();
        while !state.is_rung && !state.is_stopped {
            if deadline == MonoMs::NEVER {
                self.changed.wait(&mut state);
            } else if self.changed.wait_until(&mut state, clock.instant(deadline)).timed_out() {
                break;
            }
        }
        state.is_rung = false;
        if state.is_stopped { Woken::Stop } else { Woken::Work }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_sleep_ends_at_its_deadline() {
        let clock = Clock::start();
        let alarm = Alarm::default();
        let deadline = clock.now().mono.plus_ms(5);
        assert_eq!(alarm.sleep_until(&clock, || deadline), Woken::Work);
        assert!(clock.now().mono >= deadline);
    }

    #[test]
    fn a_ring_while_awake_is_not_lost() {
        let alarm = Alarm::default();
        alarm.ring();
        assert_eq!(alarm.sleep_until(&Clock::start(), || MonoMs::NEVER), Woken::Work);
    }

    #[test]
    fn a_closer_deadline_and_the_end_wake_the_sleeper() {
        let alarm = Arc::new(Alarm::default());
        let (told, woken) = mpsc::channel();
        let sleeper = Arc::clone(&alarm);
        let thread = std::thread::spawn(move || {
            let clock = Clock::start();
            let far = MonoMs(u64::from(u32::MAX));
            loop {
                let why = sleeper.sleep_until(&clock, || far);
                told.send(why).unwrap();
                if why == Woken::Stop {
                    return;
                }
            }
        });
        while alarm.planned.load(Ordering::SeqCst) == AWAKE {
            std::thread::yield_now();
        }
        alarm.ring_before(MonoMs(u64::from(u32::MAX)));
        assert!(woken.try_recv().is_err(), "it would have woken up anyway");
        alarm.ring_before(MonoMs(7));
        assert_eq!(woken.recv().unwrap(), Woken::Work);
        alarm.stop();
        assert_eq!(woken.recv().unwrap(), Woken::Stop);
        thread.join().unwrap();
    }

    #[test]
    fn a_deadline_that_comes_closer_meanwhile_is_seen() {
        let calls = std::cell::Cell::new(0);
        let deadline = || {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { MonoMs::NEVER } else { MonoMs(0) }
        };
        assert_eq!(Alarm::default().sleep_until(&Clock::start(), deadline), Woken::Work);
    }
}
