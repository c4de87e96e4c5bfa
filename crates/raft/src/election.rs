//! One election in one epoch: who granted and who refused, and what of it is written down.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{LeaderEpoch, NodeId};

use crate::replica::ReplicaKey;
use crate::voter_set::VoterSet;

/// What a replica must remember of an epoch, whatever happens: the content of the `quorum-state` file. A vote once
/// given is never given again in the same epoch, and a leader once known stays the only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionState {
    pub epoch: LeaderEpoch,
    pub leader_id: Option<NodeId>,
    pub voted_key: Option<ReplicaKey>,
    /// Only written under `kraft.version` 0.
    pub voters: BTreeSet<NodeId>,
}

impl ElectionState {
    pub fn unknown_leader(epoch: LeaderEpoch, voters: BTreeSet<NodeId>) -> ElectionState {
        ElectionState { epoch, leader_id: None, voted_key: None, voters }
    }

    /// Whether `replica` got this replica's vote; a vote written without directory id was for any of its node.
    pub fn has_voted_for(&self, replica: &ReplicaKey) -> bool {
        self.voted_key.is_some_and(|voted| voted.names(replica))
    }
}

/// The votes of one election or pre-vote. Later answers of the same voter replace earlier ones.
#[derive(Clone, Debug)]
pub struct EpochElection {
    votes: BTreeMap<NodeId, (ReplicaKey, Option<bool>)>,
}

impl EpochElection {
    pub fn new(voters: &VoterSet) -> EpochElection {
        EpochElection { votes: voters.iter().map(|voter| (voter.key.id, (voter.key, None))).collect() }
    }

    /// Answers of nodes that are no voters are ignored; returns whether it counted.
    pub fn record(&mut self, voter: NodeId, granted: bool) -> bool {
        match self.votes.get_mut(&voter) {
            Some((_, vote)) => {
                *vote = Some(granted);
                true
            }
            None => false,
        }
    }

    pub fn is_granted(&self) -> bool {
        self.count(Some(true)) >= self.majority()
    }

    /// Whether it can't be won any more.
    pub fn is_rejected(&self) -> bool {
        self.count(Some(true)) + self.count(None) < self.majority()
    }

    pub fn unrecorded(&self) -> impl Iterator<Item = ReplicaKey> {
        self.votes.values().filter(|(_, vote)| vote.is_none()).map(|(key, _)| *key)
    }

    pub fn granting(&self) -> BTreeSet<NodeId> {
        self.votes.iter().filter(|(_, (_, vote))| *vote == Some(true)).map(|(id, _)| *id).collect()
    }

    pub fn rejecting(&self) -> BTreeSet<NodeId> {
        self.votes.iter().filter(|(_, (_, vote))| *vote == Some(false)).map(|(id, _)| *id).collect()
    }

    fn count(&self, wanted: Option<bool>) -> usize {
        self.votes.values().filter(|(_, vote)| *vote == wanted).count()
    }

    fn majority(&self) -> usize {
        self.votes.len() / 2 + 1
    }
}
