//! Control records of the quorum: they govern the log itself and never reach the metadata image.

use ottla_types::NodeId;
use ottla_types::Uuid;

use crate::voter_set::VoterSet;

/// The values of control records; their encoding is the log's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The first record of every epoch.
    LeaderChange(LeaderChange),
    SnapshotHeader {
        last_contained_log_timestamp: i64,
    },
    SnapshotFooter,
    KRaftVersion(i16),
    Voters(VoterSet),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    /// 0, or 1 with directory ids.
    pub version: i16,
    pub leader_id: NodeId,
    pub voters: Vec<(NodeId, Uuid)>,
    pub granting_voters: Vec<(NodeId, Uuid)>,
}
