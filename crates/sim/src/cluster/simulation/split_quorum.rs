//! A quorum whose leader hears few of the voters for a while: those that it is just about to make voters, or, where all controllers
//! are voters, one of them. The others may elect a leader of their own, and what the former one decides meanwhile is nothing.

use ottla_raft::RoleName;
use ottla_types::{MonoMs, NodeId};
use ottla_wire::ApiKey;

use super::ClusterSimulation;

/// Longer than the others wait for their leader, and than the leader waits for a majority, with a change of voters in between that
/// is given up.
const HELD_MS: u64 = 5_000;

#[derive(Debug)]
pub(super) struct SplitQuorum {
    cut: Vec<(NodeId, NodeId)>,
    until: MonoMs,
}

impl ClusterSimulation {
    pub(super) fn split_quorums(&mut self) {
        match self.split_quorum.take() {
            Some(split) if split.until > self.now.mono => self.split_quorum = Some(split),
            Some(split) => {
                // What both sides take for decided.
                self.is_to_look = true;
                split.cut.into_iter().for_each(|(from, to)| self.wires.let_go(from, to));
            }
            None => self.begin_to_split_quorum(),
        }
    }

    fn begin_to_split_quorum(&mut self) {
        let (Some(choice), Some((_, leader))) = (self.quorum_to_split, self.controller) else { return };
        let may_fence = self.poor.is_none() || !self.poor_needs_others;
        if !self.shape.has_voters_in_log || !may_fence || !self.has_quorum_to_itself() {
            return;
        }
        if !self.role_of(leader).is_some_and(|(_, role)| role == RoleName::Leader) {
            return;
        }
        let Some(with) = self.companions_of(leader, choice) else { return };
        let controllers = self.shape.controllers();
        let is_with = |id: &NodeId| *id == leader || with.contains(id);
        let others: Vec<NodeId> = controllers.into_iter().filter(|id| !is_with(id)).collect();
        self.quorum_to_split = None;
        self.say(&format_args!("node {leader} and {with:?} are cut off from {others:?}"));
        self.count("quorums split", 1);
        let side = with.into_iter().chain([leader]);
        let pairs = side.flat_map(|id| others.iter().flat_map(move |other| [(id, *other), (*other, id)]));
        let cut: Vec<(NodeId, NodeId)> = pairs.collect();
        cut.iter().for_each(|(from, to)| self.wires.hold(*from, *to));
        self.split_quorum = Some(SplitQuorum { cut, until: self.until(HELD_MS) });
    }

    /// No other scheme is about who leads the quorum.
    pub(super) fn has_quorum_to_itself(&self) -> bool {
        self.split_vote.is_none() && self.split_quorum.is_none() && self.lead_again.is_none()
    }

    /// Who goes on to hear the leader; none where it is not the moment.
    fn companions_of(&mut self, leader: NodeId, choice: u64) -> Option<Vec<NodeId>> {
        let voters = self.voters_of(leader)?;
        let controllers = self.shape.controllers();
        let others = controllers.iter().copied().filter(|id| *id != leader);
        if choice.is_multiple_of(2) {
            // It has asked what that one supports: the next thing is the record.
            let is_asked =
                |(from, to): (NodeId, NodeId)| from == leader && voters.len() == 3 && !voters.contains(&to);
            let mut asked = self.wires.under_way_to_controllers(ApiKey::ApiVersions);
            return asked.any(is_asked).then(|| others.filter(|id| !voters.contains(id)).collect());
        }
        let all_know = controllers.iter().all(|id| self.voters_of(*id).is_some_and(|known| known.len() == 5));
        let others: Vec<NodeId> = others.collect();
        all_know.then(|| vec![others[(choice / 2) as usize % others.len()]])
    }

    fn voters_of(&mut self, id: NodeId) -> Option<Vec<NodeId>> {
        Some(self.hosts.get_mut(&id)?.node_mut()?.quorum_voters())
    }
}
