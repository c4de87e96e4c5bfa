//! Moves of replicas between brokers.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest,
    alter_partition_reassignments_request, list_partition_reassignments_request,
};

use super::partitions::by_topic;
use super::{Admin, Results, check};
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

    /// Begins moves to these brokers; `None` cancels the one that is under way.
    pub async fn alter_reassignments(
        &self,
        moves: &BTreeMap<TopicPartition, Option<Vec<i32>>>,
        allow_replication_factor_change: bool,
    ) -> Result<Results<TopicPartition, ()>, ClientError> {
        let all: Vec<TopicPartition> = moves.keys().cloned().collect();
        let topics =
            by_topic(&all).into_iter().map(|(name, indexes)| alter_partition_reassignments_request::Topic {
                partitions: indexes
                    .into_iter()
                    .map(|index| alter_partition_reassignments_request::Partition {
                        partition_index: index,
                        replicas: moves.get(&TopicPartition::new(name.clone(), index)).cloned().flatten(),
                        ..Default::default()
                    })
                    .collect(),
                name: name.to_string(),
                ..Default::default()
            });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.request_timeout_ms(),
            allow_replication_factor_change,
            topics: topics.collect(),
            ..Default::default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || "beginning moves".to_owned())?;
        let mut results = Results::new();
        for topic in answer.responses {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                let result = check(partition.error_code, partition.error_message, || format!("moving {at}"));
                results.insert(at, result);
            }
        }
        Ok(results)
    }
}
