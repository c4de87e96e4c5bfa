//! Of each topic, a range of neighbouring partitions to each member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::TopicPartition;

use super::{
    Assignment, Assignor, GroupMember, TopicRacks, in_assignment_order, rack_of, racks_matter,
    without_user_data,
};

/// Divides the partitions of each topic among its members as evenly as possible, in ranges; the first members get one
/// more where it doesn't divide. Topics with the same members and number of partitions are divided alike, so that
/// partitions of the same number are read together.
///
/// With racks known, and where they make a difference, members first get partitions that have a replica in their rack, as
/// far as this keeps the balance and the likeness of topics (KIP-881). Known as `range`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(&self, topics: &TopicRacks, members: &[GroupMember]) -> BTreeMap<String, Assignment> {
        let members = in_assignment_order(members);
        let mut shares: Vec<TopicShares<'_>> =
            topics.iter().map(|(topic, partitions)| TopicShares::new(topic, partitions, &members)).collect();
        if shares.iter().any(|topic| topic.racks_matter) {
            assign_by_rack(&mut shares);
        }
        for topic in &mut shares {
            topic.assign_ranges(false);
        }
        let mut assigned = vec![Vec::new(); members.len()];
        for topic in &shares {
            for (partition, owner) in topic.owners.iter().enumerate() {
                if let Some(owner) = owner {
                    let partition = TopicPartition::new(Arc::clone(topic.name), partition as i32);
                    assigned[topic.consumers[*owner].member].push(partition);
                }
            }
        }
        without_user_data(members.iter().map(|member| member.member_id.clone()).zip(assigned))
    }
}

/// Topics that the same members read and that have the same number of partitions are assigned together.
fn assign_by_rack(topics: &mut [TopicShares<'_>]) {
    type Likeness<'a> = (Vec<Consumer<'a>>, usize);
    let mut alike: BTreeMap<Likeness<'_>, Vec<&mut TopicShares<'_>>> = BTreeMap::new();
    for topic in topics {
        let partitions = if topic.consumers.iter().any(|c| c.rack.is_some()) { topic.racks.len() } else { 0 };
        alike.entry((topic.consumers.clone(), partitions)).or_default().push(topic);
    }
    for ((consumers, partitions), mut topics) in alike {
        match topics.as_mut_slice() {
            [topic] if topic.racks_matter => topic.assign_ranges(true),
            [_] => {}
            topics => assign_alike(topics, consumers.len(), partitions),
        }
    }
}

/// A partition number goes to the first member whose rack has a replica of it in every topic.
fn assign_alike(topics: &mut [&mut TopicShares<'_>], consumers: usize, partitions: usize) {
    for partition in 0..partitions {
        let fits = |consumer: &usize| {
            topics.iter().all(|topic| topic.assignable(*consumer) > 0 && topic.is_near(*consumer, partition))
        };
        let Some(consumer) = (0..consumers).find(fits) else { continue };
        for topic in topics.iter_mut() {
            topic.give(consumer, &[partition]);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Consumer<'a> {
    /// Index in the sorted list of members.
    member: usize,
    rack: Option<&'a str>,
}

/// The state of one topic's division.
struct TopicShares<'a> {
    name: &'a Arc<str>,
    racks: &'a [Vec<String>],
    consumers: Vec<Consumer<'a>>,
    racks_matter: bool,
    /// For each partition its consumer, by index.
    owners: Vec<Option<usize>>,
    /// Of each consumer.
    counts: Vec<usize>,
    share_min: usize,
    /// How many consumers may still get one above `share_min`.
    extra_left: usize,
}

impl<'a> TopicShares<'a> {
    fn new(name: &'a Arc<str>, racks: &'a [Vec<String>], members: &[&'a GroupMember]) -> TopicShares<'a> {
        let subscribed = members.iter().enumerate().filter(|(_, m)| m.subscription.topics.contains(name));
        let consumers: Vec<Consumer<'a>> =
            subscribed.map(|(member, m)| Consumer { member, rack: rack_of(&m.subscription) }).collect();
        let consumer_racks: BTreeSet<&str> = consumers.iter().filter_map(|c| c.rack).collect();
        TopicShares {
            name,
            racks,
            racks_matter: racks_matter(consumer_racks, racks.iter().map(Vec::as_slice)),
            owners: vec![None; racks.len()],
            counts: vec![0; consumers.len()],
            share_min: racks.len().checked_div(consumers.len()).unwrap_or(0),
            extra_left: racks.len().checked_rem(consumers.len()).unwrap_or(0),
            consumers,
        }
    }

    /// A consumer without a rack is near to everything.
    fn is_near(&self, consumer: usize, partition: usize) -> bool {
        self.consumers[consumer].rack.is_none_or(|rack| self.racks[partition].iter().any(|r| r == rack))
    }

    fn assignable(&self, consumer: usize) -> usize {
        (self.share_min + usize::from(self.extra_left > 0)).saturating_sub(self.counts[consumer])
    }

    fn give(&mut self, consumer: usize, partitions: &[usize]) {
        for partition in partitions {
            self.owners[*partition] = Some(consumer);
        }
        self.counts[consumer] += partitions.len();
        if self.counts[consumer] > self.share_min {
            self.extra_left = self.extra_left.saturating_sub(1);
        }
    }

    fn assign_ranges(&mut self, only_near: bool) {
        for consumer in 0..self.consumers.len() {
            let free = (0..self.owners.len()).filter(|p| self.owners[*p].is_none());
            let fitting = free.filter(|partition| !only_near || self.is_near(consumer, *partition));
            let range: Vec<usize> = fitting.take(self.assignable(consumer)).collect();
            if !range.is_empty() {
                self.give(consumer, &range);
            }
        }
    }
}
