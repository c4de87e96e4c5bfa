//! What replicas of the quorum say to one another, for the one partition that they have.
//!
//! These are the messages of KIP-595, 630, 853 and 996 without the nesting that the wire gives them. Records inside a
//! response that leaves are only named: whoever sends it reads them from the log.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::control::ControlRecord;
use crate::replica::{Endpoints, OffsetAndEpoch, ReplicaKey};
use crate::voter_set::VoterNode;

/// Why a request was refused; the numbers are Kafka's error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum RaftError {
    UnknownServerError = -1,
    UnknownTopicOrPartition = 3,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    BrokerNotAvailable = 8,
    ClusterAuthorizationFailed = 31,
    UnsupportedVersion = 35,
    InvalidRequest = 42,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    InconsistentVoterSet = 94,
    SnapshotNotFound = 98,
    PositionOutOfRange = 99,
    UnknownTopicId = 100,
    InconsistentClusterId = 104,
    InconsistentTopicId = 103,
    InvalidVoterKey = 125,
    DuplicateVoter = 126,
    VoterNotFound = 127,
}

impl RaftError {
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// What Apache Kafka 4.3.1 says of those that a description of the quorum may have.
    pub(crate) const fn kafkas_words(self) -> Option<&'static str> {
        match self {
            RaftError::UnknownTopicOrPartition => Some("This server does not host this topic-partition."),
            RaftError::NotLeaderOrFollower => Some(
                "For requests intended only for the leader, this error indicates that the broker is not the current leader. \
                 For requests intended for any replica, this error indicates that the broker is not a replica of the topic \
                 partition.",
            ),
            _ => None,
        }
    }

    /// `None` for 0; codes that no quorum API returns count as an unknown server error.
    pub const fn from_code(code: i16) -> Option<RaftError> {
        Some(match code {
            0 => return None,
            3 => RaftError::UnknownTopicOrPartition,
            6 => RaftError::NotLeaderOrFollower,
            7 => RaftError::RequestTimedOut,
            8 => RaftError::BrokerNotAvailable,
            31 => RaftError::ClusterAuthorizationFailed,
            35 => RaftError::UnsupportedVersion,
            42 => RaftError::InvalidRequest,
            74 => RaftError::FencedLeaderEpoch,
            75 => RaftError::UnknownLeaderEpoch,
            94 => RaftError::InconsistentVoterSet,
            98 => RaftError::SnapshotNotFound,
            99 => RaftError::PositionOutOfRange,
            100 => RaftError::UnknownTopicId,
            103 => RaftError::InconsistentTopicId,
            104 => RaftError::InconsistentClusterId,
            125 => RaftError::InvalidVoterKey,
            126 => RaftError::DuplicateVoter,
            127 => RaftError::VoterNotFound,
            _ => RaftError::UnknownServerError,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    Fetch(FetchRequest),
    FetchSnapshot(FetchSnapshotRequest),
    AddRaftVoter(AddRaftVoterRequest),
    RemoveRaftVoter(RemoveRaftVoterRequest),
    UpdateRaftVoter(UpdateRaftVoterRequest),
    /// Asks a replica which `kraft.version`s it supports.
    ApiVersions,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Vote(VoteResponse),
    BeginQuorumEpoch(EpochResponse),
    EndQuorumEpoch(EpochResponse),
    Fetch(FetchResponse),
    FetchSnapshot(FetchSnapshotResponse),
    AddRaftVoter(VoterChangeResponse),
    RemoveRaftVoter(VoterChangeResponse),
    UpdateRaftVoter(EpochResponse),
    ApiVersions(ApiVersionsResponse),
}

/// What a response says about the leader.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderInfo {
    pub leader_id: Option<NodeId>,
    pub epoch: LeaderEpoch,
    /// All that the sender knows when it leaves; the one of the request's listener when it arrives; empty from a
    /// replica that doesn't send any.
    pub endpoints: Endpoints,
}

/// KIP-595, with the pre-vote of KIP-996.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteRequest {
    pub cluster_id: Option<String>,
    /// Whom the sender means to ask.
    pub voter: Option<ReplicaKey>,
    /// Who asks, and in which epoch; a pre-vote asks in the epoch that it is in, a vote in the one it has begun.
    pub replica: ReplicaKey,
    pub replica_epoch: LeaderEpoch,
    pub last_offset: OffsetAndEpoch,
    pub pre_vote: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VoteResponse {
    pub error: Option<RaftError>,
    pub leader: LeaderInfo,
    pub vote_granted: bool,
}

/// A new leader tells the voters that it leads.
#[derive(Clone, Debug, PartialEq)]
pub struct BeginQuorumEpochRequest {
    pub cluster_id: Option<String>,
    pub voter: Option<ReplicaKey>,
    pub leader_id: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub leader_endpoints: Endpoints,
}

/// A leader that resigns tells the voters, the most suitable successor first.
#[derive(Clone, Debug, PartialEq)]
pub struct EndQuorumEpochRequest {
    pub cluster_id: Option<String>,
    pub leader_id: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub preferred_candidates: Vec<ReplicaKey>,
    pub leader_endpoints: Endpoints,
}

/// The answer to both of the above, and to [`UpdateRaftVoterRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct EpochResponse {
    pub error: Option<RaftError>,
    pub leader: LeaderInfo,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    pub cluster_id: Option<String>,
    /// Id -1 for a reader that is no replica.
    pub replica: ReplicaKey,
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    pub last_fetched_epoch: LeaderEpoch,
    pub max_bytes: i32,
    pub max_wait_ms: i32,
    /// What the follower knows, so that the leader can answer at once when it knows more (KIP-1166); `Offset::MAX`
    /// from a replica that doesn't say.
    pub high_watermark: Offset,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchResponse {
    pub error: Option<RaftError>,
    pub leader: LeaderInfo,
    pub high_watermark: Option<Offset>,
    pub log_start_offset: Offset,
    /// The follower must truncate first: the largest epoch not above its own, and where it ends.
    pub diverging: Option<OffsetAndEpoch>,
    /// The follower must fetch this snapshot first.
    pub snapshot_id: Option<OffsetAndEpoch>,
    pub records: FetchedRecords,
}

/// Records in a fetch response.
#[derive(Clone, Debug, PartialEq)]
pub enum FetchedRecords {
    None,
    /// Leaving: to be read from the log, uncommitted ones too.
    FromLog {
        offset: Offset,
        max_bytes: i32,
    },
    /// As they are on the wire.
    Bytes(Bytes),
    /// Arrived: whole batches whose checksums were verified, in order.
    Batches(Vec<ReceivedBatch>),
}

/// One record batch that came from the leader.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    /// The control records in it, with their offsets.
    pub control: Vec<(Offset, ControlRecord)>,
    /// The batch as it goes to the log.
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchSnapshotRequest {
    pub cluster_id: Option<String>,
    pub replica: ReplicaKey,
    pub current_leader_epoch: LeaderEpoch,
    pub snapshot_id: OffsetAndEpoch,
    /// Bytes.
    pub position: u64,
    pub max_bytes: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchSnapshotResponse {
    pub error: Option<RaftError>,
    pub leader: LeaderInfo,
    pub snapshot_id: OffsetAndEpoch,
    /// Bytes of the whole snapshot.
    pub size: u64,
    pub position: u64,
    pub bytes: SnapshotBytes,
}

/// Part of a snapshot file; batches may be cut anywhere.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotBytes {
    None,
    /// Leaving: to be read from the snapshot's file at the response's position.
    FromFile {
        max_bytes: i32,
    },
    Bytes(Bytes),
}

/// Makes a replica a voter (KIP-853). It must have fetched up to the end of the log before.
#[derive(Clone, Debug, PartialEq)]
pub struct AddRaftVoterRequest {
    pub cluster_id: Option<String>,
    pub voter: ReplicaKey,
    pub listeners: Endpoints,
    /// Answer when the change is committed; otherwise when it is in the leader's log, as a replica needs that adds itself:
    /// its own fetch may be what the commit waits for.
    pub ack_when_committed: bool,
    /// Milliseconds.
    pub timeout_ms: i32,
}

/// Makes a voter an observer (KIP-853).
#[derive(Clone, Debug, PartialEq)]
pub struct RemoveRaftVoterRequest {
    pub cluster_id: Option<String>,
    pub voter: ReplicaKey,
}

/// A voter tells the leader of itself, where the leader does not know it as it is (KIP-853).
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateRaftVoterRequest {
    pub cluster_id: Option<String>,
    pub current_leader_epoch: LeaderEpoch,
    pub voter: VoterNode,
}

/// The answer to those who add and remove voters.
#[derive(Clone, Debug, PartialEq)]
pub struct VoterChangeResponse {
    pub error: Option<RaftError>,
    /// For people.
    pub message: Option<String>,
}

/// What of an answer to ApiVersions matters to the quorum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApiVersionsResponse {
    pub error: Option<RaftError>,
    /// Lowest and highest `kraft.version`; none of a replica that knows no such feature.
    pub kraft_version: Option<(i16, i16)>,
}
