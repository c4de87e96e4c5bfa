//! Groups of Kafka Streams by the streams protocol (KIP-1071), with their topologies and members.

use std::collections::BTreeSet;

use ottla_types::NodeId;
use ottla_wire::messages::{StreamsGroupDescribeRequest, streams_group_describe_response as wire};

use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// A group of Kafka Streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsGroupDescription {
    pub id: String,
    /// As the broker writes it: `Stable`, `NotReady`, `Empty` and so on.
    pub state: String,
    pub coordinator: NodeId,
    pub group_epoch: i32,
    pub target_assignment_epoch: i32,
    pub topology_epoch: i32,
    /// In the broker's order.
    pub subtopologies: Vec<StreamsSubtopology>,
    pub members: Vec<StreamsMemberDescription>,
}

/// A part of a topology whose tasks have the same numbers as the partitions that they read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamsSubtopology {
    pub id: String,
    pub source_topics: Vec<String>,
    /// Made by Kafka Streams for records that go to other partitions.
    pub repartition_source_topics: Vec<String>,
    pub repartition_sink_topics: Vec<String>,
    /// Made by Kafka Streams for what its stores hold.
    pub state_changelog_topics: Vec<String>,
}

/// A member of a group of Kafka Streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamsMemberDescription {
    pub id: String,
    pub epoch: i32,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub topology_epoch: i32,
    /// Of the process that it is a thread of.
    pub process_id: String,
    pub assignment: StreamsTasks,
    pub target_assignment: StreamsTasks,
    /// It speaks the classic protocol.
    pub is_classic: bool,
}

/// Numbers of tasks, by subtopology, in the broker's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamsTasks {
    pub active: Vec<(String, Vec<i32>)>,
    pub standby: Vec<(String, Vec<i32>)>,
    pub warmup: Vec<(String, Vec<i32>)>,
}

impl StreamsGroupDescription {
    /// Topics that others write: those of the topology without the ones that Kafka Streams makes.
    pub fn input_topics(&self) -> BTreeSet<&str> {
        self.topics(|of| &of.source_topics)
    }

    /// Topics that Kafka Streams makes for the group.
    pub fn internal_topics(&self) -> BTreeSet<&str> {
        let mut topics = self.topics(|of| &of.repartition_source_topics);
        topics.extend(self.topics(|of| &of.state_changelog_topics));
        topics
    }

    fn topics(&self, of: impl Fn(&StreamsSubtopology) -> &Vec<String>) -> BTreeSet<&str> {
        self.subtopologies.iter().flat_map(of).map(String::as_str).collect()
    }
}

impl Admin {
    /// Groups of the streams protocol (KIP-1071; Apache Kafka 4.1 and newer).
    pub async fn describe_streams_groups(&self, ids: &[String]) -> Results<String, StreamsGroupDescription> {
        self.each(ids, |admin, id| async move { admin.describe_streams_group(&id).await }).await
    }

    async fn describe_streams_group(&self, id: &str) -> Result<StreamsGroupDescription, ClientError> {
        let request = StreamsGroupDescribeRequest { group_ids: vec![id.to_owned()], ..Default::default() };
        let answer = self
            .ask_whom(Target::group(id), &request, |answer| {
                answer.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let group = answer.response.groups.into_iter().next().unwrap_or_default();
        check(group.error_code, group.error_message, || format!("describing streams group {id}"))?;
        let topology = group.topology.unwrap_or_default();
        Ok(StreamsGroupDescription {
            id: id.to_owned(),
            state: group.group_state,
            coordinator: answer.node.unwrap_or(NodeId::NONE),
            group_epoch: group.group_epoch,
            target_assignment_epoch: group.assignment_epoch,
            topology_epoch: topology.epoch,
            subtopologies: topology.subtopologies.unwrap_or_default().into_iter().map(subtopology).collect(),
            members: group.members.into_iter().map(member).collect(),
        })
    }
}

fn subtopology(of: wire::Subtopology) -> StreamsSubtopology {
    StreamsSubtopology {
        id: of.subtopology_id,
        source_topics: of.source_topics,
        repartition_source_topics: of.repartition_source_topics.into_iter().map(|topic| topic.name).collect(),
        repartition_sink_topics: of.repartition_sink_topics,
        state_changelog_topics: of.state_changelog_topics.into_iter().map(|topic| topic.name).collect(),
    }
}

fn member(of: wire::Member) -> StreamsMemberDescription {
    let (now, target) = (of.assignment, of.target_assignment);
    StreamsMemberDescription {
        id: of.member_id,
        epoch: of.member_epoch,
        instance_id: of.instance_id,
        client_id: of.client_id,
        host: of.client_host,
        topology_epoch: of.topology_epoch,
        process_id: of.process_id,
        assignment: StreamsTasks {
            active: tasks(now.active_tasks, |of| (of.subtopology_id, of.partitions)),
            standby: tasks(now.standby_tasks, |of| (of.subtopology_id, of.partitions)),
            warmup: tasks(now.warmup_tasks, |of| (of.subtopology_id, of.partitions)),
        },
        target_assignment: StreamsTasks {
            active: tasks(target.active_tasks, |of| (of.subtopology_id, of.partitions)),
            standby: tasks(target.standby_tasks, |of| (of.subtopology_id, of.partitions)),
            warmup: tasks(target.warmup_tasks, |of| (of.subtopology_id, of.partitions)),
        },
        is_classic: of.is_classic,
    }
}

fn tasks<T>(of: Vec<T>, parts: fn(T) -> (String, Vec<i32>)) -> Vec<(String, Vec<i32>)> {
    of.into_iter().map(parts).collect()
}
