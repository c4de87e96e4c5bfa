use std::sync::Arc;

use ottla_wire::records::{
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue, ConsumerGroupTargetAssignmentMetadataValue,
};

use super::group::ConsumerGroup;
use super::member::{ConsumerMember, CurrentAssignment};
use super::record::{ConsumerContent, ConsumerRecord};
use crate::group::modern::assignor::Assignment;
use crate::group::record::GroupRecord;
use crate::group::shard::GroupTurn;

/// A group as it will be once the records of an operation are replayed: each is applied as it is written, so that what
/// comes next builds on it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) group_id: Arc<str>,
    /// Shared with the state until something is written: most heartbeats change nothing.
    group: Arc<ConsumerGroup>,
    records: Vec<GroupRecord>,
    is_atomic: bool,
}

/// What takes a group out that has no members.
pub(crate) fn removal(group_id: &str, group: &Arc<ConsumerGroup>) -> Draft {
    let mut draft = Draft::new(Arc::from(group_id), Arc::clone(group));
    draft.remove_group();
    draft
}

impl Draft {
    pub(crate) fn new(group_id: Arc<str>, group: Arc<ConsumerGroup>) -> Draft {
        Draft { group_id, group, records: Vec::new(), is_atomic: false }
    }

    pub(crate) fn group(&self) -> &ConsumerGroup {
        &self.group
    }

    /// All of this is to be in the log, or nothing: where it does not fit into one batch it is refused.
    pub(crate) fn must_be_whole(&mut self) {
        self.is_atomic = true;
    }

    /// Adds a record that is not of this kind of group.
    pub(crate) fn record(&mut self, record: GroupRecord) {
        self.records.push(record);
    }

    pub(crate) fn write(&mut self, content: ConsumerContent) {
        Arc::make_mut(&mut self.group).replay(content.clone());
        let record = ConsumerRecord { group_id: Arc::clone(&self.group_id), content };
        self.records.push(GroupRecord::Consumer(record));
    }

    /// Bumps the group's epoch, or keeps it with another hash.
    pub(crate) fn write_group(&mut self, epoch: i32, metadata_hash: i64) {
        let unknown_tagged_fields = self.group.unknown_tagged_fields.clone();
        let value = ConsumerGroupMetadataValue { epoch, metadata_hash, unknown_tagged_fields };
        self.write(ConsumerContent::Group(Some(value)));
    }

    pub(crate) fn write_member(&mut self, member_id: &Arc<str>, metadata: ConsumerGroupMemberMetadataValue) {
        self.write(ConsumerContent::Member(Arc::clone(member_id), Some(Box::new(metadata))));
    }

    pub(crate) fn write_current(&mut self, member_id: &Arc<str>, current: &CurrentAssignment) {
        self.write(ConsumerContent::current_of(member_id, current));
    }

    pub(crate) fn write_target_of(&mut self, member_id: &Arc<str>, assignment: &Assignment) {
        self.write(ConsumerContent::target_of(member_id, assignment));
    }

    pub(crate) fn write_target(&mut self, assignment_epoch: i32, assignment_timestamp: i64) {
        let value = ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch,
            assignment_timestamp,
            ..Default::default()
        };
        self.write(ConsumerContent::Target(Some(value)));
    }

    /// Takes a member out, with all that is known of it.
    pub(crate) fn remove_member(&mut self, member_id: &Arc<str>) {
        self.write(ConsumerContent::CurrentOf(Arc::clone(member_id), None));
        self.write(ConsumerContent::TargetOf(Arc::clone(member_id), None));
        self.write(ConsumerContent::Member(Arc::clone(member_id), None));
    }

    /// Takes the whole group out.
    pub(crate) fn remove_group(&mut self) {
        let member_ids: Vec<Arc<str>> =
            self.group.members().map(|member| Arc::clone(&member.member_id)).collect();
        for member_id in &member_ids {
            self.write(ConsumerContent::CurrentOf(Arc::clone(member_id), None));
        }
        let targets: Vec<Arc<str>> = self.group.target.members().map(|(id, _)| Arc::clone(id)).collect();
        for member_id in targets {
            self.write(ConsumerContent::TargetOf(member_id, None));
        }
        self.write(ConsumerContent::Target(None));
        for member_id in member_ids {
            self.write(ConsumerContent::Member(member_id, None));
        }
        let regexes: Vec<Arc<str>> = self.group.all_resolved().map(|(regex, _)| Arc::clone(regex)).collect();
        for regex in regexes {
            self.write(ConsumerContent::Regex(regex, None));
        }
        if self.group.has_partition_metadata {
            self.write(ConsumerContent::PartitionMetadata(None));
        }
        self.write(ConsumerContent::Group(None));
    }

    /// The member, or one that has only just come.
    pub(crate) fn member_or_new(&self, member_id: &Arc<str>) -> Arc<ConsumerMember> {
        let known = self.group.member(member_id).cloned();
        known.unwrap_or_else(|| Arc::new(ConsumerMember::new(Arc::clone(member_id))))
    }

    pub(crate) fn into_records(self) -> Vec<GroupRecord> {
        self.records
    }

    /// Hands the records over.
    pub(crate) fn finish(self, turn: &mut GroupTurn<'_>) {
        if !self.is_atomic {
            turn.allow_split();
        }
        for record in self.records {
            turn.record(record);
        }
    }
}
