//! Where operations wait that can't complete yet: a produce for its replicas, a fetch for records.
//!
//! An operation watches the partitions it depends on and has one deadline. Whoever changes a partition checks its
//! watchers; an operation completes once, through the first check that finds it complete or through its deadline.
//! Completed operations are handed to the caller, who runs them holding no lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use ottla_types::MonoMs;
use parking_lot::Mutex;

/// What can wait.
pub trait DelayedOperation: Send {
    /// Whether nothing is left to wait for. Called under the operation's own lock: it must be quick, and take no
    /// lock under which watchers are checked.
    fn is_complete(&mut self) -> bool;
}

/// An operation that waits; shared by the watch lists and the deadline queue.
#[derive(Debug)]
struct Delayed<Op> {
    key: DeadlineKey,
    /// Watch lists that hold this, or held it.
    watched: AtomicUsize,
    /// None once it has been completed.
    op: Mutex<Option<Op>>,
}

type DeadlineKey = (MonoMs, u64);

/// The operations of one kind, by deadline.
pub struct Purgatory<Op> {
    next_id: AtomicU64,
    deadlines: Mutex<BTreeMap<DeadlineKey, Arc<Delayed<Op>>>>,
    /// At most so many entries of watch lists belong to operations that are over.
    stale: AtomicUsize,
    purge_interval: usize,
}

/// The operations that wait for one partition.
pub struct Watchers<Op> {
    list: Mutex<Vec<Arc<Delayed<Op>>>>,
    /// Length of `list`, so that whoever finds nobody waiting takes no lock.
    count: AtomicUsize,
}

impl<Op: DelayedOperation> Purgatory<Op> {
    /// `purge_interval` is the number of completed operations in watch lists that makes [`Purgatory::needs_purge`]
    /// true (`*.purgatory.purge.interval.requests`).
    pub fn new(purge_interval: usize) -> Purgatory<Op> {
        Purgatory {
            next_id: AtomicU64::new(0),
            deadlines: Mutex::default(),
            stale: AtomicUsize::new(0),
            purge_interval,
        }
    }

    /// Lets `op` wait until `deadline` unless it is complete by the time it is watched: then it is given back. The
    /// second look closes the gap between the caller's own look and the watch.
    pub fn watch<'a>(
        &self,
        op: Op,
        deadline: MonoMs,
        watchers: impl Iterator<Item = &'a Watchers<Op>>,
    ) -> Option<Op>
    where
        Op: 'a,
    {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let delayed =
            Arc::new(Delayed { key: (deadline, id), watched: AtomicUsize::new(0), op: Mutex::new(Some(op)) });
        self.deadlines.lock().insert(delayed.key, Arc::clone(&delayed));
        for watchers in watchers {
            delayed.watched.fetch_add(1, Ordering::Relaxed);
            watchers.add(Arc::clone(&delayed));
        }
        // Pairs with that of a check: either this looks after the change was made, or the check finds this waiting.
        fence(Ordering::SeqCst);
        let op = delayed.take_if_complete();
        if op.is_some() {
            self.deadlines.lock().remove(&delayed.key);
            self.note_over(&delayed, 0);
        }
        op
    }

    /// Takes out what waits for this partition and is complete now.
    pub fn check(&self, watchers: &Watchers<Op>) -> Vec<Op> {
        fence(Ordering::SeqCst);
        if watchers.is_empty() {
            return Vec::new();
        }
        let mut completed = Vec::new();
        let mut list = watchers.list.lock();
        list.retain(|delayed| {
            let mut slot = delayed.op.lock();
            let Some(op) = slot.as_mut() else { return false };
            if op.is_complete() {
                completed.extend(slot.take());
                self.deadlines.lock().remove(&delayed.key);
                self.note_over(delayed, 1);
                return false;
            }
            true
        });
        watchers.count.store(list.len(), Ordering::Release);
        drop(list);
        completed
    }

    /// Takes out what has waited long enough.
    pub fn expire(&self, now: MonoMs) -> Vec<Op> {
        let mut expired = Vec::new();
        loop {
            let mut deadlines = self.deadlines.lock();
            let Some(entry) = deadlines.first_entry().filter(|entry| entry.key().0 <= now) else {
                return expired;
            };
            let delayed = entry.remove();
            // Never hold both locks: a check takes them in the other order.
            drop(deadlines);
            let op = delayed.op.lock().take();
            if let Some(op) = op {
                self.note_over(&delayed, 0);
                expired.push(op);
            }
        }
    }

    /// The next deadline; `MonoMs::NEVER` if nothing waits.
    pub fn next_deadline(&self) -> MonoMs {
        self.deadlines.lock().first_key_value().map_or(MonoMs::NEVER, |((deadline, _), _)| *deadline)
    }

    /// Operations that wait.
    pub fn len(&self) -> usize {
        self.deadlines.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether watch lists hold so much of the past that they should be [`Purgatory::purge`]d.
    pub fn needs_purge(&self) -> bool {
        self.stale.load(Ordering::Relaxed) > self.purge_interval
    }

    /// Drops completed operations from watch lists: all partitions' lists are to be given.
    pub fn purge<'a>(&self, all: impl Iterator<Item = &'a Watchers<Op>>)
    where
        Op: 'a,
    {
        self.stale.store(0, Ordering::Relaxed);
        for watchers in all.filter(|watchers| !watchers.is_empty()) {
            let mut list = watchers.list.lock();
            list.retain(|delayed| delayed.op.lock().is_some());
            watchers.count.store(list.len(), Ordering::Release);
        }
    }

    /// [`Purgatory::purge`] of one list, which is checked more seldom than it is waited in.
    pub fn tidy(&self, watchers: &Watchers<Op>) {
        if watchers.is_empty() {
            return;
        }
        let mut list = watchers.list.lock();
        let before = list.len();
        list.retain(|delayed| delayed.op.lock().is_some());
        watchers.count.store(list.len(), Ordering::Release);
        let removed = before - list.len();
        drop(list);
        let _ = self
            .stale
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |stale| Some(stale.saturating_sub(removed)));
    }

    fn note_over(&self, delayed: &Delayed<Op>, removed: usize) {
        let left = delayed.watched.load(Ordering::Relaxed).saturating_sub(removed);
        self.stale.fetch_add(left, Ordering::Relaxed);
    }
}

impl<Op: DelayedOperation> Delayed<Op> {
    fn take_if_complete(&self) -> Option<Op> {
        let mut slot = self.op.lock();
        if slot.as_mut()?.is_complete() { slot.take() } else { None }
    }
}

impl<Op> Watchers<Op> {
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Entries, those of operations that are over among them.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn add(&self, delayed: Arc<Delayed<Op>>) {
        let mut list = self.list.lock();
        list.push(delayed);
        self.count.store(list.len(), Ordering::Release);
    }
}

impl<Op> Default for Watchers<Op> {
    fn default() -> Watchers<Op> {
        Watchers { list: Mutex::default(), count: AtomicUsize::new(0) }
    }
}

impl<Op> fmt::Debug for Watchers<Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<Op> fmt::Debug for Purgatory<Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purgatory").field("waiting", &self.deadlines.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Complete when its counter reaches the goal.
    struct Counting {
        name: &'static str,
        reached: Arc<AtomicUsize>,
        goal: usize,
    }

    impl DelayedOperation for Counting {
        fn is_complete(&mut self) -> bool {
            self.reached.load(Ordering::SeqCst) >= self.goal
        }
    }

    fn op(name: &'static str, reached: &Arc<AtomicUsize>, goal: usize) -> Counting {
        Counting { name, reached: Arc::clone(reached), goal }
    }

    fn names(ops: Vec<Counting>) -> Vec<&'static str> {
        ops.into_iter().map(|op| op.name).collect()
    }

    #[test]
    fn an_operation_completes_once_through_any_of_its_partitions() {
        let purgatory = Purgatory::new(1000);
        let (a, b, reached) = (Watchers::default(), Watchers::default(), Arc::default());
        assert!(purgatory.watch(op("x", &reached, 1), MonoMs(10), [&a, &b].into_iter()).is_none());
        assert!(purgatory.check(&a).is_empty());
        reached.store(1, Ordering::SeqCst);
        assert_eq!(names(purgatory.check(&b)), ["x"]);
        assert!(purgatory.check(&a).is_empty());
        assert!(a.is_empty() && b.is_empty());
        assert!(purgatory.expire(MonoMs(11)).is_empty());
        assert_eq!(purgatory.next_deadline(), MonoMs::NEVER);
    }

    #[test]
    fn what_is_complete_when_it_is_watched_does_not_wait() {
        let purgatory = Purgatory::new(1000);
        let (a, reached) = (Watchers::default(), Arc::new(AtomicUsize::new(5)));
        let given_back = purgatory.watch(op("x", &reached, 5), MonoMs(10), [&a].into_iter());
        assert_eq!(given_back.map(|op| op.name), Some("x"));
        assert!(purgatory.is_empty());
        assert!(purgatory.check(&a).is_empty());
    }

    #[test]
    fn deadlines_pass_in_order() {
        let purgatory = Purgatory::new(1000);
        let (a, reached) = (Watchers::default(), Arc::default());
        for (name, deadline) in [("late", 30), ("early", 10), ("middle", 20)] {
            purgatory.watch(op(name, &reached, 1), MonoMs(deadline), [&a].into_iter());
        }
        assert_eq!(purgatory.next_deadline(), MonoMs(10));
        assert!(purgatory.expire(MonoMs(9)).is_empty());
        assert_eq!(names(purgatory.expire(MonoMs(20))), ["early", "middle"]);
        reached.store(1, Ordering::SeqCst);
        assert_eq!(names(purgatory.check(&a)), ["late"]);
    }

    #[test]
    fn lists_of_quiet_partitions_are_purged() {
        let purgatory = Purgatory::new(10);
        let (busy, quiet, reached) = (Watchers::default(), Watchers::default(), Arc::default());
        for i in 1..=11 {
            purgatory.watch(op("x", &reached, i), MonoMs(1000), [&busy, &quiet].into_iter());
            reached.store(i, Ordering::SeqCst);
            assert_eq!(purgatory.check(&busy).len(), 1);
        }
        assert!(purgatory.needs_purge());
        assert!(!quiet.is_empty());
        purgatory.purge([&busy, &quiet].into_iter());
        assert!(quiet.is_empty());
        assert!(!purgatory.needs_purge());
    }
}
