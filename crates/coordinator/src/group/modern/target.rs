use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Timestamp;
use rpds::RedBlackTreeMapSync;

use super::FIRST_EPOCH;
use super::assignor::Assignment;

/// What each member shall have, as the log says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TargetAssignment {
    /// The group's epoch that it was made for.
    pub(crate) epoch: i32,
    /// When it was made; 0 where the log doesn't say.
    pub(crate) made_at: Timestamp,
    members: RedBlackTreeMapSync<Arc<str>, Arc<Assignment>>,
}

impl Default for TargetAssignment {
    fn default() -> TargetAssignment {
        TargetAssignment {
            epoch: FIRST_EPOCH,
            made_at: Timestamp(0),
            members: RedBlackTreeMapSync::default(),
        }
    }
}

impl TargetAssignment {
    /// What the member shall have: nothing if it isn't known.
    pub(crate) fn of(&self, member_id: &str) -> Arc<Assignment> {
        self.members.get(member_id).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, member_id: Arc<str>, assignment: Assignment) {
        self.members.insert_mut(member_id, Arc::new(assignment));
    }

    pub(crate) fn remove(&mut self, member_id: &str) {
        self.members.remove_mut(member_id);
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Assignment>)> {
        self.members.iter()
    }

    /// How long ago it was made, in milliseconds. None if the log doesn't say, or says a time to come: a clock that was set
    /// back makes nobody wait for it.
    pub(crate) fn age_ms(&self, now_ms: i64) -> Option<i64> {
        let made_at = self.made_at.value();
        Some(now_ms.saturating_sub(made_at)).filter(|age| made_at > 0 && *age >= 0)
    }

    /// In how many milliseconds the next may be made, where targets are `interval_ms` apart at the least, so that many who
    /// come and go one after another make one target. None if it may be made now.
    pub(crate) fn next_in_ms(&self, interval_ms: i32, now_ms: i64) -> Option<i64> {
        let left = i64::from(interval_ms).saturating_sub(self.age_ms(now_ms)?);
        (left > 0).then_some(left)
    }

    /// What of a new assignment must be written: that of members who had another, or none.
    pub(crate) fn changed_by<'a>(
        &'a self,
        next: &'a BTreeMap<Arc<str>, Assignment>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Assignment)> {
        next.iter()
            .filter(|(id, assignment)| self.members.get(*id).is_none_or(|current| **current != **assignment))
    }
}
