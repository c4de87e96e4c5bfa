//! Between the core's messages and the wire's: the nesting, the places of errors, and what older versions lack.
//!
//! Only this module knows the wire's shape of the quorum's APIs.

mod requests;
mod responses;
mod voters;

use ottla_types::{METADATA_TOPIC, NodeId, Uuid};
use ottla_wire::messages as wire;

use crate::core::{QuorumInfo, ReplicaInfo};
use crate::messages::{RaftError, Request};

pub use requests::{request_from_wire, request_to_wire};
pub use responses::{error_to_wire, response_from_wire, response_to_wire};

/// Fetch knows topics by id from this version on.
const FETCH_TOPIC_ID_VERSION: i16 = 13;
/// Fetch has the replica's id in a tagged struct from this version on.
const FETCH_REPLICA_STATE_VERSION: i16 = 15;
/// Responses tell endpoints from these versions on.
const FETCH_ENDPOINTS_VERSION: i16 = 17;
const OTHER_ENDPOINTS_VERSION: i16 = 1;

/// A request of one of the quorum's APIs.
#[derive(Clone, Debug, PartialEq)]
pub enum WireRequest {
    Vote(wire::VoteRequest),
    BeginQuorumEpoch(wire::BeginQuorumEpochRequest),
    EndQuorumEpoch(wire::EndQuorumEpochRequest),
    Fetch(wire::FetchRequest),
    FetchSnapshot(wire::FetchSnapshotRequest),
    AddRaftVoter(wire::AddRaftVoterRequest),
    RemoveRaftVoter(wire::RemoveRaftVoterRequest),
    UpdateRaftVoter(wire::UpdateRaftVoterRequest),
    ApiVersions(wire::ApiVersionsRequest),
}

#[derive(Clone, Debug, PartialEq)]
pub enum WireResponse {
    Vote(wire::VoteResponse),
    BeginQuorumEpoch(wire::BeginQuorumEpochResponse),
    EndQuorumEpoch(wire::EndQuorumEpochResponse),
    Fetch(wire::FetchResponse),
    FetchSnapshot(wire::FetchSnapshotResponse),
    AddRaftVoter(wire::AddRaftVoterResponse),
    RemoveRaftVoter(wire::RemoveRaftVoterResponse),
    UpdateRaftVoter(wire::UpdateRaftVoterResponse),
    ApiVersions(wire::ApiVersionsResponse),
}

/// Which API a request or response belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumApi {
    Vote,
    BeginQuorumEpoch,
    EndQuorumEpoch,
    Fetch,
    FetchSnapshot,
    AddRaftVoter,
    RemoveRaftVoter,
    UpdateRaftVoter,
    ApiVersions,
}

impl Request {
    pub fn api(&self) -> QuorumApi {
        match self {
            Request::Vote(_) => QuorumApi::Vote,
            Request::BeginQuorumEpoch(_) => QuorumApi::BeginQuorumEpoch,
            Request::EndQuorumEpoch(_) => QuorumApi::EndQuorumEpoch,
            Request::Fetch(_) => QuorumApi::Fetch,
            Request::FetchSnapshot(_) => QuorumApi::FetchSnapshot,
            Request::AddRaftVoter(_) => QuorumApi::AddRaftVoter,
            Request::RemoveRaftVoter(_) => QuorumApi::RemoveRaftVoter,
            Request::UpdateRaftVoter(_) => QuorumApi::UpdateRaftVoter,
            Request::ApiVersions => QuorumApi::ApiVersions,
        }
    }

    /// The first version that can carry the request. A receiver that has only older ones is to be taken as having
    /// answered with [`RaftError::UnsupportedVersion`].
    pub fn min_version(&self) -> i16 {
        match self {
            Request::Vote(request) if request.pre_vote => 2,
            Request::Fetch(_) => 12,
            // Who can be a voter only by its own fetch can't wait for the commit.
            Request::AddRaftVoter(request) if !request.ack_when_committed => 1,
            // Earlier ones leave out features whose lowest level is 0.
            Request::ApiVersions => 4,
            _ => 0,
        }
    }
}

/// The answer to DescribeQuorum; `info` is `None` unless this replica leads.
pub fn describe_quorum_response(
    request: &wire::DescribeQuorumRequest,
    info: Option<QuorumInfo>,
) -> wire::DescribeQuorumResponse {
    use wire::describe_quorum_response as out;
    let partition_error = |request: &wire::DescribeQuorumRequest, error: RaftError| {
        let topics = request.topics.iter().map(|topic| out::Topic {
            topic_name: topic.topic_name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| out::Partition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    error_message: error.kafkas_words().map(str::to_owned),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        wire::DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
    };
    let asked = request.topics.iter().map(|topic| {
        (topic.topic_name.as_str(), topic.partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>())
    });
    if asked.collect::<Vec<_>>() != [(METADATA_TOPIC, vec![0])] {
        return partition_error(request, RaftError::UnknownTopicOrPartition);
    }
    let Some(info) = info else {
        return partition_error(request, RaftError::NotLeaderOrFollower);
    };
    let partition = out::Partition {
        partition_index: 0,
        error_message: None,
        leader_id: info.leader_id.value(),
        leader_epoch: info.leader_epoch.value(),
        high_watermark: info.high_watermark.map_or(-1, |offset| offset.value()),
        current_voters: info.voters.iter().map(described_voter).collect(),
        observers: info
            .observers
            .iter()
            .map(|replica| {
                let voter = described_voter(replica);
                out::Observer {
                    replica_id: voter.replica_id,
                    replica_directory_id: voter.replica_directory_id,
                    log_end_offset: voter.log_end_offset,
                    last_fetch_timestamp: voter.last_fetch_timestamp,
                    last_caught_up_timestamp: voter.last_caught_up_timestamp,
                    ..Default::default()
                }
            })
            .collect(),
        ..Default::default()
    };
    let nodes = info.nodes.iter().map(|(id, endpoints)| out::Node {
        node_id: id.value(),
        listeners: endpoints
            .iter()
            .map(|(name, address)| out::Listener {
                name: name.to_owned(),
                host: address.host.clone(),
                port: address.port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    wire::DescribeQuorumResponse {
        topics: vec![out::Topic {
            topic_name: METADATA_TOPIC.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        nodes: nodes.collect(),
        ..Default::default()
    }
}

fn described_voter(replica: &ReplicaInfo) -> wire::describe_quorum_response::CurrentVoter {
    wire::describe_quorum_response::CurrentVoter {
        replica_id: replica.key.id.value(),
        replica_directory_id: replica.key.directory_id_or_zero(),
        log_end_offset: replica.log_end_offset.map_or(-1, |offset| offset.value()),
        last_fetch_timestamp: replica.last_fetch_timestamp.map_or(-1, |time| time.value()),
        last_caught_up_timestamp: replica.last_caught_up_timestamp.map_or(-1, |time| time.value()),
        ..Default::default()
    }
}

/// The only element, if it is the metadata partition's.
fn single<T>(items: Vec<T>) -> Result<T, RaftError> {
    let mut items = items.into_iter();
    match (items.next(), items.next()) {
        (Some(item), None) => Ok(item),
        _ => Err(RaftError::InvalidRequest),
    }
}

fn metadata_partition<T>(name: &str, partitions: Vec<T>, index: impl Fn(&T) -> i32) -> Result<T, RaftError> {
    let partition = single(partitions)?;
    if name != METADATA_TOPIC || index(&partition) != 0 {
        return Err(RaftError::InvalidRequest);
    }
    Ok(partition)
}

fn fetch_topic_is_metadata(name: &str, id: Uuid, version: i16) -> bool {
    if version >= FETCH_TOPIC_ID_VERSION { id == Uuid::METADATA_TOPIC } else { name == METADATA_TOPIC }
}

fn node_id(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}
