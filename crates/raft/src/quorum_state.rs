//! The role of this replica in the current epoch, and the rules by which one role follows another.
//!
//! Epochs only grow. In one epoch a replica votes at most once, knows at most one leader, and never forgets either:
//! both are in the [`ElectionState`] that is durable before any message about it leaves.
//!
//! ```text
//! Unattached   election timeout -> Prospective
//! Prospective  majority would vote -> Candidate; otherwise -> Follower of the known leader, or Unattached
//! Candidate    majority votes -> Leader; election timeout -> Prospective
//! Leader       no majority fetches, or asked to -> Resigned
//! Resigned     election timeout -> Unattached in the next epoch
//! Follower     fetch timeout -> Prospective
//! any          higher epoch -> Unattached in it, or Follower of its leader
//! ```
//!
//! A replica that is no voter (an observer) is only ever Unattached or Follower.

use std::collections::BTreeSet;

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset};

use crate::election::{ElectionState, EpochElection};
use crate::replica::{Endpoints, OffsetAndEpoch, ReplicaKey};
use crate::replication::LeaderState;
use crate::voter_set::VoterSet;

/// The role without its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    Unattached,
    Prospective,
    Candidate,
    Leader,
    Follower,
    Resigned,
    /// Unattached or Follower, and no voter.
    Observer,
}

#[derive(Debug)]
pub(crate) enum Role {
    Unattached(Unattached),
    Prospective(Prospective),
    Candidate(Candidate),
    Leader(Box<LeaderState>),
    Follower(Follower),
    Resigned(Resigned),
}

/// The leader of the epoch is unknown, or known by id only.
#[derive(Debug)]
pub(crate) struct Unattached {
    pub(crate) leader_id: Option<NodeId>,
    pub(crate) voted: Option<ReplicaKey>,
    pub(crate) election_deadline: MonoMs,
}

/// Asks whether an election would be won before beginning one, so that a replica that was cut off doesn't disturb a
/// leader that works (KIP-996).
#[derive(Debug)]
pub(crate) struct Prospective {
    pub(crate) leader_id: Option<NodeId>,
    pub(crate) leader_endpoints: Endpoints,
    pub(crate) voted: Option<ReplicaKey>,
    pub(crate) election: EpochElection,
    pub(crate) election_deadline: MonoMs,
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) election: EpochElection,
    pub(crate) election_deadline: MonoMs,
}

/// Why the wait for a leader is over, unless something is known of it.
pub(crate) const LEADER_IS_SILENT: &str = "the leader is silent";

#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) leader_id: NodeId,
    pub(crate) leader_endpoints: Endpoints,
    pub(crate) voted: Option<ReplicaKey>,
    pub(crate) fetch_deadline: MonoMs,
    /// What it means when that is over.
    pub(crate) why_over: &'static str,
    /// From then on it no longer helps others to unseat the leader.
    pub(crate) has_fetched_from_leader: bool,
    /// It said so, in this epoch.
    pub(crate) has_leader_resigned: bool,
    pub(crate) fetching_snapshot: Option<FetchingSnapshot>,
    /// When to look next whether the leader should be told of this replica.
    pub(crate) update_voter_at: MonoMs,
    /// The leader knows this voter as it is, although there is no record of it (`kraft.version` 0).
    pub(crate) is_known_to_leader: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchingSnapshot {
    pub(crate) id: OffsetAndEpoch,
    /// Bytes received.
    pub(crate) position: u64,
}

/// Led this epoch and doesn't any more. It stays so for the rest of the epoch, so that no second leader of it and no
/// second record with one of its offsets can come to be, even when what it appended last was lost in a crash.
#[derive(Debug)]
pub(crate) struct Resigned {
    pub(crate) unacknowledged: BTreeSet<NodeId>,
    pub(crate) preferred_successors: Vec<ReplicaKey>,
    pub(crate) election_deadline: MonoMs,
}

/// A leader of the quorum, as far as a replica knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    pub leader_id: Option<NodeId>,
    pub epoch: LeaderEpoch,
}

#[derive(Debug)]
pub(crate) struct QuorumState {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) role: Role,
}

impl QuorumState {
    pub(crate) fn role_name(&self) -> RoleName {
        match &self.role {
            Role::Unattached(_) => RoleName::Unattached,
            Role::Prospective(_) => RoleName::Prospective,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
            Role::Follower(_) => RoleName::Follower,
            Role::Resigned(_) => RoleName::Resigned,
        }
    }

    pub(crate) fn leader_id(&self, local: NodeId) -> Option<NodeId> {
        match &self.role {
            Role::Unattached(state) => state.leader_id,
            Role::Prospective(state) => state.leader_id,
            Role::Candidate(_) => None,
            Role::Leader(_) | Role::Resigned(_) => Some(local),
            Role::Follower(state) => Some(state.leader_id),
        }
    }

    /// The known endpoints of the leader; `local` are this replica's own.
    pub(crate) fn leader_endpoints(&self, local: &Endpoints) -> Endpoints {
        match &self.role {
            Role::Unattached(_) | Role::Candidate(_) => Endpoints::new(),
            Role::Prospective(state) => state.leader_endpoints.clone(),
            Role::Leader(_) | Role::Resigned(_) => local.clone(),
            Role::Follower(state) => state.leader_endpoints.clone(),
        }
    }

    /// Whom this replica voted for in this epoch, as far as it has to be kept.
    pub(crate) fn voted(&self, local: &ReplicaKey) -> Option<ReplicaKey> {
        match &self.role {
            Role::Unattached(state) => state.voted,
            Role::Prospective(state) => state.voted,
            Role::Candidate(_) => Some(*local),
            Role::Follower(state) => state.voted,
            Role::Leader(_) | Role::Resigned(_) => None,
        }
    }

    /// What must be durable of this state.
    pub(crate) fn election(&self, local: &ReplicaKey, voters: &VoterSet) -> ElectionState {
        ElectionState {
            epoch: self.epoch,
            leader_id: self.leader_id(local.id),
            voted_key: self.voted(local),
            voters: voters.ids(),
        }
    }

    /// When the current election, or the wait for one, ends; `None` where a new wait begins after a change of role.
    pub(crate) fn remaining_election_deadline(&self) -> Option<MonoMs> {
        match &self.role {
            Role::Unattached(state) => Some(state.election_deadline),
            Role::Candidate(state) => Some(state.election_deadline),
            Role::Prospective(state) if !state.election.is_rejected() => Some(state.election_deadline),
            Role::Resigned(state) => Some(state.election_deadline),
            Role::Prospective(_) | Role::Leader(_) | Role::Follower(_) => None,
        }
    }

    /// Whether `candidate` gets this replica's vote, or for a pre-vote its assent. `is_log_up_to_date` says whether the
    /// candidate's log reaches at least as far as this replica's.
    pub(crate) fn can_grant_vote(
        &self,
        candidate: &ReplicaKey,
        is_log_up_to_date: bool,
        pre_vote: bool,
    ) -> bool {
        match &self.role {
            Role::Unattached(Unattached { leader_id, voted, .. })
            | Role::Prospective(Prospective { leader_id, voted, .. }) => {
                if pre_vote {
                    return is_log_up_to_date;
                }
                match voted {
                    Some(voted) => voted.names(candidate),
                    None => leader_id.is_none() && is_log_up_to_date,
                }
            }
            Role::Candidate(_) | Role::Resigned(_) => pre_vote && is_log_up_to_date,
            Role::Follower(state) => pre_vote && is_log_up_to_date && !state.has_fetched_from_leader,
            Role::Leader(_) => false,
        }
    }

    /// The high watermark that this replica tells others: only a leader has one to tell.
    pub(crate) fn leader_high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(state) => state.high_watermark,
            _ => None,
        }
    }
}
