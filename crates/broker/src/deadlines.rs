//! What happens at a time, unless it is called off before.

use std::collections::BTreeMap;
use std::fmt;

use ottla_types::{MonoMs, Now};
use parking_lot::Mutex;

/// Things to do, by when they are due.
#[derive(Default)]
pub(crate) struct Deadlines(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_time: BTreeMap<DeadlineId, Box<dyn FnOnce(Now) + Send>>,
    next_number: u64,
}

/// Names an entry; ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeadlineId(MonoMs, u64);

impl Deadlines {
    /// `act` hears when it happens.
    pub fn add(&self, due: MonoMs, act: impl FnOnce(Now) + Send + 'static) -> DeadlineId {
        let mut entries = self.0.lock();
        let id = DeadlineId(due, entries.next_number);
        entries.next_number += 1;
        entries.by_time.insert(id, Box::new(act));
        id
    }

    pub fn call_off(&self, id: DeadlineId) {
        let called_off = self.0.lock().by_time.remove(&id);
        // Dropped without the lock: what it holds may come back here.
        drop(called_off);
    }

    /// Does what is due by `now`.
    pub fn expire(&self, now: Now) {
        let due = {
            let mut entries = self.0.lock();
            let later = entries.by_time.split_off(&DeadlineId(MonoMs(now.mono.0.saturating_add(1)), 0));
            std::mem::replace(&mut entries.by_time, later)
        };
        due.into_values().for_each(|act| act(now));
    }

    pub fn next(&self) -> MonoMs {
        self.0.lock().by_time.first_key_value().map_or(MonoMs::NEVER, |(id, _)| id.0)
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").field("next", &self.next()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn mono(ms: u64) -> Now {
        Now { mono: MonoMs(ms), ..Now::default() }
    }

    #[test]
    fn what_is_due_happens_once_and_in_order() {
        let (deadlines, done) = (Deadlines::default(), Arc::new(Mutex::new(Vec::new())));
        let add = |at: u64| {
            let done = Arc::clone(&done);
            deadlines.add(MonoMs(at), move |_| done.lock().push(at))
        };
        let (_, _, called_off, _) = (add(30), add(10), add(20), add(10));
        deadlines.call_off(called_off);
        assert_eq!(deadlines.next(), MonoMs(10));
        deadlines.expire(mono(9));
        assert!(done.lock().is_empty());
        deadlines.expire(mono(20));
        assert_eq!((done.lock().clone(), deadlines.next()), (vec![10, 10], MonoMs(30)));
        deadlines.expire(mono(30));
        assert_eq!((done.lock().clone(), deadlines.next()), (vec![10, 10, 30], MonoMs::NEVER));
    }
}
