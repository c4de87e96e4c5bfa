//! Moves of replicas between brokers.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;
use ottla_wire::messages::{ListPartitionReassignmentsRequest, list_partition_reassignments_request};

use super::partitions::by_topic;
use super::{Admin, check};
use crate::client::Target;
use crate::error::ClientError;

/// A move that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReassignment {
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

impl Admin {
    /// Moves that are under way: of these partitions, or all.
    pub async fn list_reassignments(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, PartitionReassignment>, ClientError> {
        let topics = partitions.map(|partitions| {
            by_topic(partitions)
                .into_iter()
                .map(|(name, indexes)| list_partition_reassignments_request::Topic {
                    name: name.to_string(),
                    partition_indexes: indexes,
                    ..Default::default()
                })
                .collect()
        });
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.request_timeout_ms(),
            topics,
            ..Default::default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || "listing moves".to_owned())?;
        let mut moves = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                let found = PartitionReassignment {
                    replicas: partition.replicas,
                    adding: partition.adding_replicas,
                    removing: partition.removing_replicas,
                };
                moves.insert(at, found);
            }
        }
        Ok(moves)
    }
}
