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

    /// What of a new assignment must be written: that of members who had another, or none.
    pub(crate) fn changed_by<'a>(
        &'a self,
        next: &'a BTreeMap<Arc<str>, Assignment>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Assignment)> {
        next.iter()
            .filter(|(id, assignment)| self.members.get(*id).is_none_or(|current| **current != **assignment))
    }
}
