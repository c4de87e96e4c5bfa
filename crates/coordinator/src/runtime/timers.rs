use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use ottla_types::MonoMs;

/// Keyed deadlines: a key has at most one, setting it again moves it. Equal deadlines fire in the order of their keys,
/// so that a run can be replayed.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    deadline_of: HashMap<K, MonoMs>,
    by_deadline: BTreeSet<(MonoMs, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { deadline_of: HashMap::new(), by_deadline: BTreeSet::new() }
    }
}

impl<K: Clone + Ord + Hash> Timers<K> {
    pub(crate) fn set(&mut self, key: K, deadline: MonoMs) {
        self.cancel(&key);
        self.deadline_of.insert(key.clone(), deadline);
        self.by_deadline.insert((deadline, key));
    }

    pub(crate) fn set_if_absent(&mut self, key: K, deadline: MonoMs) {
        if !self.deadline_of.contains_key(&key) {
            self.set(key, deadline);
        }
    }

    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some((key, deadline)) = self.deadline_of.remove_entry(key) {
            self.by_deadline.remove(&(deadline, key));
        }
    }

    pub(crate) fn next_deadline(&self) -> MonoMs {
        self.by_deadline.first().map_or(MonoMs::NEVER, |(deadline, _)| *deadline)
    }

    /// Takes the earliest key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: MonoMs) -> Option<K> {
        if self.next_deadline() > now {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.deadline_of.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline() {
        let mut timers = Timers::default();
        timers.set("a", MonoMs(10));
        timers.set("b", MonoMs(5));
        timers.set("a", MonoMs(3));
        assert_eq!(timers.next_deadline(), MonoMs(3));
        assert_eq!(timers.pop_due(MonoMs(2)), None);
        assert_eq!(timers.pop_due(MonoMs(9)), Some("a"));
        timers.set_if_absent("b", MonoMs(1));
        assert_eq!(timers.next_deadline(), MonoMs(5));
        timers.cancel(&"b");
        assert_eq!(timers.pop_due(MonoMs(9)), None);
        assert_eq!(timers.next_deadline(), MonoMs::NEVER);
    }
}
