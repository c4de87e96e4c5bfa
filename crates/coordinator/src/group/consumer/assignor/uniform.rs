//! Members keep what they have and still subscribe to. What belongs to nobody goes to those who have least. Then, while
//! somebody has at least two more than another who could have one of them, one moves. Where all subscribe to the same,
//! no assignment moves fewer partitions and is as even.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;

use super::{Assignment, GroupSpec, MemberSpec, topics_by_subscribers};

type Partition = (Uuid, i32);

/// How often the groups of topics are looked through for moves. One pass is enough where all who subscribe to a topic
/// subscribe to the same; where subscriptions overlap, what moves in one group of topics may unbalance another.
const PASSES_MAX: usize = 16;

/// Topics with the same subscribers: which of them a partition belongs to makes no difference.
struct TopicGroup {
    /// In the order of the members.
    subscribers: Vec<Subscriber>,
    unassigned: Vec<Partition>,
}

/// What a member has of the topics of a group.
struct Subscriber {
    /// The member's index.
    member: usize,
    /// What the member had before.
    kept: Vec<Partition>,
    /// What it gets now: this is passed on first, for nobody has begun to read it.
    given: Vec<Partition>,
}

impl Subscriber {
    fn has_nothing(&self) -> bool {
        self.kept.is_empty() && self.given.is_empty()
    }

    fn give_up_one(&mut self) -> Option<Partition> {
        self.given.pop().or_else(|| self.kept.pop())
    }

    fn load(&self, loads: &[usize]) -> usize {
        loads.get(self.member).copied().unwrap_or(0)
    }
}

pub(super) fn assign(group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
    let mut topic_groups = topic_groups(group);
    let mut loads = vec![0; group.members.len()];
    for topics in &topic_groups {
        for subscriber in &topics.subscribers {
            add(&mut loads, subscriber.member, subscriber.kept.len() as isize);
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
    let members: Vec<&MemberSpec> = group.members.values().collect();
    let by_subscribers = topics_by_subscribers(group).into_iter();
    by_subscribers
        .map(|(subscribers, topics)| TopicGroup::new(group, &members, subscribers, &topics))
        .collect()
}

impl TopicGroup {
    fn new(
        group: &GroupSpec,
        members: &[&MemberSpec],
        subscribers: Vec<usize>,
        topics: &[Uuid],
    ) -> TopicGroup {
        let mut free: BTreeSet<Partition> = BTreeSet::new();
        for topic_id in topics {
            let partitions = group.partitions.get(topic_id).copied().unwrap_or(0);
            free.extend((0..partitions).map(|partition| (*topic_id, partition)));
        }
        let subscriber = |index: usize| {
            let assigned = &*members.get(index)?.assigned;
            let mut kept = Vec::new();
            for (topic_id, partitions) in of_topics(assigned, topics) {
                let partitions = partitions.iter().map(|partition| (*topic_id, *partition));
                kept.extend(partitions.filter(|partition| free.remove(partition)));
            }
            Some(Subscriber { member: index, kept, given: Vec::new() })
        };
        let subscribers = subscribers.into_iter().filter_map(subscriber).collect();
        TopicGroup { subscribers, unassigned: free.into_iter().collect() }
    }

    /// Gives each partition that belongs to nobody to a subscriber with the least.
    fn hand_out(&mut self, loads: &mut [usize]) {
        if self.unassigned.is_empty() {
            return;
        }
        let mut by_load = self.by_load(loads, |_| true);
        for partition in std::mem::take(&mut self.unassigned) {
            let Some((load, place)) = by_load.pop_first() else { return };
            let Some(subscriber) = self.subscribers.get_mut(place) else { return };
            subscriber.given.push(partition);
            add(loads, subscriber.member, 1);
            by_load.insert((load + 1, place));
        }
    }

    /// Moves partitions from those with most to those with least, while that makes them more even. Answers how many.
    fn balance(&mut self, loads: &mut [usize]) -> usize {
        if self.is_even(loads) {
            return 0;
        }
        let mut takers = self.by_load(loads, |_| true);
        let mut givers = self.by_load(loads, |subscriber| !subscriber.has_nothing());
        let mut moved = 0;
        while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), takers.first()) {
            if most < least + 2 {
                break;
            }
            let Some(partition) = self.subscribers.get_mut(giver).and_then(Subscriber::give_up_one) else {
                break;
            };
            if let Some(taker) = self.subscribers.get_mut(taker) {
                taker.given.push(partition);
            }
            for (place, load, change) in [(giver, most, -1), (taker, least, 1)] {
                let Some(subscriber) = self.subscribers.get(place) else { continue };
                add(loads, subscriber.member, change);
                let next = load.saturating_add_signed(change);
                takers.remove(&(load, place));
                takers.insert((next, place));
                givers.remove(&(load, place));
                if !subscriber.has_nothing() {
                    givers.insert((next, place));
                }
            }
            moved += 1;
        }
        moved
    }

    /// Whether nothing is to be moved. Most groups of topics are even in most passes.
    fn is_even(&self, loads: &[usize]) -> bool {
        let givers = self.subscribers.iter().filter(|subscriber| !subscriber.has_nothing());
        let most = givers.map(|subscriber| subscriber.load(loads)).max().unwrap_or(0);
        let least = self.subscribers.iter().map(|subscriber| subscriber.load(loads)).min().unwrap_or(0);
        most < least + 2
    }

    /// Loads of subscribers, with their places.
    fn by_load(&self, loads: &[usize], accepts: impl Fn(&Subscriber) -> bool) -> BTreeSet<(usize, usize)> {
        let accepted = self.subscribers.iter().enumerate().filter(|(_, subscriber)| accepts(subscriber));
        accepted.map(|(place, subscriber)| (subscriber.load(loads), place)).collect()
    }
}

/// What of an assignment is of these topics, in their order: whichever of the two is less is gone through.
fn of_topics<'a>(
    assigned: &'a Assignment,
    topics: &'a [Uuid],
) -> impl Iterator<Item = (&'a Uuid, &'a BTreeSet<i32>)> {
    let by_topic = topics.len() < assigned.len();
    let named = topics.iter().filter(move |_| by_topic).filter_map(|id| assigned.get_key_value(id));
    named.chain(assigned.iter().filter(move |_| !by_topic))
}

fn add(loads: &mut [usize], member: usize, change: isize) {
    if let Some(load) = loads.get_mut(member) {
        *load = load.saturating_add_signed(change);
    }
}

fn collect(group: &GroupSpec, topic_groups: Vec<TopicGroup>) -> BTreeMap<Arc<str>, Assignment> {
    let mut by_index = vec![Assignment::new(); group.members.len()];
    for topics in topic_groups {
        for subscriber in topics.subscribers {
            let Some(assignment) = by_index.get_mut(subscriber.member) else { continue };
            for (topic_id, partition) in subscriber.kept.into_iter().chain(subscriber.given) {
                assignment.entry(topic_id).or_default().insert(partition);
            }
        }
    }
    group.members.keys().cloned().zip(by_index).collect()
}
