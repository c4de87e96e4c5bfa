use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::MetadataImage;
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_describe_response::{
    Assignment as DescribedAssignment, Group, Member, TargetAssignment as DescribedTarget,
};

use super::group::ConsumerGroup;
use super::member::ConsumerMember;
use crate::group::shard::{GroupShard, GroupTurn};
use crate::group::state::StoredGroup;

/// What a member's type is called since KIP-1099.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl GroupShard {
    pub(crate) fn describe_consumer_groups(
        &self,
        turn: &GroupTurn<'_>,
        group_ids: Vec<String>,
    ) -> Vec<Group> {
        group_ids.into_iter().map(|group_id| self.describe_consumer_group(turn, group_id)).collect()
    }

    fn describe_consumer_group(&self, turn: &GroupTurn<'_>, group_id: String) -> Group {
        if group_id.is_empty() {
            return Group { error_code: ErrorCode::InvalidGroupId.code(), ..Group::default() };
        }
        let message = match turn.committed.groups.get(group_id.as_str()) {
            Some(StoredGroup::Consumer(group)) => return self.described(group_id, group),
            Some(_) => format!("Group {group_id} is not a consumer group."),
            None => format!("Group {group_id} not found."),
        };
        Group {
            error_code: ErrorCode::GroupIdNotFound.code(),
            error_message: Some(message),
            group_id,
            ..Group::default()
        }
    }

    fn described(&self, group_id: String, group: &ConsumerGroup) -> Group {
        Group {
            group_id,
            group_state: group.state().name().to_owned(),
            group_epoch: group.epoch,
            assignment_epoch: group.target.epoch,
            assignor_name: self.described_assignor(group),
            members: group.members().map(|member| describe_member(&self.image, group, member)).collect(),
            ..Group::default()
        }
    }

    /// What most members ask for, whether it is supported or not.
    fn described_assignor(&self, group: &ConsumerGroup) -> String {
        match group.assignors().most_frequent() {
            Some(name) => name.to_string(),
            None => self.assignor_of(group).name().to_owned(),
        }
    }
}

fn describe_member(image: &MetadataImage, group: &ConsumerGroup, member: &ConsumerMember) -> Member {
    let metadata = &member.metadata;
    // What it is to give up, it has until it says so.
    let mut read: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
    for (topic_id, partition) in member.current.partitions() {
        read.entry(topic_id).or_default().insert(partition);
    }
    let read = read.into_iter().map(|(id, partitions)| (id, partitions.into_iter().collect()));
    let target = group.target.of(&member.member_id);
    let target = target.iter().map(|(id, partitions)| (*id, partitions.iter().copied().collect()));
    Member {
        member_id: member.member_id.to_string(),
        instance_id: metadata.instance_id.clone(),
        rack_id: metadata.rack_id.clone(),
        member_epoch: member.current.epoch,
        client_id: metadata.client_id.clone(),
        client_host: metadata.client_host.clone(),
        subscribed_topic_names: metadata.subscribed_topic_names.clone(),
        subscribed_topic_regex: metadata.subscribed_topic_regex.clone(),
        assignment: DescribedAssignment {
            topic_partitions: named(image, read, |topic_id, topic_name, partitions| {
                ottla_wire::messages::consumer_group_describe_response::AssignmentTopicPartition {
                    topic_id,
                    topic_name,
                    partitions,
                    ..Default::default()
                }
            }),
            ..DescribedAssignment::default()
        },
        target_assignment: DescribedTarget {
            topic_partitions: named(image, target, |topic_id, topic_name, partitions| {
                ottla_wire::messages::consumer_group_describe_response::TargetAssignmentTopicPartition {
                    topic_id,
                    topic_name,
                    partitions,
                    ..Default::default()
                }
            }),
            ..DescribedTarget::default()
        },
        member_type: if member.uses_classic_protocol() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        ..Member::default()
    }
}

/// Topics that are gone have no name, and are left out.
fn named<T>(
    image: &MetadataImage,
    assignment: impl Iterator<Item = (Uuid, Vec<i32>)>,
    topic: impl Fn(Uuid, String, Vec<i32>) -> T,
) -> Vec<T> {
    let known = assignment
        .filter_map(|(id, partitions)| Some(topic(id, image.topics.by_id(id)?.name.to_string(), partitions)));
    known.collect()
}
