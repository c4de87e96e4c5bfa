use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::{Timestamp, Uuid};
use ottla_wire::TaggedFields;
use ottla_wire::records::{
    ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberMetadataValue,
    ShareGroupStatePartitionMetadataValue,
};
use rpds::RedBlackTreeMapSync;

use super::record::ShareContent;
use crate::group::modern::FIRST_EPOCH;
use crate::group::modern::assignor::Assignment;
use crate::group::modern::subscriptions::NameCounts;
use crate::group::modern::target::TargetAssignment;

/// A share group as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShareGroup {
    pub(crate) epoch: i32,
    /// Of the topics that are subscribed to, as they were at this epoch (KIP-1101); 0 where they were not looked at.
    pub(crate) metadata_hash: i64,
    /// What a later version of Kafka may have added to the group's record.
    pub(crate) unknown_tagged_fields: TaggedFields,
    pub(crate) target: TargetAssignment,
    pub(crate) topics: Arc<ShareTopics>,
    members: RedBlackTreeMapSync<Arc<str>, Arc<ShareMember>>,
    /// Topics by name, with how many members subscribe to each.
    subscribed: NameCounts,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShareMember {
    pub(crate) member_id: Arc<str>,
    pub(crate) metadata: ShareGroupMemberMetadataValue,
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) assigned: Arc<Assignment>,
}

/// What the share coordinator knows of the group, or is about to learn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ShareTopics {
    pub(crate) initializing: BTreeMap<Uuid, KnownTopic>,
    pub(crate) initialized: BTreeMap<Uuid, KnownTopic>,
    /// Names of topics whose state is being deleted.
    pub(crate) deleting: BTreeMap<Uuid, String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KnownTopic {
    pub(crate) name: String,
    pub(crate) partitions: BTreeSet<i32>,
}

impl Default for ShareGroup {
    fn default() -> ShareGroup {
        ShareGroup {
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            unknown_tagged_fields: TaggedFields::default(),
            target: TargetAssignment::default(),
            topics: Arc::default(),
            members: RedBlackTreeMapSync::default(),
            subscribed: NameCounts::default(),
        }
    }
}

impl ShareGroup {
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_empty() { "Empty" } else { "Stable" }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.size()
    }

    /// In the order of their ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<ShareMember>> {
        self.members.values()
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&Arc<ShareMember>> {
        self.members.get(member_id)
    }

    pub(crate) fn subscribed(&self) -> &NameCounts {
        &self.subscribed
    }

    /// Whether partitions that somebody subscribes to have been initialized since the last target was made. Of a topic
    /// that there is, `partition_count` tells how many it has.
    pub(crate) fn has_unassigned_partitions(&self, partition_count: impl Fn(Uuid) -> usize) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut assigned: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
        for (_, target) in self.target.members() {
            for (topic_id, partitions) in &**target {
                assigned.entry(*topic_id).or_default().extend(partitions);
            }
        }
        let wanted =
            self.topics.initialized.iter().filter(|(_, topic)| self.subscribed.contains(&topic.name));
        wanted.into_iter().any(|(topic_id, topic)| {
            let has =
                |partition| assigned.get(topic_id).is_some_and(|of_topic| of_topic.contains(&partition));
            topic.ready().take(partition_count(*topic_id)).any(|partition| !has(partition))
        })
    }

    pub(crate) fn replay(&mut self, content: ShareContent) {
        match content {
            ShareContent::Group(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
                self.unknown_tagged_fields = value.unknown_tagged_fields;
            }
            // The group goes with it: see `GroupState::replay`.
            ShareContent::Group(None) => {}
            ShareContent::Member(member_id, Some(value)) => {
                self.change_member(member_id, |member| member.metadata = *value);
            }
            ShareContent::Member(member_id, None) => self.remove_member(&member_id),
            ShareContent::Target(value) => {
                self.target.epoch = value.as_ref().map_or(FIRST_EPOCH, |value| value.assignment_epoch);
                self.target.made_at = Timestamp(value.map_or(0, |value| value.assignment_timestamp));
            }
            ShareContent::TargetOf(member_id, Some(value)) => {
                let topics = value.topic_partitions.into_iter();
                let topics = topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()));
                let topics = topics.filter(|(_, p): &(_, BTreeSet<i32>)| !p.is_empty());
                self.target.set(member_id, topics.collect());
            }
            ShareContent::TargetOf(member_id, None) => self.target.remove(&member_id),
            ShareContent::CurrentOf(member_id, Some(value)) => {
                self.change_member(member_id, |member| member.take_current(value));
            }
            ShareContent::CurrentOf(member_id, None) => {
                if self.members.contains_key(&member_id) {
                    self.change_member(member_id, |member| {
                        member.take_current(ShareGroupCurrentMemberAssignmentValue {
                            member_epoch: -1,
                            previous_member_epoch: -1,
                            ..Default::default()
                        });
                    });
                }
            }
            ShareContent::Topics(value) => {
                self.topics = Arc::new(value.map_or_else(ShareTopics::default, ShareTopics::from));
            }
        }
    }

    fn change_member(&mut self, member_id: Arc<str>, change: impl FnOnce(&mut ShareMember)) {
        let known = self.members.get(&member_id).cloned();
        if let Some(known) = &known {
            known.metadata.subscribed_topic_names.iter().for_each(|name| self.subscribed.remove(name));
        }
        let new = || ShareMember::new(Arc::clone(&member_id));
        let mut member = known.map_or_else(new, |known| (*known).clone());
        change(&mut member);
        let names = &mut member.metadata.subscribed_topic_names;
        names.sort_unstable();
        names.dedup();
        names.iter().for_each(|name| self.subscribed.add(name));
        self.members.insert_mut(member_id, Arc::new(member));
    }

    fn remove_member(&mut self, member_id: &str) {
        let Some(member) = self.members.get(member_id).cloned() else { return };
        member.metadata.subscribed_topic_names.iter().for_each(|name| self.subscribed.remove(name));
        self.members.remove_mut(member_id);
    }
}

impl ShareMember {
    /// Of whom nothing is known.
    pub(crate) fn new(member_id: Arc<str>) -> ShareMember {
        ShareMember {
            member_id,
            metadata: ShareGroupMemberMetadataValue { rack_id: None, ..Default::default() },
            epoch: 0,
            previous_epoch: 0,
            assigned: Arc::default(),
        }
    }

    fn take_current(&mut self, value: ShareGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        let topics = value.assigned_partitions.into_iter();
        let topics = topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()));
        self.assigned = Arc::new(topics.filter(|(_, p): &(_, BTreeSet<i32>)| !p.is_empty()).collect());
    }
}

impl KnownTopic {
    /// What may be given out: all from 0 on up to the first that is missing.
    pub(crate) fn ready(&self) -> impl Iterator<Item = i32> {
        (0..).take_while(|partition| self.partitions.contains(partition))
    }
}

impl From<ShareGroupStatePartitionMetadataValue> for ShareTopics {
    fn from(value: ShareGroupStatePartitionMetadataValue) -> ShareTopics {
        let known =
            |name, partitions: Vec<i32>| KnownTopic { name, partitions: partitions.into_iter().collect() };
        let initializing = value.initializing_topics.into_iter();
        let initialized = value.initialized_topics.into_iter();
        ShareTopics {
            initializing: initializing.map(|t| (t.topic_id, known(t.topic_name, t.partitions))).collect(),
            initialized: initialized.map(|t| (t.topic_id, known(t.topic_name, t.partitions))).collect(),
            deleting: value.deleting_topics.into_iter().map(|t| (t.topic_id, t.topic_name)).collect(),
        }
    }
}

impl ShareTopics {
    pub(crate) fn to_value(&self) -> ShareGroupStatePartitionMetadataValue {
        use ottla_wire::records::share_group_state_partition_metadata_value as value;
        let partitions = |topic: &KnownTopic| topic.partitions.iter().copied().collect();
        ShareGroupStatePartitionMetadataValue {
            initializing_topics: self
                .initializing
                .iter()
                .map(|(topic_id, topic)| value::InitializingTopic {
                    topic_id: *topic_id,
                    topic_name: topic.name.clone(),
                    partitions: partitions(topic),
                    ..Default::default()
                })
                .collect(),
            initialized_topics: self
                .initialized
                .iter()
                .map(|(topic_id, topic)| value::InitializedTopic {
                    topic_id: *topic_id,
                    topic_name: topic.name.clone(),
                    partitions: partitions(topic),
                    ..Default::default()
                })
                .collect(),
            deleting_topics: self
                .deleting
                .iter()
                .map(|(topic_id, topic_name)| value::DeletingTopic {
                    topic_id: *topic_id,
                    topic_name: topic_name.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    /// Whether a partition is initialized already.
    pub(crate) fn has(&self, topic_id: Uuid, partition: i32) -> bool {
        self.initialized.get(&topic_id).is_some_and(|topic| topic.partitions.contains(&partition))
    }

    /// Notes that a partition is being initialized.
    pub(crate) fn begin(&mut self, topic_id: Uuid, name: &str, partition: i32) {
        let topic = self.initializing.entry(topic_id).or_default();
        name.clone_into(&mut topic.name);
        topic.partitions.insert(partition);
        self.deleting.remove(&topic_id);
    }

    /// Notes how the initialization of a partition ended.
    pub(crate) fn end(&mut self, topic_id: Uuid, partition: i32, is_done: bool) {
        let Some(topic) = self.initializing.get_mut(&topic_id) else { return };
        if !topic.partitions.remove(&partition) {
            return;
        }
        let name = topic.name.clone();
        if topic.partitions.is_empty() {
            self.initializing.remove(&topic_id);
        }
        if is_done {
            let topic = self.initialized.entry(topic_id).or_default();
            topic.name = name;
            topic.partitions.insert(partition);
        }
    }

    /// Notes that the state of all topics is being deleted; false if there is none.
    pub(crate) fn delete_all(&mut self) -> bool {
        let known = std::mem::take(&mut self.initialized).into_iter();
        let known = known.chain(std::mem::take(&mut self.initializing));
        let before = self.deleting.len();
        self.deleting.extend(known.map(|(topic_id, topic)| (topic_id, topic.name)));
        self.deleting.len() > before
    }

    pub(crate) fn forget(&mut self, topic_id: Uuid) -> bool {
        let was_initializing = self.initializing.remove(&topic_id).is_some();
        let was_initialized = self.initialized.remove(&topic_id).is_some();
        self.deleting.remove(&topic_id).is_some() || was_initializing || was_initialized
    }

    /// A partition is not initialized after all; false if it was not said to be.
    pub(crate) fn take_out(&mut self, topic_id: Uuid, partition: i32) -> bool {
        let Some(topic) = self.initialized.get_mut(&topic_id) else { return false };
        let was_there = topic.partitions.remove(&partition);
        if topic.partitions.is_empty() {
            self.initialized.remove(&topic_id);
        }
        was_there
    }

    /// All that the share coordinator is said to have.
    pub(crate) fn initialized_partitions(&self) -> BTreeSet<(Uuid, i32)> {
        let topics = self.initialized.iter();
        topics.flat_map(|(id, topic)| topic.partitions.iter().map(|partition| (*id, *partition))).collect()
    }

    /// All that the share coordinator may have something of.
    pub(crate) fn all_partitions(&self) -> BTreeSet<(Uuid, i32)> {
        let topics = self.initialized.iter().chain(&self.initializing);
        topics.flat_map(|(id, topic)| topic.partitions.iter().map(|partition| (*id, *partition))).collect()
    }
}
