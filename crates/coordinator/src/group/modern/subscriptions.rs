use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

/// Names, and how many hold each: members that subscribe to a topic, or name an assignor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameCounts(RedBlackTreeMapSync<Arc<str>, usize>);

impl NameCounts {
    pub(crate) fn add(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(count) => *count += 1,
            None => self.0.insert_mut(Arc::from(name), 1),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let is_last = match self.0.get_mut(name) {
            Some(count) => {
                *count -= 1;
                *count == 0
            }
            None => false,
        };
        if is_last {
            self.0.remove_mut(name);
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// The name that most hold; of several, the last in their order.
    pub(crate) fn most_frequent(&self) -> Option<&Arc<str>> {
        self.0.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name)
    }
}
