//! Questions that take several requests or attempts: committed offsets, offsets by time, the answers of coordinators.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets_request::{Partition as ListPartition, Topic as ListTopic};
use ottla_wire::messages::offset_fetch_request::{Group as FetchGroup, GroupTopic};
use ottla_wire::messages::{ListOffsetsRequest, OffsetFetchRequest, OffsetFetchResponse};

use super::commits::CommittedOffset;
use super::core::assignors::TopicRacks;
use super::core::fetching::{IsolationLevel, Leaders};
use super::core::machine::GroupAnswer;
use super::core::membership::{GroupRequest, MemberIdentity};
use super::core::record::Position;
use super::error::ConsumerError;
use crate::{Client, ClientError, Metadata, SendOptions, Target, Topics};

/// The newest versions that name topics; later ones have their ids instead.
pub(super) const OFFSETS_BY_NAME_VERSION_MAX: i16 = 9;
/// How much longer than the group waits for its members an answer to joining may take.
const JOIN_SPARE_MS: u64 = 5_000;

impl Leaders for Metadata {
    fn leader(&self, partition: &TopicPartition) -> Option<(NodeId, LeaderEpoch)> {
        let leader = Metadata::leader(self, &partition.topic, partition.partition)?;
        Some((leader.node, leader.epoch))
    }

    fn topic_id(&self, topic: &str) -> Option<ottla_types::Uuid> {
        self.topic(topic).map(|topic| topic.id)
    }

    fn is_node(&self, node: NodeId) -> bool {
        self.brokers().contains_key(&node)
    }
}

/// Partitions of these topics, with the racks of their replicas.
pub(super) fn racks(metadata: &Metadata, topics: &[Arc<str>]) -> TopicRacks {
    let rack = |node: &NodeId| metadata.brokers().get(node)?.rack.as_deref().map(str::to_owned);
    let known = topics.iter().filter_map(|name| metadata.topic(name));
    let partitions = |topic: &crate::Topic| {
        topic
            .partitions
            .iter()
            .map(|partition| partition.replicas.iter().filter_map(rack).collect())
            .collect()
    };
    known.map(|topic| (Arc::clone(&topic.name), partitions(topic))).collect()
}

/// Sends a member's request to its coordinator. The error says why there is no answer.
pub(super) async fn ask_coordinator(
    client: &Client,
    request: GroupRequest,
    max_poll_interval_ms: u64,
) -> (GroupAnswer, Option<ClientError>) {
    match request {
        GroupRequest::Join(request) => {
            let timeout_ms = client.settings().request_timeout_ms.max(max_poll_interval_ms + JOIN_SPARE_MS);
            let (answer, error) = ask(client, &request.group_id.clone(), Some(timeout_ms), request).await;
            (GroupAnswer::Join(answer), error)
        }
        GroupRequest::Sync(request) => {
            let timeout_ms = client.settings().request_timeout_ms.max(max_poll_interval_ms + JOIN_SPARE_MS);
            let (answer, error) = ask(client, &request.group_id.clone(), Some(timeout_ms), request).await;
            (GroupAnswer::Sync(answer), error)
        }
        GroupRequest::Heartbeat(request) => {
            let generation = request.generation_id;
            let (answer, error) = ask(client, &request.group_id.clone(), None, request).await;
            (GroupAnswer::Heartbeat(generation, answer), error)
        }
        GroupRequest::ConsumerHeartbeat(request) => {
            let epoch = request.member_epoch;
            let (answer, error) = ask(client, &request.group_id.clone(), None, request).await;
            if epoch < 0 {
                (GroupAnswer::Left, error)
            } else {
                (GroupAnswer::ConsumerHeartbeat(epoch, answer), error)
            }
        }
        GroupRequest::Leave(request) => {
            let (_, error) = ask(client, &request.group_id.clone(), None, request).await;
            (GroupAnswer::Left, error)
        }
    }
}

async fn ask<R: ottla_wire::Request>(
    client: &Client,
    group_id: &str,
    timeout_ms: Option<u64>,
    request: R,
) -> (Option<R::Response>, Option<ClientError>) {
    let target = Target::group(group_id);
    let options = SendOptions { timeout_ms, ..SendOptions::default() };
    match client.send_with(target.clone(), options, |_| request).await {
        Ok(answer) => (Some(answer.response), None),
        Err(error) => {
            tracing::debug!(group_id, %error, "no answer from the group's coordinator");
            client.learn_from(&target, &error);
            (None, Some(error))
        }
    }
}

/// What a group has committed of these partitions. Partitions without a committed offset are missing. One attempt.
pub(super) async fn committed(
    client: &Client,
    group_id: &str,
    member: Option<&MemberIdentity>,
    partitions: &BTreeMap<&str, std::collections::BTreeSet<i32>>,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    let topics = partitions.iter().map(|(name, partitions)| GroupTopic {
        name: (*name).to_owned(),
        partition_indexes: partitions.iter().copied().collect(),
        ..GroupTopic::default()
    });
    let group = FetchGroup {
        group_id: group_id.to_owned(),
        member_id: member.map(|member| member.member_id.clone()),
        member_epoch: member.map_or(-1, |member| member.generation_or_epoch),
        topics: Some(topics.collect()),
        ..FetchGroup::default()
    };
    // An offset that a transaction is about to commit is not to be read past (KIP-447).
    let request =
        OffsetFetchRequest { groups: vec![group], require_stable: true, ..OffsetFetchRequest::default() };
    let target = Target::group(group_id);
    let options = SendOptions { version_max: Some(OFFSETS_BY_NAME_VERSION_MAX), ..SendOptions::default() };
    let answer = client.send_with(target.clone(), options, |_| request).await;
    let read = answer.and_then(|answer| read_committed(answer.response));
    if let Err(error) = &read {
        client.learn_from(&target, error);
    }
    read
}

fn read_committed(
    answer: OffsetFetchResponse,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    let mut committed = BTreeMap::new();
    let failed = |code: i16, what: String| match ErrorCode::from_answer(code) {
        ErrorCode::None => Ok(()),
        code => Err(ClientError::broker(code, None, what)),
    };
    for group in answer.groups {
        failed(group.error_code, "asking for committed offsets".to_owned())?;
        for topic in group.topics {
            let name: Arc<str> = topic.name.into();
            for partition in topic.partitions {
                let key = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                failed(partition.error_code, format!("asking for the committed offset of {key}"))?;
                if partition.committed_offset < 0 {
                    continue;
                }
                let epoch =
                    Some(LeaderEpoch(partition.committed_leader_epoch)).filter(|epoch| epoch.value() >= 0);
                let position = Position { offset: Offset(partition.committed_offset), leader_epoch: epoch };
                let metadata = partition.metadata.unwrap_or_default();
                committed.insert(key, CommittedOffset { position, metadata });
            }
        }
    }
    Ok(committed)
}

/// An offset, and the timestamp of the record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub position: Position,
    pub timestamp: i64,
}

/// Offsets by time: for each partition that of the first record at or after its timestamp (or the special one of an end);
/// partitions without are missing. Tries again until `default.api.timeout.ms` are over.
pub(super) async fn list_offsets(
    client: &Client,
    isolation_level: IsolationLevel,
    timestamps: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, Listed>, ConsumerError> {
    let timeout_ms = client.settings().default_api_timeout_ms;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(timeout_ms);
    let mut waits = client.settings().retry_backoff();
    let mut left = timestamps.clone();
    let mut listed = BTreeMap::new();
    loop {
        let topics: std::collections::BTreeSet<Arc<str>> =
            left.keys().map(|tp| Arc::clone(&tp.topic)).collect();
        let is_first = left.len() == timestamps.len();
        let metadata = client.metadata();
        let metadata = if is_first && left.keys().all(|tp| Leaders::leader(&*metadata, tp).is_some()) {
            metadata
        } else {
            client.refresh(Topics::Named(topics.into_iter().collect())).await?
        };
        let mut last = None;
        for (node, timestamps) in by_leader(&metadata, &left) {
            match list_offsets_of(client, node, &metadata, isolation_level, &timestamps).await {
                Ok(answers) => {
                    for (partition, answer) in answers {
                        match answer {
                            Ok(found) => {
                                left.remove(&partition);
                                listed.extend(found.map(|found| (partition, found)));
                            }
                            Err(code) if code.is_retriable() => {
                                last = Some(ClientError::broker(
                                    code,
                                    None,
                                    format!("listing offsets of {partition}"),
                                ));
                            }
                            Err(code) => {
                                let what = format!("listing offsets of {partition}");
                                return Err(ClientError::broker(code, None, what).into());
                            }
                        }
                    }
                }
                Err(error) if error.is_retriable() => {
                    client.learn_from(&Target::Node(node), &error);
                    last = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if left.is_empty() {
            return Ok(listed);
        }
        let wait = std::time::Duration::from_millis(waits.failed(rand::random()));
        if tokio::time::Instant::now() + wait >= deadline {
            let last = last.map(Arc::new);
            let what = "listing offsets".into();
            return Err(ClientError::TimedOut { what, timeout_ms, is_sent: false, last }.into());
        }
        tokio::time::sleep(wait).await;
    }
}

fn by_leader(
    metadata: &Metadata,
    timestamps: &BTreeMap<TopicPartition, i64>,
) -> BTreeMap<NodeId, BTreeMap<TopicPartition, i64>> {
    let mut by_leader: BTreeMap<NodeId, BTreeMap<TopicPartition, i64>> = BTreeMap::new();
    for (partition, timestamp) in timestamps {
        if let Some((node, _)) = Leaders::leader(metadata, partition) {
            by_leader.entry(node).or_default().insert(partition.clone(), *timestamp);
        }
    }
    by_leader
}

type ListAnswers = Vec<(TopicPartition, Result<Option<Listed>, ErrorCode>)>;

async fn list_offsets_of(
    client: &Client,
    node: NodeId,
    metadata: &Metadata,
    isolation_level: IsolationLevel,
    timestamps: &BTreeMap<TopicPartition, i64>,
) -> Result<ListAnswers, ClientError> {
    let mut request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(isolation_level == IsolationLevel::ReadCommitted),
        ..ListOffsetsRequest::default()
    };
    for (partition, timestamp) in timestamps {
        if request.topics.last().is_none_or(|last| *last.name != *partition.topic) {
            request.topics.push(ListTopic { name: partition.topic.to_string(), ..ListTopic::default() });
        }
        let epoch = Leaders::leader(metadata, partition).map_or(LeaderEpoch::NONE, |(_, epoch)| epoch);
        if let Some(topic) = request.topics.last_mut() {
            topic.partitions.push(ListPartition {
                partition_index: partition.partition,
                current_leader_epoch: epoch.value(),
                timestamp: *timestamp,
                ..ListPartition::default()
            });
        }
    }
    let answer = client.send(Target::Node(node), &request).await?;
    let mut listed = Vec::new();
    for topic in answer.topics {
        let name: Arc<str> = topic.name.into();
        for partition in topic.partitions {
            let key = TopicPartition::new(Arc::clone(&name), partition.partition_index);
            let epoch = Some(LeaderEpoch(partition.leader_epoch)).filter(|epoch| epoch.value() >= 0);
            let position = Position { offset: Offset(partition.offset), leader_epoch: epoch };
            let found = Listed { position, timestamp: partition.timestamp };
            let answer = match ErrorCode::from_answer(partition.error_code) {
                ErrorCode::None => Ok((partition.offset >= 0).then_some(found)),
                code => Err(code),
            };
            listed.push((key, answer));
        }
    }
    Ok(listed)
}
