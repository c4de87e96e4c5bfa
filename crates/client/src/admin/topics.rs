//! Topics: listed, described, created, grown and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, NodeId, Uuid};
use ottla_wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest,
    create_partitions_request, create_topics_request, delete_topics_request,
    describe_topic_partitions_request, describe_topic_partitions_response,
};

use super::{Admin, Results, check};
use crate::client::{Target, Topics};
use crate::cluster::Topic;
use crate::error::ClientError;

/// A topic that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    pub name: Arc<str>,
    pub id: Uuid,
    pub is_internal: bool,
}

/// A topic with its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    /// Zero where the broker has no topic ids.
    pub id: Uuid,
    pub is_internal: bool,
    /// By index.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition, its leader and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    pub index: i32,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline: Vec<i32>,
    /// Eligible leader replicas (KIP-966), if the broker tells them.
    pub elr: Option<Vec<i32>>,
    pub last_known_elr: Option<Vec<i32>>,
}

/// A topic to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// `None`: the cluster's default.
    pub partitions: Option<i32>,
    /// `None`: the cluster's default.
    pub replication_factor: Option<i16>,
    /// The brokers of each partition, instead of the numbers.
    pub assignments: Vec<Vec<i32>>,
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    pub fn new(name: impl Into<String>) -> NewTopic {
        NewTopic { name: name.into(), ..NewTopic::default() }
    }

    pub fn partitions(self, count: i32) -> NewTopic {
        NewTopic { partitions: Some(count), ..self }
    }

    pub fn replication_factor(self, factor: i16) -> NewTopic {
        NewTopic { replication_factor: Some(factor), ..self }
    }

    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> NewTopic {
        self.configs.insert(key.into(), value.into());
        self
    }
}

/// Up to how many partitions a topic is to grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPartitions {
    pub count: i32,
    /// The brokers of each new partition; `None`: the controller places them.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl Admin {
    /// All topics that this client may see, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let metadata = self.client.refresh(Topics::Every).await?;
        let listing = |topic: &Arc<Topic>| TopicListing {
            name: Arc::clone(&topic.name),
            id: topic.id,
            is_internal: topic.is_internal,
        };
        let mut topics: Vec<TopicListing> = metadata.topics().map(listing).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Describes topics, at most `partitions_max` partitions an answer.
    pub async fn describe_topics(
        &self,
        names: &[String],
        partitions_max: i32,
    ) -> Result<Results<String, TopicDescription>, ClientError> {
        let mut sorted = names.to_vec();
        sorted.sort();
        sorted.dedup();
        if sorted.is_empty() {
            // A request that names none asks for all.
            return Ok(Results::new());
        }
        let mut request = DescribeTopicPartitionsRequest {
            response_partition_limit: partitions_max,
            topics: sorted
                .iter()
                .map(|name| describe_topic_partitions_request::Topic {
                    name: name.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let mut described = Results::new();
        loop {
            let answer = match self.ask(Target::AnyNode, &request, |_| 0).await {
                Err(ClientError::Unsupported { .. }) => return self.describe_from_metadata(&sorted).await,
                answer => answer?,
            };
            for topic in answer.topics {
                add_topic(&mut described, topic);
            }
            let Some(next) = answer.next_cursor else { return Ok(described) };
            // Topics before the cursor are done.
            request.topics.retain(|topic| topic.name >= next.topic_name);
            request.cursor = Some(describe_topic_partitions_request::Cursor {
                topic_name: next.topic_name,
                partition_index: next.partition_index,
                ..Default::default()
            });
        }
    }

    /// Of brokers before 3.8.
    async fn describe_from_metadata(
        &self,
        names: &[String],
    ) -> Result<Results<String, TopicDescription>, ClientError> {
        let asked = names.iter().map(|name| Arc::from(name.as_str())).collect();
        let metadata = self.client.refresh(Topics::Named(asked)).await?;
        let describe = |name: &String| match metadata.topic(name) {
            Some(topic) => Ok(TopicDescription::of(topic)),
            None => {
                let code =
                    metadata.topic_error(name).unwrap_or(ottla_wire::ErrorCode::UnknownTopicOrPartition);
                Err(ClientError::broker(code, None, format!("describing topic {name}")))
            }
        };
        Ok(names.iter().map(|name| (name.clone(), describe(name))).collect())
    }

    /// Creates one topic; its id, where the broker tells it.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Uuid, ClientError> {
        let mut created = self.create_topics(std::slice::from_ref(topic), false).await?;
        created.remove(&topic.name).unwrap_or_else(|| Err(no_answer(&topic.name)))
    }

    /// Creates topics, or only tells whether it could.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Results<String, Uuid>, ClientError> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.request_timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let first = |topics: &[ottla_wire::messages::create_topics_response::Topic]| {
            topics
                .iter()
                .map(|topic| topic.error_code)
                .find(|&code| is_controller_elsewhere(code))
                .unwrap_or_default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| first(&answer.topics)).await?;
        let results = answer.topics.into_iter().map(|topic| {
            let result =
                check(topic.error_code, topic.error_message, || format!("creating topic {}", topic.name));
            (topic.name, result.map(|()| topic.topic_id))
        });
        Ok(results.collect())
    }

    /// Grows topics.
    pub async fn create_partitions(
        &self,
        topics: &BTreeMap<String, NewPartitions>,
        validate_only: bool,
    ) -> Result<Results<String, ()>, ClientError> {
        let topic = |(name, new): (&String, &NewPartitions)| create_partitions_request::Topic {
            name: name.clone(),
            count: new.count,
            assignments: new.assignments.as_ref().map(|lists| {
                let assignment = |ids: &Vec<i32>| create_partitions_request::Assignment {
                    broker_ids: ids.clone(),
                    ..Default::default()
                };
                lists.iter().map(assignment).collect()
            }),
            ..Default::default()
        };
        let request = CreatePartitionsRequest {
            topics: topics.iter().map(topic).collect(),
            timeout_ms: self.request_timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let answer = self
            .ask(Target::Controller, &request, |answer| {
                let codes = answer.results.iter().map(|result| result.error_code);
                codes.into_iter().find(|&code| is_controller_elsewhere(code)).unwrap_or_default()
            })
            .await?;
        let results = answer.results.into_iter().map(|topic| {
            let result =
                check(topic.error_code, topic.error_message, || format!("growing topic {}", topic.name));
            (topic.name, result)
        });
        Ok(results.collect())
    }

    /// Deletes topics with all that is in them.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Results<String, ()>, ClientError> {
        let timeout_ms = self.request_timeout_ms();
        /// The first version that may name topics by id, and names them in another field.
        const BY_ID_SINCE: i16 = 6;
        let request = |version: i16| {
            if version < BY_ID_SINCE {
                return DeleteTopicsRequest { topic_names: names.to_vec(), timeout_ms, ..Default::default() };
            }
            let topic = |name: &String| delete_topics_request::Topic {
                name: Some(name.clone()),
                ..Default::default()
            };
            DeleteTopicsRequest {
                topics: names.iter().map(topic).collect(),
                timeout_ms,
                ..Default::default()
            }
        };
        let answer = self
            .client
            .call(Target::Controller, self.timeout_ms, request, |answer| {
                let codes = answer.responses.iter().map(|response| response.error_code);
                ottla_wire::ErrorCode::from_answer(
                    codes.into_iter().find(|&code| is_controller_elsewhere(code)).unwrap_or_default(),
                )
            })
            .await?;
        let results = answer.response.responses.into_iter().filter_map(|topic| {
            let name = topic.name?;
            let result = check(topic.error_code, topic.error_message, || format!("deleting topic {name}"));
            Some((name, result))
        });
        Ok(results.collect())
    }
}

impl TopicDescription {
    fn of(topic: &Topic) -> TopicDescription {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        let partition = |partition: &crate::cluster::Partition| PartitionDescription {
            index: partition.index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replicas),
            isr: ids(&partition.isr),
            offline: ids(&partition.offline),
            elr: None,
            last_known_elr: None,
        };
        TopicDescription {
            name: topic.name.to_string(),
            id: topic.id,
            is_internal: topic.is_internal,
            partitions: topic.partitions.iter().map(partition).collect(),
        }
    }
}

fn add_topic(
    described: &mut Results<String, TopicDescription>,
    answer: describe_topic_partitions_response::Topic,
) {
    let Some(name) = answer.name else { return };
    if let Err(error) = check(answer.error_code, None, || format!("describing topic {name}")) {
        described.insert(name, Err(error));
        return;
    }
    let partitions = answer.partitions.into_iter().map(|partition| PartitionDescription {
        index: partition.partition_index,
        leader: Some(NodeId(partition.leader_id)).filter(|id| *id != NodeId::NONE),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: partition.replica_nodes,
        isr: partition.isr_nodes,
        offline: partition.offline_replicas,
        elr: partition.eligible_leader_replicas,
        last_known_elr: partition.last_known_elr,
    });
    let topic = TopicDescription {
        name: name.clone(),
        id: answer.topic_id,
        is_internal: answer.is_internal,
        partitions: partitions.collect(),
    };
    match described.get_mut(&name) {
        // It is described in pieces.
        Some(Ok(known)) => known.partitions.extend(topic.partitions),
        _ => {
            described.insert(name, Ok(topic));
        }
    }
}

fn creatable(topic: &NewTopic) -> create_topics_request::Topic {
    let config = |(name, value): (&String, &String)| create_topics_request::Config {
        name: name.clone(),
        value: Some(value.clone()),
        ..Default::default()
    };
    let assignment = |(index, ids): (usize, &Vec<i32>)| create_topics_request::Assignment {
        partition_index: i32::try_from(index).unwrap_or(i32::MAX),
        broker_ids: ids.clone(),
        ..Default::default()
    };
    create_topics_request::Topic {
        name: topic.name.clone(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: topic.assignments.iter().enumerate().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
        ..Default::default()
    }
}

/// The whole request is to be made again, to somebody else.
fn is_controller_elsewhere(code: i16) -> bool {
    ottla_wire::ErrorCode::from_answer(code) == ottla_wire::ErrorCode::NotController
}

fn no_answer(name: &str) -> ClientError {
    ClientError::broker(
        ottla_wire::ErrorCode::UnknownServerError,
        Some("the answer says nothing of it".to_owned()),
        name.to_owned(),
    )
}
