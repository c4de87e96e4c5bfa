//! The APIs that change voters (KIP-853), and what of ApiVersions the quorum needs, in both directions.

use ottla_types::{LeaderEpoch, NodeId, Uuid};
use ottla_wire::messages as wire;

use super::node_id;
use crate::messages::{
    AddRaftVoterRequest, ApiVersionsResponse, EpochResponse, LeaderInfo, RaftError, RemoveRaftVoterRequest,
    UpdateRaftVoterRequest, VoterChangeResponse,
};
use crate::replica::{Endpoints, HostPort, ReplicaKey};
use crate::voter_set::VoterNode;

/// AddRaftVoter says from this version on whether the answer waits for the commit; before, it always does.
const ACK_WHEN_COMMITTED_VERSION: i16 = 1;

const KRAFT_VERSION: &str = "kraft.version";

/// How this program names itself to those whom it asks for their versions.
const SOFTWARE_NAME: &str = "ottla";

pub(super) fn add(request: AddRaftVoterRequest) -> wire::AddRaftVoterRequest {
    use wire::add_raft_voter_request::Listener;
    let listener = |(name, address): (&str, &HostPort)| Listener {
        name: name.to_owned(),
        host: address.host.clone(),
        port: address.port,
        ..Default::default()
    };
    wire::AddRaftVoterRequest {
        cluster_id: request.cluster_id,
        timeout_ms: request.timeout_ms,
        voter_id: request.voter.id.value(),
        voter_directory_id: request.voter.directory_id_or_zero(),
        listeners: request.listeners.iter().map(listener).collect(),
        ack_when_committed: request.ack_when_committed,
        ..Default::default()
    }
}

pub(super) fn add_from(request: wire::AddRaftVoterRequest, version: i16) -> AddRaftVoterRequest {
    let listeners = request.listeners.into_iter();
    AddRaftVoterRequest {
        cluster_id: request.cluster_id,
        voter: voter(request.voter_id, request.voter_directory_id),
        listeners: endpoints(listeners.map(|listener| (listener.name, listener.host, listener.port))),
        ack_when_committed: version < ACK_WHEN_COMMITTED_VERSION || request.ack_when_committed,
        timeout_ms: request.timeout_ms,
    }
}

pub(super) fn remove(request: RemoveRaftVoterRequest) -> wire::RemoveRaftVoterRequest {
    wire::RemoveRaftVoterRequest {
        cluster_id: request.cluster_id,
        voter_id: request.voter.id.value(),
        voter_directory_id: request.voter.directory_id_or_zero(),
        ..Default::default()
    }
}

pub(super) fn remove_from(request: wire::RemoveRaftVoterRequest) -> RemoveRaftVoterRequest {
    let voter = voter(request.voter_id, request.voter_directory_id);
    RemoveRaftVoterRequest { cluster_id: request.cluster_id, voter }
}

pub(super) fn update(request: UpdateRaftVoterRequest) -> wire::UpdateRaftVoterRequest {
    use wire::update_raft_voter_request::{KraftVersionFeature, Listener};
    let voter = request.voter;
    let listener = |(name, address): (&str, &HostPort)| Listener {
        name: name.to_owned(),
        host: address.host.clone(),
        port: address.port,
        ..Default::default()
    };
    wire::UpdateRaftVoterRequest {
        cluster_id: request.cluster_id,
        current_leader_epoch: request.current_leader_epoch.value(),
        voter_id: voter.key.id.value(),
        voter_directory_id: voter.key.directory_id_or_zero(),
        listeners: voter.listeners.iter().map(listener).collect(),
        kraft_version_feature: KraftVersionFeature {
            min_supported_version: voter.supported_kraft_version.0,
            max_supported_version: voter.supported_kraft_version.1,
            ..Default::default()
        },
        ..Default::default()
    }
}

pub(super) fn update_from(request: wire::UpdateRaftVoterRequest) -> UpdateRaftVoterRequest {
    let listeners = request.listeners.into_iter();
    let feature = request.kraft_version_feature;
    UpdateRaftVoterRequest {
        cluster_id: request.cluster_id,
        current_leader_epoch: LeaderEpoch(request.current_leader_epoch),
        voter: VoterNode {
            key: voter(request.voter_id, request.voter_directory_id),
            listeners: endpoints(listeners.map(|listener| (listener.name, listener.host, listener.port))),
            supported_kraft_version: (feature.min_supported_version, feature.max_supported_version),
        },
    }
}

/// The answers to those who add and remove voters are alike, in types of their own.
macro_rules! voter_change_responses {
    ($($to:ident, $from:ident: $message:ident;)*) => {$(
        pub(super) fn $to(response: VoterChangeResponse) -> wire::$message {
            wire::$message {
                error_code: response.error.map_or(0, RaftError::code),
                error_message: response.message,
                ..Default::default()
            }
        }

        pub(super) fn $from(response: wire::$message) -> VoterChangeResponse {
            VoterChangeResponse {
                error: RaftError::from_code(response.error_code),
                message: response.error_message,
            }
        }
    )*};
}

voter_change_responses! {
    added, added_from: AddRaftVoterResponse;
    removed, removed_from: RemoveRaftVoterResponse;
}

pub(super) fn updated(response: EpochResponse, listener: &str) -> wire::UpdateRaftVoterResponse {
    use wire::update_raft_voter_response::CurrentLeader;
    let EpochResponse { error, leader } = response;
    let address = leader.leader_id.and_then(|_| leader.endpoints.get(listener));
    wire::UpdateRaftVoterResponse {
        error_code: error.map_or(0, RaftError::code),
        current_leader: CurrentLeader {
            leader_id: leader.leader_id.map_or(-1, |id| id.value()),
            leader_epoch: leader.epoch.value(),
            host: address.map_or_else(String::new, |address| address.host.clone()),
            port: address.map_or(0, |address| i32::from(address.port)),
            ..Default::default()
        },
        ..Default::default()
    }
}

pub(super) fn updated_from(response: wire::UpdateRaftVoterResponse, listener: &str) -> EpochResponse {
    let current = response.current_leader;
    let mut known = Endpoints::new();
    if let Ok(port) = u16::try_from(current.port)
        && !current.host.is_empty()
    {
        known.insert(listener, HostPort::new(current.host, port));
    }
    EpochResponse {
        error: RaftError::from_code(response.error_code),
        leader: LeaderInfo {
            leader_id: node_id(current.leader_id),
            epoch: LeaderEpoch(current.leader_epoch),
            endpoints: known,
        },
    }
}

pub(super) fn api_versions() -> wire::ApiVersionsRequest {
    wire::ApiVersionsRequest {
        client_software_name: SOFTWARE_NAME.to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

pub(super) fn versions(response: ApiVersionsResponse) -> wire::ApiVersionsResponse {
    use wire::api_versions_response::SupportedFeature;
    let feature = |(min_version, max_version)| SupportedFeature {
        name: KRAFT_VERSION.to_owned(),
        min_version,
        max_version,
        ..Default::default()
    };
    wire::ApiVersionsResponse {
        error_code: response.error.map_or(0, RaftError::code),
        supported_features: response.kraft_version.map(feature).into_iter().collect(),
        ..Default::default()
    }
}

pub(super) fn versions_from(response: wire::ApiVersionsResponse) -> ApiVersionsResponse {
    let mut features = response.supported_features.iter();
    let found = features.find(|feature| feature.name == KRAFT_VERSION);
    ApiVersionsResponse {
        error: RaftError::from_code(response.error_code),
        kraft_version: found.map(|feature| (feature.min_version, feature.max_version)),
    }
}

fn voter(id: i32, directory: Uuid) -> ReplicaKey {
    ReplicaKey::new(NodeId(id), directory)
}

fn endpoints(listeners: impl Iterator<Item = (String, String, u16)>) -> Endpoints {
    let mut endpoints = Endpoints::new();
    for (name, host, port) in listeners {
        endpoints.insert(&name, HostPort::new(host, port));
    }
    endpoints
}
