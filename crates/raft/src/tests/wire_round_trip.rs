//! Messages through the bytes of the wire and back.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset};
use ottla_wire::{Decoder, Message};

use super::*;
use crate::wire::*;

const LATEST: [(QuorumApi, i16); 9] = [
    (QuorumApi::Vote, 2),
    (QuorumApi::BeginQuorumEpoch, 1),
    (QuorumApi::EndQuorumEpoch, 1),
    (QuorumApi::Fetch, 18),
    (QuorumApi::FetchSnapshot, 1),
    (QuorumApi::AddRaftVoter, 1),
    (QuorumApi::RemoveRaftVoter, 0),
    (QuorumApi::UpdateRaftVoter, 0),
    (QuorumApi::ApiVersions, 4),
];

fn latest(api: QuorumApi) -> i16 {
    LATEST.iter().find(|(known, _)| *known == api).unwrap().1
}

fn bytes_of<M: Message>(message: &M, version: i16) -> M {
    let bytes = message.to_bytes(version).unwrap();
    M::decode(&mut Decoder::new(bytes), version).unwrap()
}

fn request_at(request: Request, version: i16) -> Result<Request, RaftError> {
    let wire = match request_to_wire(request, version) {
        WireRequest::Vote(m) => WireRequest::Vote(bytes_of(&m, version)),
        WireRequest::BeginQuorumEpoch(m) => WireRequest::BeginQuorumEpoch(bytes_of(&m, version)),
        WireRequest::EndQuorumEpoch(m) => WireRequest::EndQuorumEpoch(bytes_of(&m, version)),
        WireRequest::Fetch(m) => WireRequest::Fetch(bytes_of(&m, version)),
        WireRequest::FetchSnapshot(m) => WireRequest::FetchSnapshot(bytes_of(&m, version)),
        WireRequest::AddRaftVoter(m) => WireRequest::AddRaftVoter(bytes_of(&m, version)),
        WireRequest::RemoveRaftVoter(m) => WireRequest::RemoveRaftVoter(bytes_of(&m, version)),
        WireRequest::UpdateRaftVoter(m) => WireRequest::UpdateRaftVoter(bytes_of(&m, version)),
        WireRequest::ApiVersions(m) => WireRequest::ApiVersions(bytes_of(&m, version)),
    };
    request_from_wire(wire, version)
}

fn api_of(response: &Response) -> QuorumApi {
    match response {
        Response::Vote(_) => QuorumApi::Vote,
        Response::BeginQuorumEpoch(_) => QuorumApi::BeginQuorumEpoch,
        Response::EndQuorumEpoch(_) => QuorumApi::EndQuorumEpoch,
        Response::Fetch(_) => QuorumApi::Fetch,
        Response::FetchSnapshot(_) => QuorumApi::FetchSnapshot,
        Response::AddRaftVoter(_) => QuorumApi::AddRaftVoter,
        Response::RemoveRaftVoter(_) => QuorumApi::RemoveRaftVoter,
        Response::UpdateRaftVoter(_) => QuorumApi::UpdateRaftVoter,
        Response::ApiVersions(_) => QuorumApi::ApiVersions,
    }
}

fn response_at(response: Response, version: i16) -> Option<Response> {
    let wire = match response_to_wire(response, version, "CONTROLLER") {
        WireResponse::Vote(m) => WireResponse::Vote(bytes_of(&m, version)),
        WireResponse::BeginQuorumEpoch(m) => WireResponse::BeginQuorumEpoch(bytes_of(&m, version)),
        WireResponse::EndQuorumEpoch(m) => WireResponse::EndQuorumEpoch(bytes_of(&m, version)),
        WireResponse::Fetch(m) => WireResponse::Fetch(bytes_of(&m, version)),
        WireResponse::FetchSnapshot(m) => WireResponse::FetchSnapshot(bytes_of(&m, version)),
        WireResponse::AddRaftVoter(m) => WireResponse::AddRaftVoter(bytes_of(&m, version)),
        WireResponse::RemoveRaftVoter(m) => WireResponse::RemoveRaftVoter(bytes_of(&m, version)),
        WireResponse::UpdateRaftVoter(m) => WireResponse::UpdateRaftVoter(bytes_of(&m, version)),
        WireResponse::ApiVersions(m) => WireResponse::ApiVersions(bytes_of(&m, version)),
    };
    response_from_wire(wire, "CONTROLLER")
}

/// As the receiver gets it, at the latest version.
pub fn request(request: Request) -> Request {
    let version = latest(request.api());
    request_at(request, version).unwrap()
}

/// As the asker gets it, at the latest version.
pub fn response(response: Response) -> Response {
    let version = latest(api_of(&response));
    response_at(response, version).unwrap()
}

fn requests() -> Vec<Request> {
    let cluster_id = Some("cluster".to_owned());
    let voter = Some(local(2).key);
    vec![
        Request::Vote(VoteRequest {
            cluster_id: cluster_id.clone(),
            voter,
            replica: local(1).key,
            replica_epoch: LeaderEpoch(4),
            last_offset: OffsetAndEpoch::new(100, 3),
            pre_vote: true,
        }),
        Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            cluster_id: cluster_id.clone(),
            voter,
            leader_id: node_id(1),
            leader_epoch: LeaderEpoch(4),
            leader_endpoints: local(1).listeners,
        }),
        Request::EndQuorumEpoch(EndQuorumEpochRequest {
            cluster_id: cluster_id.clone(),
            leader_id: node_id(1),
            leader_epoch: LeaderEpoch(4),
            preferred_candidates: vec![local(3).key, local(2).key],
            leader_endpoints: local(1).listeners,
        }),
        Request::Fetch(FetchRequest {
            cluster_id: cluster_id.clone(),
            replica: local(2).key,
            current_leader_epoch: LeaderEpoch(4),
            fetch_offset: Offset(7),
            last_fetched_epoch: LeaderEpoch(3),
            max_bytes: 99,
            max_wait_ms: 500,
            high_watermark: Offset(6),
        }),
        Request::AddRaftVoter(AddRaftVoterRequest {
            cluster_id: cluster_id.clone(),
            voter: local(2).key,
            listeners: local(2).listeners,
            ack_when_committed: false,
            timeout_ms: 99,
        }),
        Request::AddRaftVoter(AddRaftVoterRequest {
            cluster_id: None,
            voter: local(3).key,
            listeners: local(3).listeners,
            ack_when_committed: true,
            timeout_ms: 100,
        }),
        Request::RemoveRaftVoter(RemoveRaftVoterRequest {
            cluster_id: cluster_id.clone(),
            voter: local(2).key,
        }),
        Request::UpdateRaftVoter(UpdateRaftVoterRequest {
            cluster_id: cluster_id.clone(),
            current_leader_epoch: LeaderEpoch(4),
            voter: VoterNode {
                key: local(2).key,
                listeners: local(2).listeners,
                supported_kraft_version: (0, 1),
            },
        }),
        Request::ApiVersions,
        Request::FetchSnapshot(FetchSnapshotRequest {
            cluster_id,
            replica: local(2).key,
            current_leader_epoch: LeaderEpoch(4),
            snapshot_id: OffsetAndEpoch::new(50, 2),
            position: 17,
            max_bytes: 1000,
        }),
    ]
}

fn responses(leader: LeaderInfo) -> Vec<Response> {
    let epoch = EpochResponse { error: Some(RaftError::InvalidVoterKey), leader: leader.clone() };
    let fetch = FetchResponse {
        error: None,
        leader: leader.clone(),
        high_watermark: Some(Offset(9)),
        log_start_offset: Offset(3),
        diverging: None,
        snapshot_id: None,
        records: FetchedRecords::Bytes(Bytes::from_static(b"records")),
    };
    let diverging = FetchResponse {
        high_watermark: None,
        diverging: Some(OffsetAndEpoch::new(7, 2)),
        records: FetchedRecords::None,
        ..fetch.clone()
    };
    let snapshot =
        FetchResponse { diverging: None, snapshot_id: Some(OffsetAndEpoch::new(7, 2)), ..diverging.clone() };
    vec![
        Response::Vote(VoteResponse { error: None, leader: leader.clone(), vote_granted: true }),
        Response::BeginQuorumEpoch(epoch.clone()),
        Response::EndQuorumEpoch(epoch.clone()),
        Response::UpdateRaftVoter(epoch),
        Response::AddRaftVoter(VoterChangeResponse {
            error: Some(RaftError::DuplicateVoter),
            message: Some("it votes".to_owned()),
        }),
        Response::RemoveRaftVoter(VoterChangeResponse { error: None, message: None }),
        Response::ApiVersions(ApiVersionsResponse { error: None, kraft_version: Some((0, 1)) }),
        Response::Fetch(fetch),
        Response::Fetch(diverging),
        Response::Fetch(snapshot),
        Response::FetchSnapshot(FetchSnapshotResponse {
            error: None,
            leader,
            snapshot_id: OffsetAndEpoch::new(50, 2),
            size: 30,
            position: 10,
            bytes: SnapshotBytes::Bytes(Bytes::from_static(b"bytes")),
        }),
    ]
}

#[test]
fn the_latest_versions_carry_everything() {
    for sent in requests() {
        assert_eq!(request(sent.clone()), sent);
    }
    let known =
        LeaderInfo { leader_id: Some(node_id(1)), epoch: LeaderEpoch(4), endpoints: local(1).listeners };
    let unknown = LeaderInfo { leader_id: None, epoch: LeaderEpoch(4), endpoints: Endpoints::new() };
    for sent in [known, unknown].into_iter().flat_map(responses) {
        assert_eq!(response(sent.clone()), sent);
    }
}

#[test]
fn every_version_that_can_carry_a_request_does() {
    for sent in requests() {
        for version in sent.min_version()..=latest(sent.api()) {
            let received = request_at(sent.clone(), version).unwrap();
            assert_eq!(received.api(), sent.api());
            if let (Request::EndQuorumEpoch(a), Request::EndQuorumEpoch(b)) = (&received, &sent) {
                let ids = |r: &EndQuorumEpochRequest| {
                    r.preferred_candidates.iter().map(|key| key.id).collect::<Vec<_>>()
                };
                assert_eq!(ids(a), ids(b), "version {version}");
            }
            if let (Request::AddRaftVoter(a), Request::AddRaftVoter(b)) = (&received, &sent) {
                assert_eq!(a.ack_when_committed, b.ack_when_committed, "version {version}");
            }
            if let (Request::Fetch(a), Request::Fetch(b)) = (&received, &sent) {
                assert_eq!(a.replica.id, b.replica.id, "version {version}");
            }
        }
    }
}

#[test]
fn errors_of_the_whole_request_stand_at_the_top() {
    let leader = LeaderInfo { leader_id: None, epoch: LeaderEpoch(4), endpoints: Endpoints::new() };
    let error = Some(RaftError::InconsistentClusterId);
    let sent = Response::Vote(VoteResponse { error, leader, vote_granted: false });
    let WireResponse::Vote(wire) = response_to_wire(sent, 2, "CONTROLLER") else { panic!() };
    assert_eq!((wire.error_code, wire.topics.len()), (104, 0));
    for (api, version) in LATEST {
        let wire = error_to_wire(api, RaftError::InvalidRequest);
        assert!(response_from_wire(wire, "CONTROLLER").is_some(), "{api:?} {version}");
    }
}

#[test]
fn other_partitions_are_refused() {
    for sent in requests() {
        let version = latest(sent.api());
        let mut wire = request_to_wire(sent, version);
        match &mut wire {
            WireRequest::Vote(m) => m.topics[0].topic_name = "other".to_owned(),
            WireRequest::BeginQuorumEpoch(m) => m.topics[0].partitions[0].partition_index = 1,
            WireRequest::EndQuorumEpoch(m) => m.topics.clear(),
            WireRequest::Fetch(m) => m.topics[0].topic_id = directory(1),
            WireRequest::FetchSnapshot(m) => m.topics[0].name = "other".to_owned(),
            // These name none.
            WireRequest::AddRaftVoter(_)
            | WireRequest::RemoveRaftVoter(_)
            | WireRequest::UpdateRaftVoter(_)
            | WireRequest::ApiVersions(_) => continue,
        }
        assert!(request_from_wire(wire, version).is_err());
    }
}
