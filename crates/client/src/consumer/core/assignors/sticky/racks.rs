//! Which members are near to which partitions.

use std::collections::BTreeMap;

use super::{GroupMember, Partition, Topic};
use crate::consumer::core::assignors::{rack_of, racks_matter};

/// What is known of racks; empty where it would make no difference.
pub(super) struct Racks<'a> {
    /// Of each member.
    consumers: Vec<Option<&'a str>>,
    /// Of each topic's partitions.
    partitions: Vec<&'a [Vec<String>]>,
    matter: bool,
    /// How many members have a rack at all, by rack.
    consumers_by_rack: BTreeMap<&'a str, usize>,
}

impl<'a> Racks<'a> {
    pub fn new(topics: &[Topic<'a>], group: &[&'a GroupMember]) -> Racks<'a> {
        let consumers: Vec<Option<&str>> = group.iter().map(|member| rack_of(&member.subscription)).collect();
        let mut consumers_by_rack = BTreeMap::new();
        for rack in consumers.iter().flatten() {
            *consumers_by_rack.entry(*rack).or_default() += 1;
        }
        let partitions: Vec<&'a [Vec<String>]> = topics.iter().map(|topic| topic.racks).collect();
        let of_partitions = partitions.iter().flat_map(|topic| topic.iter().map(Vec::as_slice));
        let matter = racks_matter(consumers_by_rack.keys().copied(), of_partitions);
        Racks { consumers, partitions, matter, consumers_by_rack }
    }

    pub fn matter(&self) -> bool {
        self.matter
    }

    /// A member without a rack is far from nothing.
    pub fn is_far(&self, member: usize, partition: Partition) -> bool {
        self.matter && self.consumers[member].is_some_and(|rack| !self.has_replica(partition, rack))
    }

    /// The member's rack, if that has a replica of the partition.
    pub fn is_near(&self, member: usize, partition: Partition) -> bool {
        self.matter && self.consumers[member].is_some_and(|rack| self.has_replica(partition, rack))
    }

    /// The first of `members` from index `first` on, around, that is near.
    pub fn next_near(&self, partition: Partition, members: &[usize], first: usize) -> Option<usize> {
        let around = (0..members.len()).map(|i| (first + i) % members.len());
        around.into_iter().find(|at| self.is_near(members[*at], partition))
    }

    /// Those that few members are near to come first.
    pub fn sort_by_consumers(&self, partitions: &mut [Partition]) {
        if !self.consumers_by_rack.is_empty() {
            partitions.sort_by_key(|partition| self.consumers_near(*partition));
        }
    }

    fn consumers_near(&self, (topic, partition): Partition) -> usize {
        let racks: std::collections::BTreeSet<&String> =
            self.partitions[topic][partition as usize].iter().collect();
        racks.iter().filter_map(|rack| self.consumers_by_rack.get(rack.as_str())).sum()
    }

    fn has_replica(&self, (topic, partition): Partition, rack: &str) -> bool {
        self.partitions[topic][partition as usize].iter().any(|replica| replica == rack)
    }
}
