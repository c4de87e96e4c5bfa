//! Server-side assignors: from who is in the group, what each subscribes to and what each has, to who shall have what.
//!
//! What always holds of an assignment: every partition of a topic that somebody subscribes to belongs to exactly one
//! member, and that member subscribes to the topic. The same input always has the same answer.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ottla_types::Uuid;

pub use crate::group::modern::assignor::{Assignment, GroupSpec, MemberSpec};

/// The assignors that `group.consumer.assignors` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Spreads partitions evenly and leaves them where they are if it can.
    Uniform,
    /// Gives each member a run of each topic's partitions, and of topics with as many partitions the same run.
    Range,
}

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// As members and settings name it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member shall have; members that get nothing are there with nothing.
    pub fn assign(self, group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}

/// Topics that exist by who subscribes to them: indexes of members, ascending. It takes as long as there are different
/// subscriptions, however many share one.
fn topics_by_subscribers(group: &GroupSpec) -> BTreeMap<Vec<usize>, Vec<Uuid>> {
    // Sets that are shared, in the order of the first who has them, and who has them.
    let mut sets: Vec<(&BTreeSet<Uuid>, Vec<usize>)> = Vec::new();
    let mut known: HashMap<*const BTreeSet<Uuid>, usize> = HashMap::new();
    for (index, member) in group.members.values().enumerate() {
        let set = *known.entry(Arc::as_ptr(&member.subscribed)).or_insert(sets.len());
        match sets.get_mut(set) {
            Some((_, members)) => members.push(index),
            None => sets.push((&*member.subscribed, vec![index])),
        }
    }
    let mut sets_of: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (number, (topics, _)) in sets.iter().enumerate() {
        for topic_id in topics.iter().filter(|id| group.partitions.contains_key(id)) {
            sets_of.entry(*topic_id).or_default().push(number);
        }
    }
    let mut topics_of: BTreeMap<Vec<usize>, Vec<Uuid>> = BTreeMap::new();
    for (topic_id, sets) in sets_of {
        topics_of.entry(sets).or_default().push(topic_id);
    }
    let subscribers = |numbers: Vec<usize>| {
        let members = numbers.into_iter().filter_map(|number| sets.get(number));
        let mut members: Vec<usize> = members.flat_map(|(_, members)| members.iter().copied()).collect();
        members.sort_unstable();
        members
    };
    topics_of.into_iter().map(|(numbers, topics)| (subscribers(numbers), topics)).collect()
}
