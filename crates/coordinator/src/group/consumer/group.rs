use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{Timestamp, Uuid};
use ottla_wire::TaggedFields;
use ottla_wire::records::{ConsumerGroupMemberMetadataValue, ConsumerGroupRegularExpressionValue};
use rpds::RedBlackTreeMapSync;

use super::member::{ConsumerMember, CurrentAssignment};
use super::record::ConsumerContent;
use crate::group::modern::subscriptions::NameCounts;
use crate::group::modern::target::TargetAssignment;
use crate::group::modern::{FIRST_EPOCH, LEAVE_EPOCH};

/// A consumer group as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConsumerGroup {
    pub(crate) epoch: i32,
    /// Of the topics that are subscribed to, as they were at this epoch (KIP-1101); 0 where they were not looked at.
    pub(crate) metadata_hash: i64,
    /// What a later version of Kafka may have added to the group's record.
    pub(crate) unknown_tagged_fields: TaggedFields,
    /// The log still has the partitions behind the subscriptions, as Kafka kept them before 4.1.
    pub(crate) has_partition_metadata: bool,
    pub(crate) target: TargetAssignment,
    members: RedBlackTreeMapSync<Arc<str>, Arc<ConsumerMember>>,
    /// Member ids by instance id.
    static_members: RedBlackTreeMapSync<Arc<str>, Arc<str>>,
    /// Topics by name, with how many members subscribe to each, by its name or through a pattern.
    subscribed: NameCounts,
    /// Patterns that members subscribe by.
    regexes: NameCounts,
    /// The topics that each pattern was found to match.
    resolved: RedBlackTreeMapSync<Arc<str>, Arc<ResolvedRegex>>,
    assignors: NameCounts,
    /// The epoch of the member that has a partition, or is about to give it up.
    partition_epochs: RedBlackTreeMapSync<(Uuid, i32), i32>,
    classic_members: usize,
    /// Protocols of members that speak the classic one, with how many support each.
    classic_protocols: NameCounts,
}

/// What a pattern matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvedRegex {
    pub(crate) topics: BTreeSet<String>,
    /// The metadata's offset that it was found at.
    pub(crate) version: i64,
    pub(crate) resolved_at: Timestamp,
}

/// How a group stands, as it is listed and described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerGroupState {
    Empty,
    /// A target for the group's epoch is yet to be made.
    Assigning,
    /// Members are on their way to the target.
    Reconciling,
    Stable,
}

impl ConsumerGroupState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ConsumerGroupState::Empty => "Empty",
            ConsumerGroupState::Assigning => "Assigning",
            ConsumerGroupState::Reconciling => "Reconciling",
            ConsumerGroupState::Stable => "Stable",
        }
    }
}

impl Default for ConsumerGroup {
    fn default() -> ConsumerGroup {
        ConsumerGroup {
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            unknown_tagged_fields: TaggedFields::default(),
            has_partition_metadata: false,
            target: TargetAssignment::default(),
            members: RedBlackTreeMapSync::default(),
            static_members: RedBlackTreeMapSync::default(),
            subscribed: NameCounts::default(),
            regexes: NameCounts::default(),
            resolved: RedBlackTreeMapSync::default(),
            assignors: NameCounts::default(),
            partition_epochs: RedBlackTreeMapSync::default(),
            classic_members: 0,
            classic_protocols: NameCounts::default(),
        }
    }
}

impl ConsumerGroup {
    pub(crate) fn state(&self) -> ConsumerGroupState {
        let is_reconciled = |member: &ConsumerMember| member.current.is_reconciled_to(self.target.epoch);
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.target.epoch {
            ConsumerGroupState::Assigning
        } else if self.members().all(|member| is_reconciled(member)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.size()
    }

    /// In the order of their ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<ConsumerMember>> {
        self.members.values()
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&Arc<ConsumerMember>> {
        self.members.get(member_id)
    }

    pub(crate) fn static_member(&self, instance_id: &str) -> Option<&Arc<ConsumerMember>> {
        self.members.get(self.static_members.get(instance_id)?)
    }

    pub(crate) fn subscribed(&self) -> &NameCounts {
        &self.subscribed
    }

    pub(crate) fn regexes(&self) -> &NameCounts {
        &self.regexes
    }

    pub(crate) fn resolved(&self, regex: &str) -> Option<&Arc<ResolvedRegex>> {
        self.resolved.get(regex)
    }

    pub(crate) fn all_resolved(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<ResolvedRegex>)> {
        self.resolved.iter()
    }

    pub(crate) fn assignors(&self) -> &NameCounts {
        &self.assignors
    }

    pub(crate) fn classic_members(&self) -> usize {
        self.classic_members
    }

    pub(crate) fn classic_protocols(&self) -> &NameCounts {
        &self.classic_protocols
    }

    /// Whether somebody has the partition, or has yet to give it up.
    pub(crate) fn is_taken(&self, topic_id: Uuid, partition: i32) -> bool {
        self.partition_epochs.contains_key(&(topic_id, partition))
    }

    /// Topics that the member subscribes to, by name and through its pattern, in the order of their names.
    pub(crate) fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> BTreeSet<&'a str> {
        let by_regex = member.regex().and_then(|regex| self.resolved.get(regex));
        let by_name = member.topic_names().iter().map(String::as_str);
        by_name
            .chain(by_regex.into_iter().flat_map(|found| found.topics.iter().map(String::as_str)))
            .collect()
    }

    pub(crate) fn replay(&mut self, content: ConsumerContent) {
        match content {
            ConsumerContent::Group(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
                self.unknown_tagged_fields = value.unknown_tagged_fields;
            }
            // The group goes with it: see `GroupState::replay`.
            ConsumerContent::Group(None) => {}
            ConsumerContent::PartitionMetadata(value) => self.has_partition_metadata = value.is_some(),
            ConsumerContent::Member(member_id, Some(value)) => self.replay_member(member_id, *value),
            ConsumerContent::Member(member_id, None) => self.remove_member(&member_id),
            ConsumerContent::Target(value) => {
                self.target.epoch = value.as_ref().map_or(FIRST_EPOCH, |value| value.assignment_epoch);
                self.target.made_at = Timestamp(value.map_or(0, |value| value.assignment_timestamp));
            }
            ConsumerContent::TargetOf(member_id, Some(value)) => {
                let topics = value.topic_partitions.into_iter();
                let topics = topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()));
                self.target
                    .set(member_id, topics.filter(|(_, p): &(_, BTreeSet<i32>)| !p.is_empty()).collect());
            }
            ConsumerContent::TargetOf(member_id, None) => self.target.remove(&member_id),
            ConsumerContent::CurrentOf(member_id, Some(value)) => {
                let member = self.member_or_new(&member_id);
                self.put_current(member, CurrentAssignment::from(&value));
            }
            ConsumerContent::CurrentOf(member_id, None) => {
                if let Some(member) = self.members.get(&member_id) {
                    let member = (**member).clone();
                    self.put_current(member, CurrentAssignment::LEFT);
                }
            }
            ConsumerContent::Regex(regex, Some(value)) => self.replay_regex(regex, value),
            ConsumerContent::Regex(regex, None) => self.remove_regex(&regex),
        }
    }

    fn replay_member(&mut self, member_id: Arc<str>, mut value: ConsumerGroupMemberMetadataValue) {
        value.subscribed_topic_names.sort_unstable();
        value.subscribed_topic_names.dedup();
        let mut member = self.member_or_new(&member_id);
        member.metadata = value;
        self.put(member);
    }

    /// Changes what a member has, and nothing of what it subscribes to.
    fn put_current(&mut self, mut member: ConsumerMember, current: CurrentAssignment) {
        self.release_partitions(&member.current);
        self.take_partitions(&current);
        member.current = current;
        self.members.insert_mut(Arc::clone(&member.member_id), Arc::new(member));
    }

    fn member_or_new(&self, member_id: &Arc<str>) -> ConsumerMember {
        match self.members.get(member_id) {
            Some(member) => (**member).clone(),
            None => ConsumerMember::new(Arc::clone(member_id)),
        }
    }

    /// Puts the member in the place of what it was.
    fn put(&mut self, member: ConsumerMember) {
        if let Some(old) = self.members.get(&member.member_id).cloned() {
            self.discount(&old);
        }
        for name in member.topic_names() {
            self.subscribed.add(name);
        }
        if let Some(regex) = member.regex() {
            if self.regexes.count(regex) == 0 {
                self.count_resolved(regex);
            }
            self.regexes.add(regex);
        }
        if let Some(assignor) = &member.metadata.server_assignor {
            self.assignors.add(assignor);
        }
        self.classic_members += usize::from(member.uses_classic_protocol());
        for protocol in member.classic_protocols() {
            self.classic_protocols.add(&protocol.name);
        }
        if let Some(instance_id) = member.instance_id() {
            self.static_members.insert_mut(Arc::from(instance_id), Arc::clone(&member.member_id));
        }
        self.take_partitions(&member.current);
        self.members.insert_mut(Arc::clone(&member.member_id), Arc::new(member));
    }

    fn remove_member(&mut self, member_id: &str) {
        let Some(member) = self.members.get(member_id).cloned() else { return };
        self.discount(&member);
        if let Some(instance_id) = member.instance_id()
            && self.static_members.get(instance_id) == Some(&member.member_id)
        {
            self.static_members.remove_mut(instance_id);
        }
        self.members.remove_mut(member_id);
    }

    /// Takes back what the member added to the counts.
    fn discount(&mut self, member: &ConsumerMember) {
        for name in member.topic_names() {
            self.subscribed.remove(name);
        }
        if let Some(regex) = member.regex() {
            self.regexes.remove(regex);
            if self.regexes.count(regex) == 0 {
                self.discount_resolved(regex);
            }
        }
        if let Some(assignor) = &member.metadata.server_assignor {
            self.assignors.remove(assignor);
        }
        self.classic_members -= usize::from(member.uses_classic_protocol());
        for protocol in member.classic_protocols() {
            self.classic_protocols.remove(&protocol.name);
        }
        self.release_partitions(&member.current);
    }

    /// In a log that is half compacted, two members may seem to have a partition for a while: the later epoch counts.
    fn take_partitions(&mut self, current: &CurrentAssignment) {
        for partition in current.partitions() {
            if self.partition_epochs.get(&partition).is_none_or(|epoch| *epoch <= current.epoch) {
                self.partition_epochs.insert_mut(partition, current.epoch);
            }
        }
    }

    fn release_partitions(&mut self, current: &CurrentAssignment) {
        for partition in current.partitions() {
            if self.partition_epochs.get(&partition) == Some(&current.epoch) {
                self.partition_epochs.remove_mut(&partition);
            }
        }
    }

    fn replay_regex(&mut self, regex: Arc<str>, value: ConsumerGroupRegularExpressionValue) {
        self.remove_regex(&regex);
        let resolved = ResolvedRegex {
            topics: value.topics.into_iter().collect(),
            version: value.version,
            resolved_at: Timestamp(value.timestamp),
        };
        self.resolved.insert_mut(Arc::clone(&regex), Arc::new(resolved));
        if self.regexes.count(&regex) > 0 {
            self.count_resolved(&regex);
        }
    }

    fn remove_regex(&mut self, regex: &str) {
        if self.regexes.count(regex) > 0 {
            self.discount_resolved(regex);
        }
        self.resolved.remove_mut(regex);
    }

    fn count_resolved(&mut self, regex: &str) {
        for topic in self.resolved.get(regex).cloned().iter().flat_map(|resolved| &resolved.topics) {
            self.subscribed.add(topic);
        }
    }

    fn discount_resolved(&mut self, regex: &str) {
        for topic in self.resolved.get(regex).cloned().iter().flat_map(|resolved| &resolved.topics) {
            self.subscribed.remove(topic);
        }
    }

    /// Whether a static member left for a while, and may come back.
    pub(crate) fn has_left_for_a_while(member: &ConsumerMember) -> bool {
        member.current.epoch < LEAVE_EPOCH
    }
}
