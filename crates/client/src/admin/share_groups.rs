//! Share groups with their members, and where their records start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::{NodeId, TopicPartition};
use ottla_wire::messages::{
    AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
    ShareGroupDescribeRequest, alter_share_group_offsets_request, delete_share_group_offsets_request,
    describe_share_group_offsets_request, share_group_describe_response,
};

use super::consumer_groups::GroupMemberDescription;
use super::partitions::by_topic;
use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// A share group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroupDescription {
    pub id: String,
    /// `Stable`, `Empty` or `Dead`.
    pub state: String,
    pub coordinator: NodeId,
    pub group_epoch: i32,
    pub target_assignment_epoch: i32,
    pub members: Vec<GroupMemberDescription>,
}

/// Where a share group stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareGroupOffset {
    /// The first record that isn't done with.
    pub start_offset: i64,
    /// `None` where it isn't known.
    pub leader_epoch: Option<i32>,
    /// Records that are still to be delivered; `None` where it isn't known.
    pub lag: Option<i64>,
}

impl Admin {
    pub async fn describe_share_groups(&self, ids: &[String]) -> Results<String, ShareGroupDescription> {
        self.each(ids, |admin, id| async move { admin.describe_share_group(&id).await }).await
    }

    async fn describe_share_group(&self, id: &str) -> Result<ShareGroupDescription, ClientError> {
        let request = ShareGroupDescribeRequest { group_ids: vec![id.to_owned()], ..Default::default() };
        let answer = self
            .ask_whom(Target::group(id), &request, |answer| {
                answer.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let group = answer.response.groups.into_iter().next().unwrap_or_default();
        check(group.error_code, group.error_message, || format!("describing share group {id}"))?;
        Ok(ShareGroupDescription {
            id: id.to_owned(),
            state: group.group_state,
            coordinator: answer.node.unwrap_or(NodeId::NONE),
            group_epoch: group.group_epoch,
            target_assignment_epoch: group.assignment_epoch,
            members: group.members.into_iter().map(member).collect(),
        })
    }

    /// Where a share group stands in each partition that it reads from; `None` where it has not begun.
    pub async fn list_share_group_offsets(
        &self,
        group: &str,
    ) -> Result<Results<TopicPartition, Option<ShareGroupOffset>>, ClientError> {
        let of = describe_share_group_offsets_request::Group {
            group_id: group.to_owned(),
            topics: None,
            ..Default::default()
        };
        let request = DescribeShareGroupOffsetsRequest { groups: vec![of], ..Default::default() };
        let answer = self
            .ask(Target::group(group), &request, |answer| {
                answer.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let of = answer.groups.into_iter().next().unwrap_or_default();
        check(of.error_code, of.error_message, || format!("asking for offsets of share group {group}"))?;
        let mut offsets = Results::new();
        for topic in of.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.topic_name.as_str(), partition.partition_index);
                let what = || format!("asking for the offset of {at} in share group {group}");
                let result = check(partition.error_code, partition.error_message, what);
                let offset = ShareGroupOffset {
                    start_offset: partition.start_offset,
                    leader_epoch: Some(partition.leader_epoch).filter(|&epoch| epoch >= 0),
                    lag: Some(partition.lag).filter(|&lag| lag >= 0),
                };
                offsets.insert(at, result.map(|()| Some(offset).filter(|of| of.start_offset >= 0)));
            }
        }
        Ok(offsets)
    }

    /// Sets where a share group without members starts.
    pub async fn alter_share_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Results<TopicPartition, ()>, ClientError> {
        let all: Vec<TopicPartition> = offsets.keys().cloned().collect();
        let topic = |(name, indexes): (Arc<str>, Vec<i32>)| alter_share_group_offsets_request::Topic {
            partitions: indexes
                .into_iter()
                .map(|index| alter_share_group_offsets_request::Partition {
                    partition_index: index,
                    start_offset: offsets
                        .get(&TopicPartition::new(Arc::clone(&name), index))
                        .copied()
                        .unwrap_or_default(),
                    ..Default::default()
                })
                .collect(),
            topic_name: name.to_string(),
            ..Default::default()
        };
        let request = AlterShareGroupOffsetsRequest {
            group_id: group.to_owned(),
            topics: by_topic(&all).into_iter().map(topic).collect(),
            ..Default::default()
        };
        let answer = self.ask(Target::group(group), &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || format!("setting offsets of share group {group}"))?;
        let mut results = Results::new();
        for topic in answer.responses {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.topic_name.as_str(), partition.partition_index);
                let what = || format!("setting the offset of {at} in share group {group}");
                let result = check(partition.error_code, partition.error_message, what);
                results.insert(at, result);
            }
        }
        Ok(results)
    }

    /// Forgets what a share group has read of topics.
    pub async fn delete_share_group_offsets(
        &self,
        group: &str,
        topics: &[String],
    ) -> Result<Results<String, ()>, ClientError> {
        let topic = |name: &String| delete_share_group_offsets_request::Topic {
            topic_name: name.clone(),
            ..Default::default()
        };
        let request = DeleteShareGroupOffsetsRequest {
            group_id: group.to_owned(),
            topics: topics.iter().map(topic).collect(),
            ..Default::default()
        };
        let answer = self.ask(Target::group(group), &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || {
            format!("deleting offsets of share group {group}")
        })?;
        let results = answer.responses.into_iter().map(|topic| {
            let what = || format!("deleting offsets of {} in share group {group}", topic.topic_name);
            let result = check(topic.error_code, topic.error_message, what);
            (topic.topic_name, result)
        });
        Ok(results.collect())
    }
}

fn member(of: share_group_describe_response::Member) -> GroupMemberDescription {
    let assigned = of.assignment.topic_partitions.into_iter().flat_map(|topic| {
        let name: Arc<str> = topic.topic_name.into();
        topic.partitions.into_iter().map(move |index| TopicPartition::new(Arc::clone(&name), index))
    });
    GroupMemberDescription {
        assignment: assigned.collect::<BTreeSet<_>>(),
        id: of.member_id,
        client_id: of.client_id,
        host: of.client_host,
        epoch: Some(of.member_epoch),
        ..Default::default()
    }
}
