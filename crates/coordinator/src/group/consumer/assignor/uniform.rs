//! Members keep what they have and still subscribe to. What belongs to nobody goes to those who have least. Then, while
//! somebody has at least two more than another who could have one of them, one moves. Where all subscribe to the same,
//! no assignment moves fewer partitions and is as even.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;

use super::{Assignment, GroupSpec, topics_by_subscribers};

type Partition = (Uuid, i32);

/// How often the groups of topics are looked through for moves. One pass is enough where all who subscribe to a topic
/// subscribe to the same; where subscriptions overlap, what moves in one group of topics may unbalance another.
const PASSES_MAX: usize = 16;

/// Topics with the same subscribers: which of them a partition belongs to makes no difference.
struct TopicGroup {
    /// Indexes of members, ascending.
    subscribers: Vec<usize>,
    /// What each member has of these topics.
    held: BTreeMap<usize, Held>,
    unassigned: Vec<Partition>,
}

#[derive(Default)]
struct Held {
    /// What the member had before.
    kept: Vec<Partition>,
    /// What it gets now: this is passed on first, for nobody has begun to read it.
    given: Vec<Partition>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.given.is_empty()
    }

    fn give_up_one(&mut self) -> Option<Partition> {
        self.given.pop().or_else(|| self.kept.pop())
    }
}

pub(super) fn assign(group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
    let mut topic_groups = topic_groups(group);
    let mut loads = vec![0; group.members.len()];
    for topics in &topic_groups {
        for (&member, held) in &topics.held {
            add(&mut loads, member, held.kept.len() as isize);
        }
    }
    // Those with the least choice first.
    topic_groups.sort_by_key(|topics| topics.subscribers.len());
    for topics in &mut topic_groups {
        topics.hand_out(&mut loads);
    }
    for _ in 0..PASSES_MAX {
        let moved = topic_groups.iter_mut().map(|topics| topics.balance(&mut loads)).sum::<usize>();
        if moved == 0 {
            break;
        }
    }
    collect(group, topic_groups)
}

fn topic_groups(group: &GroupSpec) -> Vec<TopicGroup> {
    let by_subscribers = topics_by_subscribers(group).into_iter();
    by_subscribers.map(|(subscribers, topics)| TopicGroup::new(group, subscribers, &topics)).collect()
}

impl TopicGroup {
    fn new(group: &GroupSpec, subscribers: Vec<usize>, topics: &[Uuid]) -> TopicGroup {
        let mut free: BTreeSet<Partition> = BTreeSet::new();
        for topic_id in topics {
            let partitions = group.partitions.get(topic_id).copied().unwrap_or(0);
            free.extend((0..partitions).map(|partition| (*topic_id, partition)));
        }
        let mut held = BTreeMap::new();
        let members: Vec<_> = group.members.values().collect();
        for &index in &subscribers {
            let Some(member) = members.get(index) else { continue };
            let mut of_member = Held::default();
            for (topic_id, partitions) in &*member.assigned {
                for &partition in partitions {
                    if free.remove(&(*topic_id, partition)) {
                        of_member.kept.push((*topic_id, partition));
                    }
                }
            }
            held.insert(index, of_member);
        }
        TopicGroup { subscribers, held, unassigned: free.into_iter().collect() }
    }

    /// Gives each partition that belongs to nobody to a subscriber with the least.
    fn hand_out(&mut self, loads: &mut [usize]) {
        let mut by_load = self.by_load(loads, |_| true);
        for partition in std::mem::take(&mut self.unassigned) {
            let Some((load, member)) = by_load.pop_first() else { return };
            self.held.entry(member).or_default().given.push(partition);
            add(loads, member, 1);
            by_load.insert((load + 1, member));
        }
    }

    /// Moves partitions from those with most to those with least, while that makes them more even. Answers how many.
    fn balance(&mut self, loads: &mut [usize]) -> usize {
        let mut takers = self.by_load(loads, |_| true);
        let mut givers = self.by_load(loads, |held| !held.is_empty());
        let mut moved = 0;
        while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), takers.first()) {
            if most < least + 2 {
                break;
            }
            let Some(partition) = self.held.get_mut(&giver).and_then(Held::give_up_one) else { break };
            self.held.entry(taker).or_default().given.push(partition);
            for (member, load, change) in [(giver, most, -1), (taker, least, 1)] {
                add(loads, member, change);
                let next = load.saturating_add_signed(change);
                takers.remove(&(load, member));
                takers.insert((next, member));
                givers.remove(&(load, member));
                if self.held.get(&member).is_some_and(|held| !held.is_empty()) {
                    givers.insert((next, member));
                }
            }
            moved += 1;
        }
        moved
    }

    fn by_load(&self, loads: &[usize], accepts: impl Fn(&Held) -> bool) -> BTreeSet<(usize, usize)> {
        let accepted = self.held.iter().filter(|(_, held)| accepts(held));
        accepted.filter_map(|(&member, _)| Some((*loads.get(member)?, member))).collect()
    }
}

fn add(loads: &mut [usize], member: usize, change: isize) {
    if let Some(load) = loads.get_mut(member) {
        *load = load.saturating_add_signed(change);
    }
}

fn collect(group: &GroupSpec, topic_groups: Vec<TopicGroup>) -> BTreeMap<Arc<str>, Assignment> {
    let mut by_index = vec![Assignment::new(); group.members.len()];
    for topics in topic_groups {
        for (member, held) in topics.held {
            let Some(assignment) = by_index.get_mut(member) else { continue };
            for (topic_id, partition) in held.kept.into_iter().chain(held.given) {
                assignment.entry(topic_id).or_default().insert(partition);
            }
        }
    }
    group.members.keys().cloned().zip(by_index).collect()
}
