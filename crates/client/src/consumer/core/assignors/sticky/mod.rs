//! Balanced, and with as few changes of owners as possible.
//!
//! Where all members subscribed to the same topics, shares are known beforehand and members are filled up to them
//! ([`constrained`]). Otherwise partitions are moved one by one from the fullest to the emptiest members
//! ([`general`]). Both go on from what members say they own.

mod constrained;
mod general;
mod movements;
mod ownership;
mod racks;
mod user_data;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::TopicPartition;

use super::java_order::JavaHashSet;
use super::{Assignment, Assignor, GroupMember, TopicRacks, without_user_data};
use crate::consumer::core::protocol::NO_GENERATION;
use ownership::Ownership;
use racks::Racks;

/// Balances partitions over members and moves as few of them as possible when the group changes (KIP-54). Members give
/// up everything before they join and tell the leader in their user data what they had. With racks known, and where
/// they make a difference, members get partitions that have a replica in their rack as far as the balance allows
/// (KIP-881). Known as `sticky`.
#[derive(Clone, Debug, Default)]
pub struct StickyAssignor {
    last: Option<(Vec<TopicPartition>, i32)>,
}

impl Assignor for StickyAssignor {
    fn name(&self) -> &str {
        "sticky"
    }

    fn subscription_user_data(&self, _: &[Arc<str>]) -> Option<Bytes> {
        self.last.as_ref().map(|(partitions, generation)| user_data::encode(partitions, *generation))
    }

    fn assign(&self, topics: &TopicRacks, members: &[GroupMember]) -> BTreeMap<String, Assignment> {
        let previous = |member: &GroupMember| user_data::decode(member.subscription.user_data.as_ref());
        without_user_data(assign_sticky(topics, members, previous).assigned)
    }

    fn on_assignment(&mut self, assignment: &Assignment, generation: i32) {
        self.last = Some((assignment.partitions.clone(), generation));
    }
}

/// What a member had before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Previous {
    pub partitions: Vec<TopicPartition>,
    /// In which generation it had them, if it said so.
    pub generation: Option<i32>,
}

/// A balanced assignment, and who of the new owners gets something that another member may still read.
#[derive(Debug)]
pub(super) struct Sticky {
    pub assigned: BTreeMap<String, Vec<TopicPartition>>,
    pub changing_hands: Vec<(TopicPartition, String)>,
}

/// A partition, by its topic's index in [`Problem::topics`] and its number.
type Partition = (usize, i32);

/// What there is to assign. Members are known by their index; they stand in the order in which Java's leader walks
/// through them.
struct Problem<'a> {
    topics: Vec<Topic<'a>>,
    members: Vec<Member<'a>>,
    racks: Racks<'a>,
    ownership: Ownership,
}

struct Topic<'a> {
    name: &'a Arc<str>,
    racks: &'a [Vec<String>],
}

impl Topic<'_> {
    fn partitions(&self) -> i32 {
        self.racks.len() as i32
    }
}

struct Member<'a> {
    id: &'a str,
    /// Its place among all members sorted by id.
    rank: usize,
    /// Subscribed topics that exist.
    topics: BTreeSet<usize>,
    generation: Option<i32>,
    /// What it says it had, of topics and partitions that exist.
    claimed: Vec<Partition>,
}

pub(super) fn assign_sticky(
    topics: &TopicRacks,
    members: &[GroupMember],
    previous: impl Fn(&GroupMember) -> Previous,
) -> Sticky {
    let members = in_java_order(members);
    let problem = Problem::new(topics, &members, previous);
    if problem.members.is_empty() {
        return Sticky { assigned: BTreeMap::new(), changing_hands: Vec::new() };
    }
    let same_topics = members.iter().all(|member| subscribes_alike(member, members[0]));
    let (assigned, changing_hands) = if same_topics {
        constrained::assign(&problem)
    } else {
        let assigned = general::assign(&problem);
        let changing = changing_hands(&members, &problem, &assigned);
        (assigned, changing)
    };
    let name = |(topic, partition): &Partition| {
        TopicPartition::new(Arc::clone(problem.topics[*topic].name), *partition)
    };
    let id = |member: usize| problem.members[member].id.to_owned();
    let named = |partitions: &Vec<Partition>| {
        let mut sorted = partitions.clone();
        sorted.sort_unstable();
        sorted.iter().map(name).collect()
    };
    Sticky {
        assigned: assigned.iter().enumerate().map(|(member, of)| (id(member), named(of))).collect(),
        changing_hands: changing_hands.iter().map(|(partition, to)| (name(partition), id(*to))).collect(),
    }
}

fn in_java_order(members: &[GroupMember]) -> Vec<&GroupMember> {
    let mut order = JavaHashSet::default();
    for (at, member) in members.iter().enumerate() {
        order.insert(ottla_types::java_string_hash(&member.member_id), at);
    }
    order.into_ordered().into_iter().map(|at| &members[at]).collect()
}

fn subscribes_alike(one: &GroupMember, other: &GroupMember) -> bool {
    let (one, other) = (&one.subscription.topics, &other.subscription.topics);
    one.len() == other.len() && one.iter().all(|topic| other.contains(topic))
}

/// Partitions that a member gets while another one that says it owns them loses them.
fn changing_hands(
    members: &[&GroupMember],
    problem: &Problem<'_>,
    assigned: &[Vec<Partition>],
) -> Vec<(Partition, usize)> {
    let owned = |member: &&GroupMember| problem.known(&member.subscription.owned_partitions);
    let owned: Vec<BTreeSet<Partition>> = members.iter().map(|m| owned(m).into_iter().collect()).collect();
    let assigned: Vec<BTreeSet<Partition>> = assigned.iter().map(|of| of.iter().copied().collect()).collect();
    let pairs = || owned.iter().zip(&assigned);
    let given_up: BTreeSet<Partition> = pairs().flat_map(|(had, has)| had - has).collect();
    let added = pairs()
        .enumerate()
        .flat_map(|(member, (had, has))| (has - had).into_iter().map(move |p| (p, member)));
    added.filter(|(partition, _)| given_up.contains(partition)).collect()
}

impl<'a> Problem<'a> {
    fn new(
        topics: &'a TopicRacks,
        group: &[&'a GroupMember],
        previous: impl Fn(&GroupMember) -> Previous,
    ) -> Problem<'a> {
        let wanted: BTreeSet<&Arc<str>> = group.iter().flat_map(|m| &m.subscription.topics).collect();
        let topics = topics.iter().filter(|(name, racks)| wanted.contains(name) && !racks.is_empty());
        let topics: Vec<Topic<'a>> = topics.map(|(name, racks)| Topic { name, racks }).collect();
        let mut by_id: Vec<&str> = group.iter().map(|member| member.member_id.as_str()).collect();
        by_id.sort_unstable();
        let mut problem = Problem {
            racks: Racks::new(&topics, group),
            topics,
            members: Vec::new(),
            ownership: Ownership::default(),
        };
        for member in group {
            let before = previous(member);
            problem.members.push(Member {
                id: &member.member_id,
                rank: by_id.partition_point(|id| *id < member.member_id.as_str()),
                topics: member.subscription.topics.iter().filter_map(|name| problem.topic(name)).collect(),
                generation: before.generation,
                claimed: problem.known(&before.partitions),
            });
        }
        let said = group.iter().map(|member| member.subscription.generation.unwrap_or(NO_GENERATION));
        problem.ownership = Ownership::settle(&problem.members, &said.collect::<Vec<_>>());
        problem
    }

    fn topic(&self, name: &Arc<str>) -> Option<usize> {
        self.topics.binary_search_by(|topic| topic.name.cmp(name)).ok()
    }

    /// Those that exist.
    fn known(&self, partitions: &[TopicPartition]) -> Vec<Partition> {
        let known = partitions.iter().filter_map(|tp| Some((self.topic(&tp.topic)?, tp.partition)));
        known.filter(|(topic, partition)| (0..self.topics[*topic].partitions()).contains(partition)).collect()
    }

    fn partitions_of(&self, topic: usize) -> impl Iterator<Item = Partition> + use<> {
        (0..self.topics[topic].partitions()).map(move |partition| (topic, partition))
    }

    fn partition_count(&self) -> usize {
        self.topics.iter().map(|topic| topic.racks.len()).sum()
    }

    /// Java's `TopicPartition.hashCode`.
    fn hash_code(&self, (topic, partition): Partition) -> i32 {
        let name = ottla_types::java_string_hash(self.topics[topic].name);
        partition.wrapping_add(31).wrapping_mul(31).wrapping_add(name)
    }
}
