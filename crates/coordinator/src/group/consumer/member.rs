use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::records::consumer_group_current_member_assignment_value::{
    AssignedPartition, PartitionsPendingRevocation,
};
use ottla_wire::records::consumer_group_member_metadata_value::{ClassicMemberMetadata, SupportedProtocol};
use ottla_wire::records::{ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue};

use crate::group::modern::LEAVE_EPOCH;

/// Partitions that a member has, by topic, each with the epoch that the member got it at (KIP-1251). No topic is without
/// partitions.
pub(crate) type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How a member stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what it shall have in its epoch.
    Stable,
    /// It has yet to give partitions up before it may go to the next epoch.
    UnrevokedPartitions,
    /// It waits for partitions that others have yet to give up.
    UnreleasedPartitions,
    /// Of a later version of Kafka.
    Unknown(i8),
}

impl MemberState {
    fn from_code(code: i8) -> MemberState {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            code => MemberState::Unknown(code),
        }
    }

    fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown(code) => code,
        }
    }
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConsumerMember {
    pub(crate) member_id: Arc<str>,
    /// What it says of itself, as the log has it, with what a later version of Kafka may have added.
    pub(crate) metadata: ConsumerGroupMemberMetadataValue,
    pub(crate) current: CurrentAssignment,
}

/// What a member has, and at which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrentAssignment {
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: Owned,
    /// What it must give up, and has not said that it has.
    pub(crate) pending_revocation: Owned,
}

impl CurrentAssignment {
    /// Of a member that is yet to get its first.
    pub(crate) const NONE: CurrentAssignment = CurrentAssignment {
        epoch: 0,
        previous_epoch: 0,
        state: MemberState::Stable,
        assigned: Owned::new(),
        pending_revocation: Owned::new(),
    };

    /// Of a member whose assignment has been taken from the log.
    pub(crate) const LEFT: CurrentAssignment = CurrentAssignment {
        epoch: LEAVE_EPOCH,
        previous_epoch: LEAVE_EPOCH,
        state: MemberState::Stable,
        assigned: Owned::new(),
        pending_revocation: Owned::new(),
    };

    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Everything that the member may still be reading.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let of = |owned: &Owned| {
            owned
                .iter()
                .flat_map(|(topic_id, partitions)| partitions.keys().map(|partition| (*topic_id, *partition)))
                .collect::<Vec<_>>()
        };
        of(&self.assigned).into_iter().chain(of(&self.pending_revocation))
    }
}

impl From<&ConsumerGroupCurrentMemberAssignmentValue> for CurrentAssignment {
    fn from(value: &ConsumerGroupCurrentMemberAssignmentValue) -> CurrentAssignment {
        let mut assigned = Owned::new();
        for topic in &value.assigned_partitions {
            let epochs = topic.assignment_epochs.as_deref();
            put(&mut assigned, topic.topic_id, &topic.partitions, epochs, value.member_epoch);
        }
        let mut pending_revocation = Owned::new();
        for topic in &value.partitions_pending_revocation {
            let epochs = topic.assignment_epochs.as_deref();
            put(&mut pending_revocation, topic.topic_id, &topic.partitions, epochs, value.member_epoch);
        }
        CurrentAssignment {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: MemberState::from_code(value.state),
            assigned,
            pending_revocation,
        }
    }
}

fn put(owned: &mut Owned, topic_id: Uuid, partitions: &[i32], epochs: Option<&[i32]>, member_epoch: i32) {
    if partitions.is_empty() {
        return;
    }
    let of_topic = owned.entry(topic_id).or_default();
    for (index, partition) in partitions.iter().enumerate() {
        let epoch = epochs.and_then(|epochs| epochs.get(index)).copied().unwrap_or(member_epoch);
        of_topic.insert(*partition, epoch);
    }
}

impl From<&CurrentAssignment> for ConsumerGroupCurrentMemberAssignmentValue {
    fn from(current: &CurrentAssignment) -> ConsumerGroupCurrentMemberAssignmentValue {
        let assigned = |(topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)| AssignedPartition {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
            ..AssignedPartition::default()
        };
        let pending = |(topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)| PartitionsPendingRevocation {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
            ..PartitionsPendingRevocation::default()
        };
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: current.epoch,
            previous_member_epoch: current.previous_epoch,
            state: current.state.code(),
            assigned_partitions: current.assigned.iter().map(assigned).collect(),
            partitions_pending_revocation: current.pending_revocation.iter().map(pending).collect(),
            ..ConsumerGroupCurrentMemberAssignmentValue::default()
        }
    }
}

/// Of a member that has said nothing of itself. Apache Kafka stores no pattern as an empty one.
pub(crate) fn nothing_said() -> ConsumerGroupMemberMetadataValue {
    ConsumerGroupMemberMetadataValue {
        instance_id: None,
        rack_id: None,
        subscribed_topic_regex: Some(String::new()),
        server_assignor: None,
        classic_member_metadata: None,
        ..ConsumerGroupMemberMetadataValue::default()
    }
}

impl ConsumerMember {
    /// One that has joined and got nothing yet.
    pub(crate) fn new(member_id: Arc<str>) -> ConsumerMember {
        ConsumerMember { member_id, metadata: nothing_said(), current: CurrentAssignment::NONE }
    }

    pub(crate) fn instance_id(&self) -> Option<&str> {
        self.metadata.instance_id.as_deref()
    }

    /// `None` too where it is empty, which is how a client takes its pattern back.
    pub(crate) fn regex(&self) -> Option<&str> {
        self.metadata.subscribed_topic_regex.as_deref().filter(|regex| !regex.is_empty())
    }

    /// In their order, each once.
    pub(crate) fn topic_names(&self) -> &[String] {
        &self.metadata.subscribed_topic_names
    }

    /// Set for a member that speaks the classic protocol.
    pub(crate) fn classic(&self) -> Option<&ClassicMemberMetadata> {
        self.metadata.classic_member_metadata.as_ref()
    }

    pub(crate) fn uses_classic_protocol(&self) -> bool {
        self.metadata.classic_member_metadata.is_some()
    }

    pub(crate) fn classic_protocols(&self) -> &[SupportedProtocol] {
        self.classic().map_or(&[], |classic| &classic.supported_protocols)
    }
}
