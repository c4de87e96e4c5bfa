//! The quorum of controllers.

use std::collections::BTreeMap;

use ottla_types::Uuid;
use ottla_wire::messages::{
    AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest, add_raft_voter_request,
    describe_quorum_request, describe_quorum_response,
};

use super::{Admin, check};
use crate::client::Target;
use crate::error::ClientError;

const METADATA_TOPIC: &str = "__cluster_metadata";

/// The quorum as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumInfo {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub voters: Vec<QuorumReplica>,
    pub observers: Vec<QuorumReplica>,
    /// Endpoints of voters by id, where the broker tells them.
    pub nodes: BTreeMap<i32, Vec<QuorumEndpoint>>,
}

/// A listener for controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumEndpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

/// A replica of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    pub id: i32,
    /// Zero where the broker doesn't tell.
    pub directory_id: Uuid,
    pub log_end_offset: i64,
    /// When it last fetched, in milliseconds; -1 where it isn't known.
    pub last_fetch_timestamp: i64,
    /// When it last had all; -1 where it isn't known.
    pub last_caught_up_timestamp: i64,
}

impl Admin {
    pub async fn describe_quorum(&self) -> Result<QuorumInfo, ClientError> {
        let request = DescribeQuorumRequest {
            topics: vec![describe_quorum_request::Topic {
                topic_name: METADATA_TOPIC.to_owned(),
                partitions: vec![describe_quorum_request::Partition {
                    partition_index: 0,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self
            .ask(Target::AnyNode, &request, |answer| match answer.error_code {
                0 => {
                    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                    partitions.map(|of| of.error_code).find(|&code| code != 0).unwrap_or_default()
                }
                code => code,
            })
            .await?;
        check(answer.error_code, answer.error_message, || "describing the quorum".to_owned())?;
        let mut info = QuorumInfo::default();
        for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            check(partition.error_code, partition.error_message, || "describing the quorum".to_owned())?;
            info.leader_id = partition.leader_id;
            info.leader_epoch = partition.leader_epoch;
            info.high_watermark = partition.high_watermark;
            info.voters = partition.current_voters.into_iter().map(replica).collect();
            info.observers = partition
                .observers
                .into_iter()
                .map(|of| QuorumReplica {
                    id: of.replica_id,
                    directory_id: of.replica_directory_id,
                    log_end_offset: of.log_end_offset,
                    last_fetch_timestamp: of.last_fetch_timestamp,
                    last_caught_up_timestamp: of.last_caught_up_timestamp,
                })
                .collect();
        }
        let node = |node: describe_quorum_response::Node| {
            let listeners = node.listeners.into_iter().map(|at| QuorumEndpoint {
                listener: at.name,
                host: at.host,
                port: at.port,
            });
            (node.node_id, listeners.collect())
        };
        info.nodes = answer.nodes.into_iter().map(node).collect();
        Ok(info)
    }

    /// Makes a controller a voter.
    pub async fn add_raft_voter(
        &self,
        id: i32,
        directory_id: Uuid,
        endpoints: &[QuorumEndpoint],
    ) -> Result<(), ClientError> {
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: self.request_timeout_ms(),
            voter_id: id,
            voter_directory_id: directory_id,
            listeners: endpoints
                .iter()
                .map(|at| add_raft_voter_request::Listener {
                    name: at.listener.clone(),
                    host: at.host.clone(),
                    port: at.port,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || format!("adding controller {id}"))
    }

    /// Takes a controller out of the voters.
    pub async fn remove_raft_voter(&self, id: i32, directory_id: Uuid) -> Result<(), ClientError> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: id,
            voter_directory_id: directory_id,
            ..Default::default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || format!("removing controller {id}"))
    }
}

fn replica(of: describe_quorum_response::CurrentVoter) -> QuorumReplica {
    QuorumReplica {
        id: of.replica_id,
        directory_id: of.replica_directory_id,
        log_end_offset: of.log_end_offset,
        last_fetch_timestamp: of.last_fetch_timestamp,
        last_caught_up_timestamp: of.last_caught_up_timestamp,
    }
}
