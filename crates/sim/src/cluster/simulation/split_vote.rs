//! Two voters that stand for the same epoch, because the leader of three stands still and they do not hear each other. It ends; its
//! next process tells both at the same time that they may stand, decides between them, and ends as soon as one leads. The other asks
//! the process after that, which hears nothing of that leader.

use std::collections::BTreeSet;

use ottla_raft::RoleName;
use ottla_types::{MonoMs, NodeId};
use ottla_wire::ApiKey;

use super::ClusterSimulation;

/// Longer than a voter waits for its leader.
const SILENT_MS: u64 = 5_000;
/// For each step after that.
const STEP_MS: u64 = 1_500;
const DOWN_MS: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The leader stands still, and the others do not hear each other.
    Silent,
    /// The leader of before has ended. Its next process is asked by both whether they may stand, and neither hears the answer.
    Standing,
    /// Both have heard it, and it hears the first of them alone.
    Deciding,
    /// It has ended once more, and nobody hears the first.
    Decided,
}

#[derive(Debug)]
pub(super) struct SplitVote {
    former: NodeId,
    candidates: [NodeId; 2],
    stage: Stage,
    until: MonoMs,
}

impl ClusterSimulation {
    pub(super) fn split_votes(&mut self) {
        match &self.split_vote {
            Some(_) => self.go_on_with_split_vote(),
            None => self.begin_split_vote(),
        }
    }

    fn begin_split_vote(&mut self) {
        let (Some(choice), Some((_, former))) = (self.vote_to_split, self.controller) else { return };
        let is_well = |id: &NodeId| self.hosts[id].is_running() && !self.hosts[id].is_frozen(self.now);
        let voters: Vec<NodeId> = self.shape.voters.iter().copied().filter(is_well).collect();
        let mut candidates: Vec<NodeId> = voters.iter().copied().filter(|id| *id != former).collect();
        if choice % 2 == 1 {
            candidates.reverse();
        }
        let Ok(candidates) = <[NodeId; 2]>::try_from(candidates) else { return };
        // Others count on those that are well while a machine may lose what it has.
        let may_fence = self.poor.is_none() || !self.poor_needs_others;
        let hear_each_other = voters.iter().all(|a| voters.iter().all(|b| !self.wires.is_cut(*a, *b)));
        let is_alone = self.split_quorum.is_none() && self.lead_again.is_none();
        if !is_alone || !voters.contains(&former) || !hear_each_other || !may_fence || !self.may_end(former) {
            return;
        }
        // Or it would vote for nobody.
        let ends = voters.iter().map(|id| self.end_of(*id));
        if ends.collect::<BTreeSet<_>>().len() > 1 {
            return;
        }
        self.vote_to_split = None;
        self.say(&format_args!("node {former} stands still until {candidates:?} stand"));
        let until = self.until(SILENT_MS);
        self.change_host(former, |host| host.frozen_until = until);
        let [first, second] = candidates;
        self.wires.hold(first, second);
        self.wires.hold(second, first);
        self.split_vote = Some(SplitVote { former, candidates, stage: Stage::Silent, until });
    }

    fn go_on_with_split_vote(&mut self) {
        let Some(mut vote) = self.split_vote.take() else { return };
        if vote.until <= self.now.mono {
            return self.end_split_vote(&vote);
        }
        let former = vote.former;
        let [first, second] = vote.candidates;
        let [one, other] = vote.candidates.map(|id| self.role_of(id));
        let are = |role| matches!((one, other), (Some(one), Some(other)) if one == other && one.1 == role);
        let is_decided = matches!(
            (one, other),
            (Some((led, RoleName::Leader)), Some((stood_for, RoleName::Candidate))) if led == stood_for
        );
        vote.stage = match vote.stage {
            Stage::Silent if are(RoleName::Prospective) && self.may_end(former) => {
                vote.candidates.iter().for_each(|id| self.wires.hold(former, *id));
                self.end(former, None, DOWN_MS);
                Stage::Standing
            }
            Stage::Standing if are(RoleName::Prospective) && self.are_answered(&vote) => {
                self.say(&format_args!("{first} and {second} stand"));
                vote.candidates.iter().for_each(|id| self.wires.let_go(former, *id));
                self.wires.hold(second, former);
                Stage::Deciding
            }
            Stage::Deciding if is_decided && self.may_end(former) => {
                self.cut_off(first);
                self.wires.let_go(second, former);
                self.end(former, None, DOWN_MS);
                self.count("votes split", 1);
                Stage::Decided
            }
            stage => {
                self.split_vote = Some(SplitVote { stage, ..vote });
                return;
            }
        };
        vote.until = self.until(STEP_MS);
        self.split_vote = Some(vote);
    }

    fn end_split_vote(&mut self, vote: &SplitVote) {
        let now = self.now.mono;
        let [first, second] = vote.candidates;
        if vote.stage == Stage::Decided {
            for id in self.members.clone() {
                self.wires.let_go(first, id);
                self.wires.let_go(id, first);
            }
            return;
        }
        let former = vote.former;
        self.change_host(former, |host| host.frozen_until = now);
        for (from, to) in
            [(first, second), (second, first), (second, former), (former, first), (former, second)]
        {
            self.wires.let_go(from, to);
        }
    }

    /// Whether all that stand have answers on their way.
    fn are_answered(&self, vote: &SplitVote) -> bool {
        let are_held = |id: &NodeId| self.wires.has_answers_for(*id, vote.former, ApiKey::Vote);
        vote.candidates.iter().all(are_held)
    }

    fn cut_off(&mut self, id: NodeId) {
        for other in self.members.clone() {
            self.wires.hold(id, other);
            self.wires.hold(other, id);
        }
    }

    pub(super) fn end_of(&mut self, id: NodeId) -> Option<i64> {
        Some(self.hosts.get_mut(&id)?.node_mut()?.quorum_end())
    }

    pub(super) fn role_of(&mut self, id: NodeId) -> Option<(i32, RoleName)> {
        Some(self.hosts.get_mut(&id)?.node_mut()?.quorum_role())
    }
}
