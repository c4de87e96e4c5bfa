//! Requests in both directions.

use ottla_types::{LeaderEpoch, METADATA_TOPIC, NodeId, Offset, Uuid};
use ottla_wire::messages as wire;

use super::{
    FETCH_REPLICA_STATE_VERSION, WireRequest, fetch_topic_is_metadata, metadata_partition, single, voters,
};
use crate::messages::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchSnapshotRequest, RaftError, Request,
    VoteRequest,
};
use crate::replica::{Endpoints, HostPort, OffsetAndEpoch, ReplicaKey};

/// The request as the given version of its API has it; not below [`Request::min_version`].
pub fn request_to_wire(request: Request, version: i16) -> WireRequest {
    match request {
        Request::Vote(request) => WireRequest::Vote(vote(request)),
        Request::BeginQuorumEpoch(request) => WireRequest::BeginQuorumEpoch(begin_quorum_epoch(request)),
        Request::EndQuorumEpoch(request) => WireRequest::EndQuorumEpoch(end_quorum_epoch(request)),
        Request::Fetch(request) => WireRequest::Fetch(fetch(request, version)),
        Request::FetchSnapshot(request) => WireRequest::FetchSnapshot(fetch_snapshot(request)),
        Request::AddRaftVoter(request) => WireRequest::AddRaftVoter(voters::add(request)),
        Request::RemoveRaftVoter(request) => WireRequest::RemoveRaftVoter(voters::remove(request)),
        Request::UpdateRaftVoter(request) => WireRequest::UpdateRaftVoter(voters::update(request)),
        Request::ApiVersions => WireRequest::ApiVersions(voters::api_versions()),
    }
}

/// Reads a request that came in with this version. An error is to be answered with
/// [`super::error_to_wire`].
pub fn request_from_wire(request: WireRequest, version: i16) -> Result<Request, RaftError> {
    Ok(match request {
        WireRequest::Vote(request) => Request::Vote(vote_from(request)?),
        WireRequest::BeginQuorumEpoch(request) => {
            Request::BeginQuorumEpoch(begin_quorum_epoch_from(request)?)
        }
        WireRequest::EndQuorumEpoch(request) => Request::EndQuorumEpoch(end_quorum_epoch_from(request)?),
        WireRequest::Fetch(request) => Request::Fetch(fetch_from(request, version)?),
        WireRequest::FetchSnapshot(request) => Request::FetchSnapshot(fetch_snapshot_from(request)?),
        WireRequest::AddRaftVoter(request) => Request::AddRaftVoter(voters::add_from(request, version)),
        WireRequest::RemoveRaftVoter(request) => Request::RemoveRaftVoter(voters::remove_from(request)),
        WireRequest::UpdateRaftVoter(request) => Request::UpdateRaftVoter(voters::update_from(request)),
        WireRequest::ApiVersions(_) => Request::ApiVersions,
    })
}

fn vote(request: VoteRequest) -> wire::VoteRequest {
    use wire::vote_request::{Partition, Topic};
    let partition = Partition {
        partition_index: 0,
        replica_epoch: request.replica_epoch.value(),
        replica_id: request.replica.id.value(),
        replica_directory_id: request.replica.directory_id_or_zero(),
        voter_directory_id: directory(request.voter),
        last_offset_epoch: request.last_offset.epoch.value(),
        last_offset: request.last_offset.offset.value(),
        pre_vote: request.pre_vote,
        ..Default::default()
    };
    let topic =
        Topic { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    wire::VoteRequest {
        cluster_id: request.cluster_id,
        voter_id: voter_id(request.voter),
        topics: vec![topic],
        ..Default::default()
    }
}

fn vote_from(request: wire::VoteRequest) -> Result<VoteRequest, RaftError> {
    let topic = single(request.topics)?;
    let partition = metadata_partition(&topic.topic_name, topic.partitions, |p| p.partition_index)?;
    Ok(VoteRequest {
        cluster_id: request.cluster_id,
        voter: voter(request.voter_id, partition.voter_directory_id),
        replica: ReplicaKey::new(NodeId(partition.replica_id), partition.replica_directory_id),
        replica_epoch: LeaderEpoch(partition.replica_epoch),
        last_offset: OffsetAndEpoch::new(partition.last_offset, partition.last_offset_epoch),
        pre_vote: partition.pre_vote,
    })
}

fn begin_quorum_epoch(request: BeginQuorumEpochRequest) -> wire::BeginQuorumEpochRequest {
    use wire::begin_quorum_epoch_request::{LeaderEndpoint, Partition, Topic};
    let partition = Partition {
        partition_index: 0,
        voter_directory_id: directory(request.voter),
        leader_id: request.leader_id.value(),
        leader_epoch: request.leader_epoch.value(),
        ..Default::default()
    };
    let topic =
        Topic { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    wire::BeginQuorumEpochRequest {
        cluster_id: request.cluster_id,
        voter_id: voter_id(request.voter),
        topics: vec![topic],
        leader_endpoints: request
            .leader_endpoints
            .iter()
            .map(|(name, address)| LeaderEndpoint {
                name: name.to_owned(),
                host: address.host.clone(),
                port: address.port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn begin_quorum_epoch_from(
    request: wire::BeginQuorumEpochRequest,
) -> Result<BeginQuorumEpochRequest, RaftError> {
    let topic = single(request.topics)?;
    let partition = metadata_partition(&topic.topic_name, topic.partitions, |p| p.partition_index)?;
    let mut leader_endpoints = Endpoints::new();
    for endpoint in request.leader_endpoints {
        leader_endpoints.insert(&endpoint.name, HostPort::new(endpoint.host, endpoint.port));
    }
    Ok(BeginQuorumEpochRequest {
        cluster_id: request.cluster_id,
        voter: voter(request.voter_id, partition.voter_directory_id),
        leader_id: NodeId(partition.leader_id),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        leader_endpoints,
    })
}

fn end_quorum_epoch(request: EndQuorumEpochRequest) -> wire::EndQuorumEpochRequest {
    use wire::end_quorum_epoch_request::{LeaderEndpoint, Partition, PreferredCandidate, Topic};
    // Version 0 has the ids alone; each version leaves out what it can't carry.
    let partition = Partition {
        partition_index: 0,
        leader_id: request.leader_id.value(),
        leader_epoch: request.leader_epoch.value(),
        preferred_successors: request.preferred_candidates.iter().map(|key| key.id.value()).collect(),
        preferred_candidates: request
            .preferred_candidates
            .iter()
            .map(|key| PreferredCandidate {
                candidate_id: key.id.value(),
                candidate_directory_id: key.directory_id_or_zero(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let topic =
        Topic { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    wire::EndQuorumEpochRequest {
        cluster_id: request.cluster_id,
        topics: vec![topic],
        leader_endpoints: request
            .leader_endpoints
            .iter()
            .map(|(name, address)| LeaderEndpoint {
                name: name.to_owned(),
                host: address.host.clone(),
                port: address.port,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn end_quorum_epoch_from(request: wire::EndQuorumEpochRequest) -> Result<EndQuorumEpochRequest, RaftError> {
    let topic = single(request.topics)?;
    let partition = metadata_partition(&topic.topic_name, topic.partitions, |p| p.partition_index)?;
    let mut leader_endpoints = Endpoints::new();
    for endpoint in request.leader_endpoints {
        leader_endpoints.insert(&endpoint.name, HostPort::new(endpoint.host, endpoint.port));
    }
    let preferred_candidates = if partition.preferred_candidates.is_empty() {
        let ids = partition.preferred_successors.iter();
        ids.map(|id| ReplicaKey::without_directory(NodeId(*id))).collect()
    } else {
        let candidates = partition.preferred_candidates.iter();
        candidates.map(|key| ReplicaKey::new(NodeId(key.candidate_id), key.candidate_directory_id)).collect()
    };
    Ok(EndQuorumEpochRequest {
        cluster_id: request.cluster_id,
        leader_id: NodeId(partition.leader_id),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        preferred_candidates,
        leader_endpoints,
    })
}

fn fetch(request: FetchRequest, version: i16) -> wire::FetchRequest {
    use wire::fetch_request::{Partition, ReplicaState, Topic};
    let partition = Partition {
        partition: 0,
        current_leader_epoch: request.current_leader_epoch.value(),
        fetch_offset: request.fetch_offset.value(),
        last_fetched_epoch: request.last_fetched_epoch.value(),
        replica_directory_id: request.replica.directory_id_or_zero(),
        high_watermark: request.high_watermark.value(),
        ..Default::default()
    };
    let topic = Topic {
        topic: METADATA_TOPIC.to_owned(),
        topic_id: Uuid::METADATA_TOPIC,
        partitions: vec![partition],
        ..Default::default()
    };
    let mut out = wire::FetchRequest {
        cluster_id: request.cluster_id,
        max_wait_ms: request.max_wait_ms,
        max_bytes: request.max_bytes,
        topics: vec![topic],
        ..Default::default()
    };
    let replica_id = request.replica.id.value();
    if version >= FETCH_REPLICA_STATE_VERSION {
        out.replica_state = ReplicaState { replica_id, ..Default::default() };
    } else {
        out.replica_id = replica_id;
    }
    out
}

fn fetch_from(request: wire::FetchRequest, version: i16) -> Result<FetchRequest, RaftError> {
    let topic = single(request.topics)?;
    let partition = single(topic.partitions)?;
    if !fetch_topic_is_metadata(&topic.topic, topic.topic_id, version) || partition.partition != 0 {
        return Err(RaftError::InvalidRequest);
    }
    let replica_id = if version >= FETCH_REPLICA_STATE_VERSION {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    Ok(FetchRequest {
        cluster_id: request.cluster_id,
        replica: ReplicaKey::new(NodeId(replica_id), partition.replica_directory_id),
        current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        fetch_offset: Offset(partition.fetch_offset),
        last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
        max_bytes: request.max_bytes,
        max_wait_ms: request.max_wait_ms,
        high_watermark: Offset(partition.high_watermark),
    })
}

fn fetch_snapshot(request: FetchSnapshotRequest) -> wire::FetchSnapshotRequest {
    use wire::fetch_snapshot_request::{Partition, SnapshotId, Topic};
    let partition = Partition {
        partition: 0,
        current_leader_epoch: request.current_leader_epoch.value(),
        snapshot_id: SnapshotId {
            end_offset: request.snapshot_id.offset.value(),
            epoch: request.snapshot_id.epoch.value(),
            ..Default::default()
        },
        position: i64::try_from(request.position).unwrap_or(i64::MAX),
        replica_directory_id: request.replica.directory_id_or_zero(),
        ..Default::default()
    };
    let topic = Topic { name: METADATA_TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    wire::FetchSnapshotRequest {
        cluster_id: request.cluster_id,
        replica_id: request.replica.id.value(),
        max_bytes: request.max_bytes,
        topics: vec![topic],
        ..Default::default()
    }
}

fn fetch_snapshot_from(request: wire::FetchSnapshotRequest) -> Result<FetchSnapshotRequest, RaftError> {
    let topic = single(request.topics)?;
    let partition = single(topic.partitions)?;
    if topic.name != METADATA_TOPIC || partition.partition != 0 {
        return Err(RaftError::UnknownTopicOrPartition);
    }
    let position = u64::try_from(partition.position).map_err(|_| RaftError::PositionOutOfRange)?;
    Ok(FetchSnapshotRequest {
        cluster_id: request.cluster_id,
        replica: ReplicaKey::new(NodeId(request.replica_id), partition.replica_directory_id),
        current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        snapshot_id: OffsetAndEpoch::new(partition.snapshot_id.end_offset, partition.snapshot_id.epoch),
        position,
        max_bytes: request.max_bytes,
    })
}

fn voter(id: i32, directory: Uuid) -> Option<ReplicaKey> {
    (id >= 0).then(|| ReplicaKey::new(NodeId(id), directory))
}

fn voter_id(voter: Option<ReplicaKey>) -> i32 {
    voter.map_or(-1, |voter| voter.id.value())
}

fn directory(voter: Option<ReplicaKey>) -> Uuid {
    voter.map_or(Uuid::ZERO, |voter| voter.directory_id_or_zero())
}
