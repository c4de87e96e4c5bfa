use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use ottla_types::MonoMs;

/// Keyed deadlines: a key has at most one, setting it again moves it. Equal deadlines fire in the order in which they were
/// set, so that a run can be replayed. Keys are compared for equality alone: ordering them would cost more than all else.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    position_of: HashMap<K, Position>,
    by_position: BTreeMap<Position, K>,
    /// How many deadlines were ever set.
    count: u64,
}

type Position = (MonoMs, u64);

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { position_of: HashMap::new(), by_position: BTreeMap::new(), count: 0 }
    }
}

impl<K: Clone + Eq + Hash> Timers<K> {
    pub(crate) fn set(&mut self, key: K, deadline: MonoMs) {
        let position = (deadline, self.count);
        self.count += 1;
        let key = match self.position_of.entry(key) {
            Entry::Occupied(mut known) => {
                let before = std::mem::replace(known.get_mut(), position);
                self.by_position.remove(&before)
            }
            Entry::Vacant(vacant) => {
                let key = vacant.key().clone();
                vacant.insert(position);
                Some(key)
            }
        };
        if let Some(key) = key {
            self.by_position.insert(position, key);
        }
    }

    pub(crate) fn set_if_absent(&mut self, key: K, deadline: MonoMs) {
        if !self.position_of.contains_key(&key) {
            self.set(key, deadline);
        }
    }

    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(position) = self.position_of.remove(key) {
            self.by_position.remove(&position);
        }
    }

    pub(crate) fn next_deadline(&self) -> MonoMs {
        self.by_position.first_key_value().map_or(MonoMs::NEVER, |((deadline, _), _)| *deadline)
    }

    /// Takes the earliest key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: MonoMs) -> Option<K> {
        let next = self.by_position.first_entry().filter(|next| next.key().0 <= now)?;
        let key = next.remove();
        self.position_of.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_deadlines_fire_as_they_were_set() {
        let mut timers = Timers::default();
        for key in ["c", "a", "b"] {
            timers.set(key, MonoMs(7));
        }
        timers.set("c", MonoMs(7));
        let due: Vec<&str> = std::iter::from_fn(|| timers.pop_due(MonoMs(7))).collect();
        assert_eq!(due, ["a", "b", "c"]);
    }

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
