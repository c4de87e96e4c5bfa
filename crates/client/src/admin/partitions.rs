//! Asking the leaders of partitions, each for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{NodeId, TopicPartition};
use ottla_wire::messages::{DeleteRecordsRequest, delete_records_request};
use ottla_wire::{ErrorCode, Request};
use tokio::time::Instant;

use super::{Admin, Results, check};
use crate::client::Topics;
use crate::error::ClientError;

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// Partitions of a request, by topic.
pub(super) fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Arc<str>, Vec<i32>> {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        topics.entry(Arc::clone(&at.topic)).or_default().push(at.partition);
    }
    topics
}

impl Admin {
    /// Asks the leader of each partition, and asks again where it has changed, until the time is over. `request` is made for
    /// the partitions of one leader; `read` says what the answer says of each.
    pub(super) async fn ask_leaders<R: Request, V>(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        request: impl Fn(&[TopicPartition]) -> R,
        read: impl Fn(R::Response) -> Vec<(TopicPartition, Result<V, ClientError>)>,
    ) -> Result<Results<TopicPartition, V>, ClientError> {
        let deadline = Instant::now() + Duration::from_millis(self.timeout_ms);
        let mut open: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let mut results = Results::new();
        loop {
            let is_last = Instant::now() + BETWEEN_ATTEMPTS >= deadline;
            for (at, result) in self.ask_leaders_once(&open, &request, &read).await? {
                let is_done = match &result {
                    Ok(_) => true,
                    Err(error) => is_last || !(error.is_retriable() || error.needs_metadata()),
                };
                if is_done && open.remove(&at) {
                    results.insert(at, result);
                }
            }
            if open.is_empty() {
                return Ok(results);
            }
            if is_last {
                for at in open {
                    let error = no_leader(&at, "the answer says nothing of it");
                    results.insert(at, Err(error));
                }
                return Ok(results);
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    async fn ask_leaders_once<R: Request, V>(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        request: &impl Fn(&[TopicPartition]) -> R,
        read: &impl Fn(R::Response) -> Vec<(TopicPartition, Result<V, ClientError>)>,
    ) -> Result<Vec<(TopicPartition, Result<V, ClientError>)>, ClientError> {
        let names: BTreeSet<Arc<str>> = partitions.iter().map(|at| Arc::clone(&at.topic)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let metadata = self.client.refresh(Topics::Named(names.into_iter().collect())).await?;
        let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        let mut results = Vec::new();
        for at in partitions {
            match metadata.leader(&at.topic, at.partition) {
                Some(leader) => by_leader.entry(leader.node).or_default().push(at.clone()),
                None => {
                    let unknown = match metadata.partition(&at.topic, at.partition) {
                        Some(_) => ErrorCode::LeaderNotAvailable,
                        None => metadata.topic_error(&at.topic).unwrap_or(ErrorCode::UnknownTopicOrPartition),
                    };
                    results.push((at.clone(), Err(ClientError::broker(unknown, None, at.to_string()))));
                }
            }
        }
        let requests: Vec<(NodeId, R)> = by_leader.iter().map(|(node, of)| (*node, request(of))).collect();
        for (node, answer) in self.ask_nodes(requests, |_| 0).await {
            match answer {
                Ok(answer) => results.extend(read(answer)),
                Err(error) => {
                    let of = by_leader.remove(&node).unwrap_or_default();
                    results.extend(of.into_iter().map(|at| (at, Err(error.clone()))));
                }
            }
        }
        Ok(results)
    }

    /// Deletes the records below an offset, of each partition; -1 is the high watermark. Answers with where each starts now.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Results<TopicPartition, i64>, ClientError> {
        let timeout_ms = self.request_timeout_ms();
        let request = |of: &[TopicPartition]| {
            let topic = |(name, partitions): (Arc<str>, Vec<i32>)| delete_records_request::Topic {
                partitions: partitions
                    .into_iter()
                    .map(|index| delete_records_request::Partition {
                        partition_index: index,
                        offset: before
                            .get(&TopicPartition::new(Arc::clone(&name), index))
                            .copied()
                            .unwrap_or_default(),
                        ..Default::default()
                    })
                    .collect(),
                name: name.to_string(),
                ..Default::default()
            };
            let topics = by_topic(of).into_iter().map(topic).collect();
            DeleteRecordsRequest { topics, timeout_ms, ..Default::default() }
        };
        self.ask_leaders(before.keys().cloned(), request, |answer| {
            let mut results = Vec::new();
            for topic in answer.topics {
                for partition in topic.partitions {
                    let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    let result = check(partition.error_code, None, || format!("deleting records of {at}"));
                    results.push((at, result.map(|()| partition.low_watermark)));
                }
            }
            results
        })
        .await
    }
}

fn no_leader(at: &TopicPartition, why: &str) -> ClientError {
    ClientError::broker(ErrorCode::UnknownServerError, Some(why.to_owned()), at.to_string())
}
