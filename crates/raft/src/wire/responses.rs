//! Responses in both directions. What concerns the whole request (a foreign cluster, another topic) is an error at the
//! top; everything else is the partition's.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, METADATA_TOPIC, Offset, Uuid};
use ottla_wire::{Records, messages as wire};

use super::{
    FETCH_ENDPOINTS_VERSION, OTHER_ENDPOINTS_VERSION, QuorumApi, WireResponse, metadata_partition, node_id,
    single, voters,
};
use crate::messages::{
    EpochResponse, FetchResponse, FetchSnapshotResponse, FetchedRecords, LeaderInfo, RaftError, Response,
    SnapshotBytes, VoteResponse,
};
use crate::replica::{Endpoints, HostPort, OffsetAndEpoch};

/// The response as `version` has it, with the leader's endpoint of `listener`, on which the request came in.
pub fn response_to_wire(response: Response, version: i16, listener: &str) -> WireResponse {
    match response {
        Response::Vote(response) => WireResponse::Vote(vote(response, version, listener)),
        Response::BeginQuorumEpoch(response) => {
            WireResponse::BeginQuorumEpoch(begin_quorum_epoch(response, version, listener))
        }
        Response::EndQuorumEpoch(response) => {
            WireResponse::EndQuorumEpoch(end_quorum_epoch(response, version, listener))
        }
        Response::Fetch(response) => WireResponse::Fetch(fetch(response, version, listener)),
        Response::FetchSnapshot(response) => {
            WireResponse::FetchSnapshot(fetch_snapshot(response, version, listener))
        }
        Response::AddRaftVoter(response) => WireResponse::AddRaftVoter(voters::added(response)),
        Response::RemoveRaftVoter(response) => WireResponse::RemoveRaftVoter(voters::removed(response)),
        Response::UpdateRaftVoter(response) => {
            WireResponse::UpdateRaftVoter(voters::updated(response, listener))
        }
        Response::ApiVersions(response) => WireResponse::ApiVersions(voters::versions(response)),
    }
}

/// A response that says nothing but the error, at its top.
pub fn error_to_wire(api: QuorumApi, error: RaftError) -> WireResponse {
    let error_code = error.code();
    match api {
        QuorumApi::Vote => WireResponse::Vote(wire::VoteResponse { error_code, ..Default::default() }),
        QuorumApi::BeginQuorumEpoch => WireResponse::BeginQuorumEpoch(wire::BeginQuorumEpochResponse {
            error_code,
            ..Default::default()
        }),
        QuorumApi::EndQuorumEpoch => {
            WireResponse::EndQuorumEpoch(wire::EndQuorumEpochResponse { error_code, ..Default::default() })
        }
        QuorumApi::Fetch => WireResponse::Fetch(wire::FetchResponse { error_code, ..Default::default() }),
        QuorumApi::FetchSnapshot => {
            WireResponse::FetchSnapshot(wire::FetchSnapshotResponse { error_code, ..Default::default() })
        }
        QuorumApi::AddRaftVoter => {
            WireResponse::AddRaftVoter(wire::AddRaftVoterResponse { error_code, ..Default::default() })
        }
        QuorumApi::RemoveRaftVoter => {
            WireResponse::RemoveRaftVoter(wire::RemoveRaftVoterResponse { error_code, ..Default::default() })
        }
        QuorumApi::UpdateRaftVoter => {
            WireResponse::UpdateRaftVoter(wire::UpdateRaftVoterResponse { error_code, ..Default::default() })
        }
        QuorumApi::ApiVersions => {
            WireResponse::ApiVersions(wire::ApiVersionsResponse { error_code, ..Default::default() })
        }
    }
}

/// Reads a response to a request that was sent through `listener`. `None` when it isn't about the metadata partition.
pub fn response_from_wire(response: WireResponse, listener: &str) -> Option<Response> {
    let response = match response {
        WireResponse::Vote(response) => vote_from(response, listener).map(Response::Vote),
        WireResponse::BeginQuorumEpoch(response) => {
            begin_quorum_epoch_from(response, listener).map(Response::BeginQuorumEpoch)
        }
        WireResponse::EndQuorumEpoch(response) => {
            end_quorum_epoch_from(response, listener).map(Response::EndQuorumEpoch)
        }
        WireResponse::Fetch(response) => fetch_from(response, listener).map(Response::Fetch),
        WireResponse::FetchSnapshot(response) => {
            fetch_snapshot_from(response, listener).map(Response::FetchSnapshot)
        }
        WireResponse::AddRaftVoter(response) => Ok(Response::AddRaftVoter(voters::added_from(response))),
        WireResponse::RemoveRaftVoter(response) => {
            Ok(Response::RemoveRaftVoter(voters::removed_from(response)))
        }
        WireResponse::UpdateRaftVoter(response) => {
            Ok(Response::UpdateRaftVoter(voters::updated_from(response, listener)))
        }
        WireResponse::ApiVersions(response) => Ok(Response::ApiVersions(voters::versions_from(response))),
    };
    response.ok()
}

/// Errors that concern the request as a whole.
fn is_top_level(error: Option<RaftError>) -> bool {
    error == Some(RaftError::InconsistentClusterId)
}

fn code(error: Option<RaftError>) -> i16 {
    error.map_or(0, RaftError::code)
}

fn leader_id(leader: &LeaderInfo) -> i32 {
    leader.leader_id.map_or(-1, |id| id.value())
}

/// The leader's address for `node_endpoints`, where the version has room for it.
fn leader_address<'a>(
    leader: &'a LeaderInfo,
    version: i16,
    since: i16,
    listener: &str,
) -> Option<(i32, &'a HostPort)> {
    let id = leader.leader_id?.value();
    if version < since { None } else { leader.endpoints.get(listener).map(|address| (id, address)) }
}

fn leader_info(
    leader_id: i32,
    epoch: i32,
    endpoints: impl IntoIterator<Item = (i32, String, u16)>,
    listener: &str,
) -> LeaderInfo {
    let mut found = Endpoints::new();
    for (id, host, port) in endpoints {
        if id == leader_id {
            found.insert(listener, HostPort::new(host, port));
        }
    }
    LeaderInfo { leader_id: node_id(leader_id), epoch: LeaderEpoch(epoch), endpoints: found }
}

/// What a response that has only an error at its top says about the leader: nothing.
fn unknown_leader() -> LeaderInfo {
    LeaderInfo { leader_id: None, epoch: LeaderEpoch(-1), endpoints: Endpoints::new() }
}

fn vote(response: VoteResponse, version: i16, listener: &str) -> wire::VoteResponse {
    use wire::vote_response::{NodeEndpoint, Partition, Topic};
    if is_top_level(response.error) {
        return wire::VoteResponse { error_code: code(response.error), ..Default::default() };
    }
    let address = leader_address(&response.leader, version, OTHER_ENDPOINTS_VERSION, listener);
    let partition = Partition {
        partition_index: 0,
        error_code: code(response.error),
        leader_id: leader_id(&response.leader),
        leader_epoch: response.leader.epoch.value(),
        vote_granted: response.vote_granted,
        ..Default::default()
    };
    wire::VoteResponse {
        node_endpoints: address
            .map(|(node_id, address)| NodeEndpoint {
                node_id,
                host: address.host.clone(),
                port: address.port,
                ..Default::default()
            })
            .into_iter()
            .collect(),
        topics: vec![Topic {
            topic_name: METADATA_TOPIC.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn vote_from(response: wire::VoteResponse, listener: &str) -> Result<VoteResponse, RaftError> {
    if let Some(error) = RaftError::from_code(response.error_code) {
        return Ok(VoteResponse { error: Some(error), leader: unknown_leader(), vote_granted: false });
    }
    let topic = single(response.topics)?;
    let partition = metadata_partition(&topic.topic_name, topic.partitions, |p| p.partition_index)?;
    let endpoints = response.node_endpoints.into_iter().map(|node| (node.node_id, node.host, node.port));
    Ok(VoteResponse {
        error: RaftError::from_code(partition.error_code),
        leader: leader_info(partition.leader_id, partition.leader_epoch, endpoints, listener),
        vote_granted: partition.vote_granted,
    })
}

/// BeginQuorumEpoch and EndQuorumEpoch have the same answer, in types of their own.
macro_rules! epoch_responses {
    ($($to:ident, $from:ident: $message:ident in $module:ident;)*) => {$(
        fn $to(response: EpochResponse, version: i16, listener: &str) -> wire::$message {
            use wire::$module::{NodeEndpoint, Partition, Topic};
            if is_top_level(response.error) {
                return wire::$message { error_code: code(response.error), ..Default::default() };
            }
            let address = leader_address(&response.leader, version, OTHER_ENDPOINTS_VERSION, listener);
            let partition = Partition {
                partition_index: 0,
                error_code: code(response.error),
                leader_id: leader_id(&response.leader),
                leader_epoch: response.leader.epoch.value(),
                ..Default::default()
            };
            wire::$message {
                node_endpoints: address
                    .map(|(node_id, address)| NodeEndpoint {
                        node_id,
                        host: address.host.clone(),
                        port: address.port,
                        ..Default::default()
                    })
                    .into_iter()
                    .collect(),
                topics: vec![Topic {
                    topic_name: METADATA_TOPIC.to_owned(),
                    partitions: vec![partition],
                    ..Default::default()
                }],
                ..Default::default()
            }
        }

        fn $from(response: wire::$message, listener: &str) -> Result<EpochResponse, RaftError> {
            if let Some(error) = RaftError::from_code(response.error_code) {
                return Ok(EpochResponse { error: Some(error), leader: unknown_leader() });
            }
            let topic = single(response.topics)?;
            let partition =
                metadata_partition(&topic.topic_name, topic.partitions, |p| p.partition_index)?;
            let endpoints =
                response.node_endpoints.into_iter().map(|node| (node.node_id, node.host, node.port));
            Ok(EpochResponse {
                error: RaftError::from_code(partition.error_code),
                leader: leader_info(partition.leader_id, partition.leader_epoch, endpoints, listener),
            })
        }
    )*};
}

epoch_responses! {
    begin_quorum_epoch, begin_quorum_epoch_from: BeginQuorumEpochResponse in begin_quorum_epoch_response;
    end_quorum_epoch, end_quorum_epoch_from: EndQuorumEpochResponse in end_quorum_epoch_response;
}

fn fetch(response: FetchResponse, version: i16, listener: &str) -> wire::FetchResponse {
    use wire::fetch_response::{
        CurrentLeader, DivergingEpoch, NodeEndpoint, Partition, Response as Topic, SnapshotId,
    };
    if is_top_level(response.error) {
        return wire::FetchResponse { error_code: code(response.error), ..Default::default() };
    }
    let address = leader_address(&response.leader, version, FETCH_ENDPOINTS_VERSION, listener);
    let node_endpoints = address
        .map(|(node_id, address)| NodeEndpoint {
            node_id,
            host: address.host.clone(),
            port: i32::from(address.port),
            ..Default::default()
        })
        .into_iter()
        .collect();
    let mut partition = Partition {
        partition_index: 0,
        error_code: code(response.error),
        high_watermark: response.high_watermark.map_or(-1, |offset| offset.value()),
        log_start_offset: response.log_start_offset.value(),
        current_leader: CurrentLeader {
            leader_id: leader_id(&response.leader),
            leader_epoch: response.leader.epoch.value(),
            ..Default::default()
        },
        records: match response.records {
            FetchedRecords::Bytes(bytes) => Records::Bytes(bytes),
            _ => Records::EMPTY,
        },
        ..Default::default()
    };
    if let Some(diverging) = response.diverging {
        partition.diverging_epoch = DivergingEpoch {
            epoch: diverging.epoch.value(),
            end_offset: diverging.offset.value(),
            ..Default::default()
        };
    }
    if let Some(id) = response.snapshot_id {
        partition.snapshot_id =
            SnapshotId { end_offset: id.offset.value(), epoch: id.epoch.value(), ..Default::default() };
    }
    wire::FetchResponse {
        node_endpoints,
        responses: vec![Topic {
            topic: METADATA_TOPIC.to_owned(),
            topic_id: Uuid::METADATA_TOPIC,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_from(response: wire::FetchResponse, listener: &str) -> Result<FetchResponse, RaftError> {
    if let Some(error) = RaftError::from_code(response.error_code) {
        return Ok(FetchResponse {
            error: Some(error),
            leader: unknown_leader(),
            high_watermark: None,
            log_start_offset: Offset::UNKNOWN,
            diverging: None,
            snapshot_id: None,
            records: FetchedRecords::None,
        });
    }
    let topic = single(response.responses)?;
    let partition = single(topic.partitions)?;
    let is_metadata = topic.topic_id == Uuid::METADATA_TOPIC || topic.topic == METADATA_TOPIC;
    if !is_metadata || partition.partition_index != 0 {
        return Err(RaftError::InvalidRequest);
    }
    let endpoints = response
        .node_endpoints
        .into_iter()
        .filter_map(|node| Some((node.node_id, node.host, u16::try_from(node.port).ok()?)));
    let current = &partition.current_leader;
    let diverging = &partition.diverging_epoch;
    let snapshot = &partition.snapshot_id;
    Ok(FetchResponse {
        error: RaftError::from_code(partition.error_code),
        leader: leader_info(current.leader_id, current.leader_epoch, endpoints, listener),
        high_watermark: (partition.high_watermark >= 0).then_some(Offset(partition.high_watermark)),
        log_start_offset: Offset(partition.log_start_offset),
        diverging: (diverging.epoch >= 0).then(|| OffsetAndEpoch::new(diverging.end_offset, diverging.epoch)),
        snapshot_id: (snapshot.epoch >= 0 || snapshot.end_offset >= 0)
            .then(|| OffsetAndEpoch::new(snapshot.end_offset, snapshot.epoch)),
        records: match partition.records {
            Records::Bytes(bytes) if !bytes.is_empty() => FetchedRecords::Bytes(bytes),
            _ => FetchedRecords::None,
        },
    })
}

fn fetch_snapshot(
    response: FetchSnapshotResponse,
    version: i16,
    listener: &str,
) -> wire::FetchSnapshotResponse {
    use wire::fetch_snapshot_response::{CurrentLeader, NodeEndpoint, Partition, SnapshotId, Topic};
    if is_top_level(response.error) {
        return wire::FetchSnapshotResponse { error_code: code(response.error), ..Default::default() };
    }
    let address = leader_address(&response.leader, version, OTHER_ENDPOINTS_VERSION, listener);
    let node_endpoints = address
        .map(|(node_id, address)| NodeEndpoint {
            node_id,
            host: address.host.clone(),
            port: address.port,
            ..Default::default()
        })
        .into_iter()
        .collect();
    let partition = Partition {
        index: 0,
        error_code: code(response.error),
        snapshot_id: SnapshotId {
            end_offset: response.snapshot_id.offset.value(),
            epoch: response.snapshot_id.epoch.value(),
            ..Default::default()
        },
        current_leader: CurrentLeader {
            leader_id: leader_id(&response.leader),
            leader_epoch: response.leader.epoch.value(),
            ..Default::default()
        },
        size: i64::try_from(response.size).unwrap_or(i64::MAX),
        position: i64::try_from(response.position).unwrap_or(i64::MAX),
        unaligned_records: match response.bytes {
            SnapshotBytes::Bytes(bytes) => Records::Bytes(bytes),
            _ => Records::EMPTY,
        },
        ..Default::default()
    };
    wire::FetchSnapshotResponse {
        node_endpoints,
        topics: vec![Topic {
            name: METADATA_TOPIC.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_snapshot_from(
    response: wire::FetchSnapshotResponse,
    listener: &str,
) -> Result<FetchSnapshotResponse, RaftError> {
    if let Some(error) = RaftError::from_code(response.error_code) {
        return Ok(FetchSnapshotResponse {
            error: Some(error),
            leader: unknown_leader(),
            snapshot_id: OffsetAndEpoch::new(-1, -1),
            size: 0,
            position: 0,
            bytes: SnapshotBytes::None,
        });
    }
    let topic = single(response.topics)?;
    let partition = metadata_partition(&topic.name, topic.partitions, |p| p.index)?;
    let endpoints = response.node_endpoints.into_iter().map(|node| (node.node_id, node.host, node.port));
    let current = &partition.current_leader;
    Ok(FetchSnapshotResponse {
        error: RaftError::from_code(partition.error_code),
        leader: leader_info(current.leader_id, current.leader_epoch, endpoints, listener),
        snapshot_id: OffsetAndEpoch::new(partition.snapshot_id.end_offset, partition.snapshot_id.epoch),
        size: u64::try_from(partition.size).unwrap_or(0),
        position: u64::try_from(partition.position).unwrap_or(u64::MAX),
        bytes: match partition.unaligned_records {
            Records::Bytes(bytes) => SnapshotBytes::Bytes(bytes),
            Records::Null | Records::External { .. } => SnapshotBytes::Bytes(Bytes::new()),
        },
    })
}
