//! What groups have committed, and groups that are deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    DeleteGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, offset_commit_request,
    offset_delete_request, offset_fetch_request,
};

use super::partitions::by_topic;
use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// The last versions that name topics rather than give their ids.
const BY_NAME_VERSION_MAX: i16 = 9;

/// What a group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOffset {
    pub offset: i64,
    /// `None` where it isn't known.
    pub leader_epoch: Option<i32>,
    pub metadata: String,
}

impl GroupOffset {
    pub fn at(offset: i64) -> GroupOffset {
        GroupOffset { offset, ..GroupOffset::default() }
    }
}

impl Admin {
    /// Offsets that a group has committed: of these partitions, or of all. Partitions without one are left out.
    pub async fn list_group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Results<TopicPartition, GroupOffset>, ClientError> {
        /// The first version that asks for several groups, in other fields.
        const GROUPS_SINCE: i16 = 8;
        let request = |version: i16| {
            let topics = partitions.map(by_topic);
            if version < GROUPS_SINCE {
                let topic = |(name, indexes): (Arc<str>, Vec<i32>)| offset_fetch_request::Topic {
                    name: name.to_string(),
                    partition_indexes: indexes,
                    ..Default::default()
                };
                return OffsetFetchRequest {
                    group_id: group.to_owned(),
                    topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
                    ..Default::default()
                };
            }
            let topic = |(name, indexes): (Arc<str>, Vec<i32>)| offset_fetch_request::GroupTopic {
                name: name.to_string(),
                partition_indexes: indexes,
                ..Default::default()
            };
            let of = offset_fetch_request::Group {
                group_id: group.to_owned(),
                topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
                member_epoch: -1,
                ..Default::default()
            };
            OffsetFetchRequest { groups: vec![of], ..Default::default() }
        };
        let answer = self
            .client
            .call_up_to(Some(BY_NAME_VERSION_MAX), Target::group(group), self.timeout_ms, request, |answer| {
                let of = answer.groups.first().map_or(answer.error_code, |group| group.error_code);
                ErrorCode::from_answer(of)
            })
            .await?
            .response;
        let what = || format!("asking for offsets of group {group}");
        let mut offsets = Results::new();
        let mut take = |topic: &str, index: i32, code: i16, offset: i64, epoch: i32, metadata| {
            let at = TopicPartition::new(topic, index);
            let result = check(code, None, || format!("asking for the offset of {at} in group {group}"));
            let is_none = result.is_ok() && offset < 0;
            let of = GroupOffset { offset, leader_epoch: Some(epoch).filter(|&epoch| epoch >= 0), metadata };
            if !is_none {
                offsets.insert(at, result.map(|()| of));
            }
        };
        match answer.groups.into_iter().next() {
            Some(of) => {
                check(of.error_code, None, what)?;
                for topic in &of.topics {
                    for p in &topic.partitions {
                        let metadata = p.metadata.clone().unwrap_or_default();
                        let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                        take(&topic.name, p.partition_index, p.error_code, offset, epoch, metadata);
                    }
                }
            }
            None => {
                check(answer.error_code, None, what)?;
                for topic in &answer.topics {
                    for p in &topic.partitions {
                        let metadata = p.metadata.clone().unwrap_or_default();
                        let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                        take(&topic.name, p.partition_index, p.error_code, offset, epoch, metadata);
                    }
                }
            }
        }
        Ok(offsets)
    }

    /// Sets offsets of a group that has no members.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, GroupOffset>,
    ) -> Result<Results<TopicPartition, ()>, ClientError> {
        let all: Vec<TopicPartition> = offsets.keys().cloned().collect();
        let partition = |name: &Arc<str>, index: i32| {
            let of = offsets.get(&TopicPartition::new(Arc::clone(name), index)).cloned().unwrap_or_default();
            offset_commit_request::Partition {
                partition_index: index,
                committed_offset: of.offset,
                committed_leader_epoch: of.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(of.metadata),
                ..Default::default()
            }
        };
        let topic = |(name, indexes): (Arc<str>, Vec<i32>)| offset_commit_request::Topic {
            partitions: indexes.into_iter().map(|index| partition(&name, index)).collect(),
            name: name.to_string(),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: -1,
            retention_time_ms: -1,
            topics: by_topic(&all).into_iter().map(topic).collect(),
            ..Default::default()
        };
        let code = |answer: &ottla_wire::messages::OffsetCommitResponse| {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            partitions
                .map(|of| ErrorCode::from_answer(of.error_code))
                .find(|code| is_of_coordinator(*code))
                .unwrap_or(ErrorCode::None)
        };
        let made = |_| request.clone();
        let answer = self
            .client
            .call_up_to(Some(BY_NAME_VERSION_MAX), Target::group(group), self.timeout_ms, made, code)
            .await?;
        let mut results = Results::new();
        for topic in answer.response.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                let what = || format!("setting the offset of {at} in group {group}");
                let result = check(partition.error_code, None, what);
                results.insert(at, result);
            }
        }
        Ok(results)
    }

    /// Forgets offsets of a group.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Results<TopicPartition, ()>, ClientError> {
        let topic = |(name, indexes): (Arc<str>, Vec<i32>)| offset_delete_request::Topic {
            name: name.to_string(),
            partitions: indexes
                .into_iter()
                .map(|index| offset_delete_request::Partition { partition_index: index })
                .collect(),
        };
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: by_topic(partitions).into_iter().map(topic).collect(),
        };
        let answer = self.ask(Target::group(group), &request, |answer| answer.error_code).await?;
        check(answer.error_code, None, || format!("deleting offsets of group {group}"))?;
        let mut results = Results::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                let what = || format!("deleting the offset of {at} in group {group}");
                let result = check(partition.error_code, None, what);
                results.insert(at, result);
            }
        }
        Ok(results)
    }

    /// Deletes groups of any type that have no members, with their offsets.
    pub async fn delete_groups(&self, ids: &[String]) -> Results<String, ()> {
        self.each(ids, |admin, id| async move {
            let request = DeleteGroupsRequest { groups_names: vec![id.clone()], ..Default::default() };
            let code = |answer: &ottla_wire::messages::DeleteGroupsResponse| {
                answer.results.first().map_or(0, |result| result.error_code)
            };
            let answer = admin.ask(Target::group(&id), &request, code).await?;
            check(code(&answer), None, || format!("deleting group {id}"))
        })
        .await
    }
}

/// The whole request is to be made again, to somebody else or later.
fn is_of_coordinator(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress
    )
}
