use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assignment, GroupSpec, topics_by_subscribers};

/// What is left of a topic while its subscribers take their runs one after another.
struct Remaining {
    partitions: i32,
    subscribers: usize,
    next: i32,
}

pub(super) fn assign(group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
    let mut assignments = vec![Assignment::new(); group.members.len()];
    let ranks = ranks(group);
    for (mut subscribers, topics) in topics_by_subscribers(group) {
        subscribers.sort_by_key(|index| ranks.get(*index));
        for topic_id in topics {
            let partitions = group.partitions.get(&topic_id).copied().unwrap_or(0);
            let mut topic = Remaining { partitions, subscribers: subscribers.len(), next: 0 };
            for &index in &subscribers {
                let run = topic.take_run();
                if run.is_empty() {
                    // Nor is anything left for those who follow.
                    break;
                }
                if let Some(assignment) = assignments.get_mut(index) {
                    assignment.insert(topic_id, run.collect());
                }
            }
        }
    }
    group.members.keys().cloned().zip(assignments).collect()
}

impl Remaining {
    /// The next subscriber's run: those who come first get one more, where the partitions don't divide evenly.
    fn take_run(&mut self) -> std::ops::Range<i32> {
        let left = usize::try_from(self.partitions - self.next).unwrap_or(0);
        let length = i32::try_from(left.div_ceil(self.subscribers.max(1))).unwrap_or(i32::MAX);
        let run = self.next..self.next + length;
        self.next = run.end;
        self.subscribers = self.subscribers.saturating_sub(1);
        run
    }
}

/// The place of each member: static members first, by instance id, so that they get the same runs in their next life; then
/// the others by id.
fn ranks(group: &GroupSpec) -> Vec<usize> {
    let mut in_order: Vec<_> = group.members.values().map(|member| &member.instance_id).enumerate().collect();
    // The members come in the order of their ids.
    in_order.sort_by_key(|(index, instance_id)| (instance_id.is_none(), *instance_id, *index));
    let mut ranks = vec![0; in_order.len()];
    for (rank, (index, _)) in in_order.into_iter().enumerate() {
        if let Some(of_member) = ranks.get_mut(index) {
            *of_member = rank;
        }
    }
    ranks
}
