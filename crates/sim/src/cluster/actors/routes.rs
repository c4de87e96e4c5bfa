//! To whom a request goes: to anybody, to a coordinator, or to a partition's leader.

use bytes::Bytes;
use ottla_types::{CONSUMER_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC, TopicPartition, Uuid, java_string_hash};
use ottla_wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ConsumerGroupHeartbeatRequest, EndTxnRequest,
    HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, ProduceResponse, ShareAcknowledgeRequest, ShareAcknowledgeResponse,
    ShareFetchRequest, ShareFetchResponse, ShareGroupHeartbeatRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use ottla_wire::{ApiKey, Decoder, Message, decode_request_header};

use crate::clients::Topics;
use crate::network::decode;
use crate::node::INTERNAL_PARTITIONS;

/// Kinds of coordinators, as FindCoordinator names them.
const OF_GROUPS: i8 = 0;
const OF_TRANSACTIONS: i8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Anybody,
    Coordinator { key_type: i8, key: String },
    Leader(TopicPartition),
}

impl Destination {
    /// Whose leader it is.
    pub fn partition(&self) -> Option<TopicPartition> {
        let (topic, key) = match self {
            Destination::Anybody => return None,
            Destination::Leader(partition) => return Some(partition.clone()),
            Destination::Coordinator { key_type: OF_GROUPS, key } => (CONSUMER_OFFSETS_TOPIC, key),
            Destination::Coordinator { key, .. } => (TRANSACTION_STATE_TOPIC, key),
        };
        let hash = java_string_hash(key).checked_abs().unwrap_or(0);
        Some(TopicPartition::new(topic, hash % INTERNAL_PARTITIONS))
    }
}

/// A request that was taken over from a client.
#[derive(Clone, Debug)]
pub(super) struct Routed {
    pub api_key: ApiKey,
    pub version: i16,
    pub to: Destination,
}

pub(super) fn route(frame: &Bytes, topics: &Topics) -> Routed {
    let mut d = Decoder::new(frame.clone());
    let header = decode_request_header(&mut d).expect("clients send whole requests");
    let (api_key, version) = (header.api_key, header.api_version);
    let to = match api_key {
        ApiKey::JoinGroup => of_group(body::<JoinGroupRequest>(&mut d, version).group_id),
        ApiKey::SyncGroup => of_group(body::<SyncGroupRequest>(&mut d, version).group_id),
        ApiKey::Heartbeat => of_group(body::<HeartbeatRequest>(&mut d, version).group_id),
        ApiKey::LeaveGroup => of_group(body::<LeaveGroupRequest>(&mut d, version).group_id),
        ApiKey::OffsetCommit => of_group(body::<OffsetCommitRequest>(&mut d, version).group_id),
        ApiKey::OffsetFetch => {
            let groups = body::<OffsetFetchRequest>(&mut d, version).groups;
            of_group(groups.into_iter().next().map(|group| group.group_id).unwrap_or_default())
        }
        ApiKey::TxnOffsetCommit => of_group(body::<TxnOffsetCommitRequest>(&mut d, version).group_id),
        ApiKey::ConsumerGroupHeartbeat => {
            of_group(body::<ConsumerGroupHeartbeatRequest>(&mut d, version).group_id)
        }
        ApiKey::ShareGroupHeartbeat => of_group(body::<ShareGroupHeartbeatRequest>(&mut d, version).group_id),
        ApiKey::InitProducerId => {
            of_transaction(body::<InitProducerIdRequest>(&mut d, version).transactional_id)
        }
        ApiKey::AddPartitionsToTxn => of_transaction(Some(
            body::<AddPartitionsToTxnRequest>(&mut d, version).v3_and_below_transactional_id,
        )),
        ApiKey::AddOffsetsToTxn => {
            of_transaction(Some(body::<AddOffsetsToTxnRequest>(&mut d, version).transactional_id))
        }
        ApiKey::EndTxn => of_transaction(Some(body::<EndTxnRequest>(&mut d, version).transactional_id)),
        ApiKey::Produce => {
            let topics_of = body::<ProduceRequest>(&mut d, version).topic_data;
            let first = topics_of.first().and_then(|topic| {
                Some((topic.name.clone(), topic.topic_id, topic.partition_data.first()?.index))
            });
            of_leader(first, topics)
        }
        ApiKey::ShareFetch => {
            let first = body::<ShareFetchRequest>(&mut d, version).topics.into_iter().find_map(|topic| {
                Some((String::new(), topic.topic_id, topic.partitions.first()?.partition_index))
            });
            of_leader(first, topics)
        }
        ApiKey::ShareAcknowledge => {
            let first =
                body::<ShareAcknowledgeRequest>(&mut d, version).topics.into_iter().find_map(|topic| {
                    Some((String::new(), topic.topic_id, topic.partitions.first()?.partition_index))
                });
            of_leader(first, topics)
        }
        _ => Destination::Anybody,
    };
    Routed { api_key, version, to }
}

fn body<M: Message>(d: &mut Decoder, version: i16) -> M {
    M::decode(d, version).expect("clients send whole requests")
}

fn of_group(key: String) -> Destination {
    Destination::Coordinator { key_type: OF_GROUPS, key }
}

fn of_transaction(key: Option<String>) -> Destination {
    match key {
        Some(key) => Destination::Coordinator { key_type: OF_TRANSACTIONS, key },
        None => Destination::Anybody,
    }
}

/// By name, or where there is none by id.
fn of_leader(first: Option<(String, Uuid, i32)>, topics: &Topics) -> Destination {
    let partition = first.and_then(|(name, id, partition)| match name.is_empty() {
        true => topics.partition(id, partition),
        false => Some(TopicPartition::new(name, partition)),
    });
    // A session without changes names no partition: there is but one that it can be about.
    partition
        .or_else(|| topics.partitions().into_iter().next())
        .map_or(Destination::Anybody, Destination::Leader)
}

impl Routed {
    /// Whether the answer says that something is wrong with a partition: maybe that it is led elsewhere.
    pub fn says_elsewhere(&self, answer: &Bytes) -> bool {
        match self.api_key {
            ApiKey::Produce => {
                let response: ProduceResponse = decode(answer, self.version);
                let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
                partitions.any(|partition| partition.error_code != 0)
            }
            ApiKey::ShareFetch => {
                let response: ShareFetchResponse = decode(answer, self.version);
                let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
                response.error_code != 0
                    || partitions
                        .any(|partition| partition.error_code != 0 || partition.acknowledge_error_code != 0)
            }
            ApiKey::ShareAcknowledge => {
                let response: ShareAcknowledgeResponse = decode(answer, self.version);
                let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
                response.error_code != 0 || partitions.any(|partition| partition.error_code != 0)
            }
            _ => false,
        }
    }
}
