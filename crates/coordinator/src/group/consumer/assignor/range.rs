use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Uuid;

use super::{Assignment, GroupSpec, MemberSpec};

/// What is left of a topic while its subscribers take their runs one after another.
struct Remaining {
    partitions: i32,
    subscribers: i32,
    next: i32,
}

pub(super) fn assign(group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
    let mut topics: BTreeMap<Uuid, Remaining> = BTreeMap::new();
    for topic_id in group.members.values().flat_map(|member| &*member.subscribed) {
        let Some(&partitions) = group.partitions.get(topic_id) else { continue };
        let topic = topics.entry(*topic_id).or_insert(Remaining { partitions, subscribers: 0, next: 0 });
        topic.subscribers += 1;
    }
    let mut assignments = BTreeMap::new();
    for (member_id, member) in in_order(group) {
        let mut assignment = Assignment::new();
        for topic_id in &*member.subscribed {
            let run = topics.get_mut(topic_id).map_or(0..0, Remaining::take_run);
            if !run.is_empty() {
                assignment.insert(*topic_id, run.collect());
            }
        }
        assignments.insert(member_id.clone(), assignment);
    }
    assignments
}

impl Remaining {
    /// The next subscriber's run: those who come first get one more, where the partitions don't divide evenly.
    fn take_run(&mut self) -> std::ops::Range<i32> {
        let left = self.partitions - self.next;
        let length = (left + self.subscribers - 1) / self.subscribers;
        let run = self.next..self.next + length;
        self.next = run.end;
        self.subscribers -= 1;
        run
    }
}

/// Static members first, by instance id, so that they get the same runs in their next life; then the others by id.
fn in_order(group: &GroupSpec) -> Vec<(&Arc<str>, &MemberSpec)> {
    let mut members: Vec<_> = group.members.iter().collect();
    members
        .sort_by_key(|(member_id, member)| (member.instance_id.is_none(), &member.instance_id, *member_id));
    members
}
