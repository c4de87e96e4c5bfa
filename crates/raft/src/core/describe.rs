//! What DescribeQuorum tells (KIP-595, 642, 836).

use ottla_types::{LeaderEpoch, NodeId, Now, Offset, Timestamp};

use super::RaftCore;
use crate::quorum_state::Role;
use crate::replica::{Endpoints, ReplicaKey};
use crate::replication::ReplicaProgress;

#[derive(Clone, Debug, PartialEq)]
pub struct QuorumInfo {
    pub leader_id: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub high_watermark: Option<Offset>,
    pub voters: Vec<ReplicaInfo>,
    pub observers: Vec<ReplicaInfo>,
    /// The voters' listeners.
    pub nodes: Vec<(NodeId, Endpoints)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaInfo {
    pub key: ReplicaKey,
    pub log_end_offset: Option<Offset>,
    pub last_fetch_timestamp: Option<Timestamp>,
    pub last_caught_up_timestamp: Option<Timestamp>,
}

impl RaftCore {
    /// `None` unless this replica leads.
    pub fn describe(&mut self, now: Now) -> Option<QuorumInfo> {
        let local = self.local.id();
        let epoch = self.quorum.epoch;
        let nodes =
            self.voters.latest().iter().map(|voter| (voter.key.id, voter.listeners.clone())).collect();
        let Role::Leader(leader) = &mut self.quorum.role else {
            return None;
        };
        let info = |progress: ReplicaProgress| {
            let leads = progress.key.id == local;
            ReplicaInfo {
                key: progress.key,
                log_end_offset: progress.end_offset,
                last_fetch_timestamp: if leads {
                    Some(now.wall)
                } else {
                    progress.last_fetch.map(|fetch| fetch.wall)
                },
                last_caught_up_timestamp: if leads {
                    Some(now.wall)
                } else {
                    progress.last_caught_up_timestamp
                },
            }
        };
        Some(QuorumInfo {
            leader_id: local,
            leader_epoch: epoch,
            high_watermark: leader.high_watermark,
            voters: leader.voters().into_iter().map(info).collect(),
            observers: leader.observers(now.mono).into_iter().map(info).collect(),
            nodes,
        })
    }
}
