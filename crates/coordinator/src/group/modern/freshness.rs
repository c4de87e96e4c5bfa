use std::collections::BTreeMap;
use std::sync::Arc;

/// For which groups the topics behind their subscriptions were looked at since they last changed. Not kept in the log:
/// a coordinator that takes over looks again.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    /// The epoch that each group had afterwards. A group that is at an earlier one lost that to a failed write, and what
    /// was found with it.
    epochs: BTreeMap<Arc<str>, i32>,
}

impl Freshness {
    pub(crate) fn is_fresh(&self, group_id: &str, group_epoch: i32) -> bool {
        self.epochs.get(group_id).is_some_and(|epoch| *epoch <= group_epoch)
    }

    pub(crate) fn note(&mut self, group_id: &Arc<str>, group_epoch: i32) {
        self.epochs.insert(Arc::clone(group_id), group_epoch);
    }

    /// Topics have changed: lets the groups be looked at again that `is_concerned` names, and those that are gone.
    pub(crate) fn forget_where(&mut self, is_concerned: impl Fn(&str) -> bool) {
        self.epochs.retain(|group_id, _| !is_concerned(group_id));
    }
}
