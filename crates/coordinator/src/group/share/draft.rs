use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::records::share_group_current_member_assignment_value as current;
use ottla_wire::records::share_group_target_assignment_member_value as target;
use ottla_wire::records::{
    ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberMetadataValue, ShareGroupMetadataValue,
    ShareGroupTargetAssignmentMemberValue, ShareGroupTargetAssignmentMetadataValue,
};

use super::group::{ShareGroup, ShareMember, ShareTopics};
use super::record::{ShareContent, ShareRecord};
use crate::group::modern::assignor::Assignment;
use crate::group::record::GroupRecord;
use crate::group::shard::GroupTurn;

/// A group as it will be once the records of an operation are replayed: each is applied as it is written, so that what
/// comes next builds on it.
#[derive(Clone, Debug)]
pub(crate) struct ShareDraft {
    pub(crate) group_id: Arc<str>,
    /// Shared with the state until something is written: most heartbeats change nothing.
    group: Arc<ShareGroup>,
    records: Vec<GroupRecord>,
}

impl ShareDraft {
    pub(crate) fn new(group_id: Arc<str>, group: Arc<ShareGroup>) -> ShareDraft {
        ShareDraft { group_id, group, records: Vec::new() }
    }

    pub(crate) fn group(&self) -> &ShareGroup {
        &self.group
    }

    pub(crate) fn is_unchanged(&self) -> bool {
        self.records.is_empty()
    }

    fn write(&mut self, content: ShareContent) {
        Arc::make_mut(&mut self.group).replay(content.clone());
        let record = ShareRecord { group_id: Arc::clone(&self.group_id), content };
        self.records.push(GroupRecord::Share(record));
    }

    /// Bumps the group's epoch.
    pub(crate) fn write_group(&mut self, epoch: i32, metadata_hash: i64) {
        let unknown_tagged_fields = self.group.unknown_tagged_fields.clone();
        let value = ShareGroupMetadataValue { epoch, metadata_hash, unknown_tagged_fields };
        self.write(ShareContent::Group(Some(value)));
    }

    pub(crate) fn write_member(&mut self, member_id: &Arc<str>, metadata: ShareGroupMemberMetadataValue) {
        self.write(ShareContent::Member(Arc::clone(member_id), Some(Box::new(metadata))));
    }

    pub(crate) fn write_target_of(&mut self, member_id: &Arc<str>, assignment: &Assignment) {
        let topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| target::TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
            ..Default::default()
        };
        let value = ShareGroupTargetAssignmentMemberValue {
            topic_partitions: assignment.iter().map(topic).collect(),
            ..Default::default()
        };
        self.write(ShareContent::TargetOf(Arc::clone(member_id), Some(value)));
    }

    pub(crate) fn write_target(&mut self, assignment_epoch: i32, assignment_timestamp: i64) {
        let value = ShareGroupTargetAssignmentMetadataValue {
            assignment_epoch,
            assignment_timestamp,
            ..Default::default()
        };
        self.write(ShareContent::Target(Some(value)));
    }

    /// What the member has from this epoch on.
    pub(crate) fn write_current(&mut self, member: &ShareMember, epoch: i32, assigned: &Assignment) {
        let topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| current::AssignedPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
            ..Default::default()
        };
        let value = ShareGroupCurrentMemberAssignmentValue {
            member_epoch: epoch,
            previous_member_epoch: member.epoch,
            state: 0,
            assigned_partitions: assigned.iter().map(topic).collect(),
            ..Default::default()
        };
        self.write(ShareContent::CurrentOf(Arc::clone(&member.member_id), Some(value)));
    }

    pub(crate) fn write_topics(&mut self, topics: &ShareTopics) {
        self.write(ShareContent::Topics(Some(topics.to_value())));
    }

    /// Takes a member out, with all that is known of it.
    pub(crate) fn remove_member(&mut self, member_id: &Arc<str>) {
        self.write(ShareContent::CurrentOf(Arc::clone(member_id), None));
        self.write(ShareContent::TargetOf(Arc::clone(member_id), None));
        self.write(ShareContent::Member(Arc::clone(member_id), None));
    }

    /// Takes the whole group out.
    pub(crate) fn remove_group(&mut self) {
        let members: Vec<Arc<str>> =
            self.group.members().map(|member| Arc::clone(&member.member_id)).collect();
        members.iter().for_each(|member_id| self.write(ShareContent::CurrentOf(Arc::clone(member_id), None)));
        let targets: Vec<Arc<str>> = self.group.target.members().map(|(id, _)| Arc::clone(id)).collect();
        targets.into_iter().for_each(|member_id| self.write(ShareContent::TargetOf(member_id, None)));
        self.write(ShareContent::Target(None));
        members.into_iter().for_each(|member_id| self.write(ShareContent::Member(member_id, None)));
        self.write(ShareContent::Topics(None));
        self.write(ShareContent::Group(None));
    }

    /// Hands the records over.
    pub(crate) fn finish(self, turn: &mut GroupTurn<'_>) {
        turn.allow_split();
        for record in self.records {
            turn.record(record);
        }
    }
}
