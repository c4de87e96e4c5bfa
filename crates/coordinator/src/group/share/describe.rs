use ottla_metadata::MetadataImage;
use ottla_wire::ErrorCode;
use ottla_wire::messages::share_group_describe_response::{Assignment, Group, Member, TopicPartition};

use super::group::{ShareGroup, ShareMember};
use crate::group::shard::{GroupShard, GroupTurn};
use crate::group::state::StoredGroup;

/// The only assignor that there is.
const ASSIGNOR: &str = "simple";

impl GroupShard {
    pub(super) fn describe_share_groups(&self, turn: &GroupTurn<'_>, group_ids: Vec<String>) -> Vec<Group> {
        group_ids.into_iter().map(|group_id| self.describe_share_group(turn, group_id)).collect()
    }

    fn describe_share_group(&self, turn: &GroupTurn<'_>, group_id: String) -> Group {
        if group_id.is_empty() {
            return Group { error_code: ErrorCode::InvalidGroupId.code(), ..Group::default() };
        }
        let message = match turn.committed.groups.get(group_id.as_str()) {
            Some(StoredGroup::Share(group)) => return described(&self.image, group_id, group),
            Some(_) => format!("Group {group_id} is not a share group."),
            None => format!("Group {group_id} not found."),
        };
        Group {
            error_code: ErrorCode::GroupIdNotFound.code(),
            error_message: Some(message),
            group_id,
            ..Group::default()
        }
    }
}

fn described(image: &MetadataImage, group_id: String, group: &ShareGroup) -> Group {
    Group {
        group_id,
        group_state: group.state_name().to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.target.epoch,
        assignor_name: ASSIGNOR.to_owned(),
        members: group.members().map(|member| described_member(image, member)).collect(),
        ..Group::default()
    }
}

/// Topics that are gone have no name, and are left out.
fn described_member(image: &MetadataImage, member: &ShareMember) -> Member {
    let topics = member.assigned.iter().filter_map(|(topic_id, partitions)| {
        Some(TopicPartition {
            topic_id: *topic_id,
            topic_name: image.topics.by_id(*topic_id)?.name.to_string(),
            partitions: partitions.iter().copied().collect(),
            ..TopicPartition::default()
        })
    });
    Member {
        member_id: member.member_id.to_string(),
        rack_id: member.metadata.rack_id.clone(),
        member_epoch: member.epoch,
        client_id: member.metadata.client_id.clone(),
        client_host: member.metadata.client_host.clone(),
        subscribed_topic_names: member.metadata.subscribed_topic_names.clone(),
        assignment: Assignment { topic_partitions: topics.collect(), ..Assignment::default() },
        ..Member::default()
    }
}
