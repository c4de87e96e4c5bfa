//! Groups of consumers with their members, of both group protocols.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_types::{NodeId, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, consumer_group_describe_response,
    describe_groups_response,
};

use super::{Admin, Results, check};
use crate::client::Target;
use crate::consumer::Assignment;
use crate::error::ClientError;

/// A group of consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupDescription {
    pub id: String,
    /// As the broker writes it: `Stable`, `Empty` and so on.
    pub state: String,
    /// Who assigns partitions; empty where nobody has yet.
    pub assignor: String,
    pub coordinator: NodeId,
    pub members: Vec<GroupMemberDescription>,
    /// `None` in a classic group.
    pub epochs: Option<GroupEpochs>,
}

/// How far a group of the new protocol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEpochs {
    pub group: i32,
    pub target_assignment: i32,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMemberDescription {
    pub id: String,
    /// Of a static member.
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub assignment: BTreeSet<TopicPartition>,
    /// What it will have, in a group of the new protocol.
    pub target_assignment: Option<BTreeSet<TopicPartition>>,
    pub epoch: Option<i32>,
    /// Whether it speaks the new protocol, where the broker tells.
    pub is_upgraded: Option<bool>,
}

impl Admin {
    /// Groups of consumers, of the new protocol or the classic one.
    pub async fn describe_consumer_groups(
        &self,
        ids: &[String],
    ) -> Results<String, ConsumerGroupDescription> {
        self.each(ids, |admin, id| async move { admin.describe_consumer_group(&id).await }).await
    }

    async fn describe_consumer_group(&self, id: &str) -> Result<ConsumerGroupDescription, ClientError> {
        match self.describe_modern_group(id).await {
            Err(ClientError::Unsupported { .. }) => self.describe_classic_group(id).await,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => {
                self.describe_classic_group(id).await
            }
            described => described,
        }
    }

    async fn describe_modern_group(&self, id: &str) -> Result<ConsumerGroupDescription, ClientError> {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![id.to_owned()], ..Default::default() };
        let answer = self
            .ask_whom(Target::group(id), &request, |answer| {
                answer.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let group = answer.response.groups.into_iter().next().unwrap_or_default();
        check(group.error_code, group.error_message, || format!("describing group {id}"))?;
        Ok(ConsumerGroupDescription {
            id: id.to_owned(),
            state: group.group_state,
            assignor: group.assignor_name,
            coordinator: answer.node.unwrap_or(NodeId::NONE),
            members: group.members.into_iter().map(modern_member).collect(),
            epochs: Some(GroupEpochs { group: group.group_epoch, target_assignment: group.assignment_epoch }),
        })
    }

    async fn describe_classic_group(&self, id: &str) -> Result<ConsumerGroupDescription, ClientError> {
        let request = DescribeGroupsRequest { groups: vec![id.to_owned()], ..Default::default() };
        let answer = self
            .ask_whom(Target::group(id), &request, |answer| {
                answer.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let group = answer.response.groups.into_iter().next().unwrap_or_default();
        check(group.error_code, group.error_message, || format!("describing group {id}"))?;
        if !matches!(group.protocol_type.as_str(), "" | "consumer") {
            return Err(ClientError::misuse(format!(
                "GroupId {id} is not a consumer group ({}).",
                group.protocol_type
            )));
        }
        let members: Result<_, ClientError> = group.members.into_iter().map(classic_member).collect();
        Ok(ConsumerGroupDescription {
            id: id.to_owned(),
            state: group.group_state,
            assignor: group.protocol_data,
            coordinator: answer.node.unwrap_or(NodeId::NONE),
            members: members?,
            epochs: None,
        })
    }
}

fn modern_member(of: consumer_group_describe_response::Member) -> GroupMemberDescription {
    /// As the protocol numbers members that speak the new one.
    const CLASSIC: i8 = 0;
    let partitions = |topic: String, indexes: Vec<i32>| {
        indexes.into_iter().map(move |index| TopicPartition::new(topic.as_str(), index))
    };
    let assigned = of.assignment.topic_partitions.into_iter();
    let target = of.target_assignment.topic_partitions.into_iter();
    GroupMemberDescription {
        id: of.member_id,
        instance_id: of.instance_id,
        client_id: of.client_id,
        host: of.client_host,
        assignment: assigned.flat_map(|topic| partitions(topic.topic_name, topic.partitions)).collect(),
        target_assignment: Some(
            target.flat_map(|topic| partitions(topic.topic_name, topic.partitions)).collect(),
        ),
        epoch: Some(of.member_epoch),
        is_upgraded: (of.member_type >= CLASSIC).then_some(of.member_type > CLASSIC),
    }
}

fn classic_member(of: describe_groups_response::Member) -> Result<GroupMemberDescription, ClientError> {
    let unreadable = |error: ottla_wire::DecodeError| {
        ClientError::misuse(format!("the assignment of member {} can't be read: {error}", of.member_id))
    };
    let assignment = Assignment::decode(&Bytes::clone(&of.member_assignment)).map_err(unreadable)?;
    Ok(GroupMemberDescription {
        assignment: assignment.partitions.into_iter().collect(),
        id: of.member_id,
        instance_id: of.group_instance_id,
        client_id: of.client_id,
        host: of.client_host,
        ..Default::default()
    })
}
