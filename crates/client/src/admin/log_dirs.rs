//! Log directories of brokers, and what is in them.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};
use ottla_wire::messages::{
    AlterReplicaLogDirsRequest, DescribeLogDirsRequest, alter_replica_log_dirs_request,
};

use super::partitions::by_topic;
use super::{Admin, Results, check};
use crate::error::ClientError;

/// A log directory of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirDescription {
    /// Why it can't be used.
    pub error: Option<ClientError>,
    pub replicas: BTreeMap<TopicPartition, ReplicaInfo>,
    /// -1 where the broker doesn't tell.
    pub total_bytes: i64,
    /// -1 where the broker doesn't tell.
    pub usable_bytes: i64,
    pub is_cordoned: bool,
}

/// A replica in a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    pub size_bytes: i64,
    /// How far it is behind: the high watermark, or the replica that it will replace.
    pub offset_lag: i64,
    /// It will replace the one in another directory.
    pub is_future: bool,
}

impl Admin {
    /// The log directories of each of these brokers.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[i32],
    ) -> Results<NodeId, BTreeMap<String, LogDirDescription>> {
        let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let requests = brokers.iter().map(|&id| (NodeId(id), request.clone()));
        let answers = self.ask_nodes(requests, |answer| answer.error_code).await;
        let read =
            |(node, answer): (NodeId, Result<ottla_wire::messages::DescribeLogDirsResponse, ClientError>)| {
                let dirs = answer.and_then(|answer| {
                    check(answer.error_code, None, || {
                        format!("describing log directories of broker {node}")
                    })?;
                    Ok(answer.results.into_iter().map(description).collect())
                });
                (node, dirs)
            };
        answers.into_iter().map(read).collect()
    }

    /// Moves replicas of a broker to other directories of the same broker.
    pub async fn alter_replica_log_dirs(
        &self,
        broker: i32,
        dirs: &BTreeMap<TopicPartition, String>,
    ) -> Result<Results<TopicPartition, ()>, ClientError> {
        let mut by_path: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
        for (at, path) in dirs {
            by_path.entry(path).or_default().push(at.clone());
        }
        let dir = |(path, of): (&str, Vec<TopicPartition>)| alter_replica_log_dirs_request::Dir {
            path: path.to_owned(),
            topics: by_topic(&of)
                .into_iter()
                .map(|(name, partitions)| alter_replica_log_dirs_request::Topic {
                    name: name.to_string(),
                    partitions,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let request =
            AlterReplicaLogDirsRequest { dirs: by_path.into_iter().map(dir).collect(), ..Default::default() };
        let answer = self.ask(crate::client::Target::Node(NodeId(broker)), &request, |_| 0).await?;
        let mut results = Results::new();
        for topic in answer.results {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.topic_name.as_str(), partition.partition_index);
                let result = check(partition.error_code, None, || format!("moving {at} on broker {broker}"));
                results.insert(at, result);
            }
        }
        Ok(results)
    }
}

fn description(
    answer: ottla_wire::messages::describe_log_dirs_response::Result,
) -> (String, LogDirDescription) {
    let mut replicas = BTreeMap::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
            let info = ReplicaInfo {
                size_bytes: partition.partition_size,
                offset_lag: partition.offset_lag,
                is_future: partition.is_future_key,
            };
            replicas.insert(at, info);
        }
    }
    let dir = LogDirDescription {
        error: check(answer.error_code, None, || answer.log_dir.clone()).err(),
        replicas,
        total_bytes: answer.total_bytes,
        usable_bytes: answer.usable_bytes,
        is_cordoned: answer.is_cordoned,
    };
    (answer.log_dir, dir)
}
