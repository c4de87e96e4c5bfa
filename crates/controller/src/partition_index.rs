//! Which partitions an event around one broker concerns, so that it costs what it concerns and not what there is.
//!
//! Follows the image: whatever replay does to a partition, it does here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::{PartitionRegistration, TopicImage};
use ottla_types::{NodeId, Uuid};
use ottla_wire::records::MetadataRecord;

/// A topic's id and a partition's number.
pub(crate) type PartitionKey = (Uuid, i32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionIndex {
    /// Of each broker, the partitions that have a replica there.
    hosted: BTreeMap<NodeId, BTreeSet<PartitionKey>>,
    /// How many partitions each broker leads.
    led: BTreeMap<NodeId, usize>,
    leaderless: BTreeSet<PartitionKey>,
    /// Led by another than the preferred leader, or by nobody.
    imbalanced: BTreeSet<PartitionKey>,
}

impl PartitionIndex {
    pub fn of(image: &MetadataImage) -> PartitionIndex {
        let mut index = PartitionIndex::default();
        // Made of whole lists, which takes a fraction of the time: a new controller waits for it.
        let mut hosted: BTreeMap<NodeId, Vec<PartitionKey>> = BTreeMap::new();
        for topic in image.topics.iter() {
            for (partition, registration) in &topic.partitions {
                let key = (topic.id, *partition);
                for broker in members(Some(registration)) {
                    hosted.entry(broker).or_default().push(key);
                }
                index.replace_leader(key, None, Some(registration));
            }
        }
        index.hosted =
            hosted.into_iter().map(|(broker, keys)| (broker, keys.into_iter().collect())).collect();
        index
    }

    /// In the order of topics' ids.
    pub fn hosted(&self, broker: NodeId) -> impl Iterator<Item = PartitionKey> {
        self.hosted.get(&broker).into_iter().flatten().copied()
    }

    pub fn leaderless(&self) -> impl Iterator<Item = PartitionKey> {
        self.leaderless.iter().copied()
    }

    pub fn imbalanced(&self) -> impl Iterator<Item = PartitionKey> {
        self.imbalanced.iter().copied()
    }

    pub fn leads_anything(&self, broker: NodeId) -> bool {
        self.led.contains_key(&broker)
    }

    pub fn replace(
        &mut self,
        key: PartitionKey,
        old: Option<&PartitionRegistration>,
        new: Option<&PartitionRegistration>,
    ) {
        let (old_members, new_members) = (members(old), members(new));
        if old_members != new_members {
            for broker in old_members {
                take_out(&mut self.hosted, broker, |of| {
                    of.remove(&key);
                    of.is_empty()
                });
            }
            for broker in new_members {
                self.hosted.entry(broker).or_default().insert(key);
            }
        }
        self.replace_leader(key, old, new);
    }

    fn replace_leader(
        &mut self,
        key: PartitionKey,
        old: Option<&PartitionRegistration>,
        new: Option<&PartitionRegistration>,
    ) {
        let (old_leader, new_leader) = (old.map(|old| old.leader), new.map(|new| new.leader));
        if old_leader != new_leader {
            if let Some(leader) = old_leader.filter(|leader| *leader != NodeId::NONE) {
                take_out(&mut self.led, leader, |count| {
                    *count -= 1;
                    *count == 0
                });
            }
            if let Some(leader) = new_leader.filter(|leader| *leader != NodeId::NONE) {
                *self.led.entry(leader).or_default() += 1;
            }
            set(&mut self.leaderless, key, new_leader == Some(NodeId::NONE));
        }
        set(&mut self.imbalanced, key, new.is_some_and(|new| Some(new.leader) != new.preferred_leader()));
    }
}

/// The replicas, and whoever else a log that is not this controller's names.
fn members(registration: Option<&PartitionRegistration>) -> Vec<NodeId> {
    let Some(registration) = registration else { return Vec::new() };
    let mut members = registration.replicas.clone();
    for id in registration.isr.iter().chain(&registration.elr) {
        if !members.contains(id) {
            members.push(*id);
        }
    }
    members
}

fn set(keys: &mut BTreeSet<PartitionKey>, key: PartitionKey, is_in: bool) {
    if is_in {
        keys.insert(key);
    } else {
        keys.remove(&key);
    }
}

/// Changes a broker's entry, and drops it when that says that nothing is left.
fn take_out<T>(of: &mut BTreeMap<NodeId, T>, broker: NodeId, change: impl FnOnce(&mut T) -> bool) {
    if of.get_mut(&broker).is_some_and(change) {
        of.remove(&broker);
    }
}

/// What a record is about to change, seen before it is replayed.
pub(crate) enum Touched {
    Nothing,
    One(PartitionKey, Option<Arc<PartitionRegistration>>),
    Topic(Uuid, Option<Arc<TopicImage>>),
}

impl Touched {
    pub fn by(record: &MetadataRecord, image: &MetadataImage) -> Touched {
        let one = |key: PartitionKey| Touched::One(key, image.topics.partition(key.0, key.1).cloned());
        match record {
            MetadataRecord::Partition(record) => one((record.topic_id, record.partition_id)),
            MetadataRecord::PartitionChange(record) => one((record.topic_id, record.partition_id)),
            MetadataRecord::RemoveTopic(record) => {
                Touched::Topic(record.topic_id, image.topics.by_id(record.topic_id).cloned())
            }
            _ => Touched::Nothing,
        }
    }

    /// After the record was replayed.
    pub fn update(self, index: &mut PartitionIndex, image: &MetadataImage) {
        match self {
            Touched::Nothing => {}
            Touched::One(key, old) => {
                let new = image.topics.partition(key.0, key.1);
                index.replace(key, old.as_deref(), new.map(|new| &**new));
            }
            Touched::Topic(id, old) => {
                for (partition, old) in old.iter().flat_map(|topic| &topic.partitions) {
                    index.replace((id, *partition), Some(old), None);
                }
            }
        }
    }
}
