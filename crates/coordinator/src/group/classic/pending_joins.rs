//! Member ids that were given out and not yet used. Anybody may ask for one and never come back: there are at most
//! [`PENDING_JOINS_MAX`], and who has the oldest of more asks anew, as clients do whose id isn't known.

use std::collections::BTreeMap;
use std::sync::Arc;

/// So many members of a group may be between their first JoinGroup and their second at the same time.
pub(crate) const PENDING_JOINS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct PendingJoins {
    /// The number of each.
    given: BTreeMap<Arc<str>, u64>,
    by_number: BTreeMap<u64, Arc<str>>,
    next: u64,
}

impl PendingJoins {
    /// Notes an id, and gives back the oldest if there are too many now.
    #[must_use]
    pub(crate) fn insert(&mut self, member_id: &str) -> Option<Arc<str>> {
        let member_id: Arc<str> = Arc::from(member_id);
        self.given.insert(Arc::clone(&member_id), self.next);
        self.by_number.insert(self.next, member_id);
        self.next += 1;
        if self.given.len() <= PENDING_JOINS_MAX {
            return None;
        }
        let (_, oldest) = self.by_number.pop_first()?;
        self.given.remove(&oldest);
        Some(oldest)
    }

    pub(crate) fn contains(&self, member_id: &str) -> bool {
        self.given.contains_key(member_id)
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, member_id: &str) -> bool {
        let number = self.given.remove(member_id);
        number.is_some_and(|number| self.by_number.remove(&number).is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// All of them, the oldest first.
    pub(crate) fn into_ids(self) -> impl Iterator<Item = Arc<str>> {
        self.by_number.into_values()
    }
}
