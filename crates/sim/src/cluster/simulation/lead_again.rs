//! A leader of three voters whose last records nobody has. Another one is elected, whose records nobody gets either; the first leads
//! once more, and the third voter gets its records of before, and nothing of its new epoch. Most of the voters have them then, and
//! still they are not decided (Raft, 5.4.2): the other one's records are of a later epoch, so that it is elected again, and they go.

use ottla_raft::RoleName;
use ottla_types::{MonoMs, NodeId};

use super::ClusterSimulation;

/// For voters to find out that nobody leads, and to elect somebody.
const ELECTED_WITHIN_MS: u64 = 8_000;
/// For the leader to hear how far the third voter is, and to act on it.
const HEARD_MS: u64 = 150;
/// For what the last leader decides to be heard.
const DECIDED_MS: u64 = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody hears the leader.
    Unheard,
    /// The other one leads, and is cut off.
    Back { ended_at: i64, epoch: i32 },
    /// The third voter has records of before, and hears nothing more.
    Half,
    /// The first is cut off, and the other one is not.
    Over,
    /// The other one leads.
    Decided,
}

#[derive(Debug)]
pub(super) struct LeadAgain {
    first: NodeId,
    /// Who is elected by the third, once it is known which that is.
    others: [NodeId; 2],
    stage: Stage,
    until: MonoMs,
}

impl ClusterSimulation {
    pub(super) fn lead_again(&mut self) {
        match self.lead_again.take() {
            Some(again) => self.go_on_to_lead_again(again),
            None if self.is_to_lead_again => self.begin_to_lead_again(),
            None => {}
        }
    }

    fn begin_to_lead_again(&mut self) {
        let Some((_, first)) = self.controller else { return };
        let may_fence = self.poor.is_none() || !self.poor_needs_others;
        if !may_fence || !self.has_quorum_to_itself() || self.wires.has_cuts() {
            return;
        }
        let Some(voters) = self.hosts.get_mut(&first).and_then(|host| Some(host.node_mut()?.quorum_voters()))
        else {
            return;
        };
        let leads = self.role_of(first).is_some_and(|(_, role)| role == RoleName::Leader);
        let are_well = voters.iter().all(|id| {
            let host = &self.hosts[id];
            host.node().is_some() && !host.is_stopping() && !host.is_frozen(self.now)
        });
        let others: Vec<NodeId> = voters.into_iter().filter(|id| *id != first).collect();
        let (Ok(others), true, true) = (<[NodeId; 2]>::try_from(others), leads, are_well) else { return };
        self.is_to_lead_again = false;
        self.say(&format_args!("nobody of {others:?} hears node {first}"));
        others.iter().for_each(|id| self.wires.hold(first, *id));
        let until = self.until(ELECTED_WITHIN_MS);
        self.lead_again = Some(LeadAgain { first, others, stage: Stage::Unheard, until });
    }

    fn go_on_to_lead_again(&mut self, again: LeadAgain) {
        let LeadAgain { first, others: [other, third], stage, until } = again;
        let is_over = until <= self.now.mono;
        let next = match stage {
            Stage::Unheard if !is_over => self.find_elected(first, [other, third]),
            Stage::Back { ended_at, epoch } if !is_over => {
                let has_more = self.end_of(third).is_some_and(|end| end > ended_at);
                let leads = matches!(self.role_of(first), Some((led, RoleName::Leader)) if led > epoch);
                let is_half = self.last_epoch_of(third).is_some_and(|last| last < epoch);
                (has_more && leads && is_half).then(|| {
                    self.say(&format_args!("node {third} has records of before of node {first}"));
                    self.count("leaders that led again", 1);
                    self.wires.hold(first, third);
                    ([other, third], Stage::Half, HEARD_MS)
                })
            }
            Stage::Half if is_over => {
                self.wires.hold(third, first);
                self.wires.let_go(other, third);
                self.wires.let_go(third, other);
                Some(([other, third], Stage::Over, ELECTED_WITHIN_MS))
            }
            Stage::Over if !is_over => {
                let leads = matches!(self.role_of(other), Some((_, RoleName::Leader)));
                let is_heard = leads && self.end_of(third) == self.end_of(other);
                is_heard.then_some(([other, third], Stage::Decided, DECIDED_MS))
            }
            _ => None,
        };
        match next {
            Some((others, stage, ms)) => {
                self.lead_again = Some(LeadAgain { first, others, stage, until: self.until(ms) });
            }
            None if is_over => {
                self.is_to_look = true;
                let all = [first, other, third];
                for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
                    self.wires.let_go(from, to);
                }
            }
            None => self.lead_again = Some(LeadAgain { first, others: [other, third], stage, until }),
        }
    }

    /// As soon as one of the others leads nobody hears it, and the first is heard by the third.
    fn find_elected(&mut self, first: NodeId, others: [NodeId; 2]) -> Option<([NodeId; 2], Stage, u64)> {
        let leads = |role: Option<(i32, RoleName)>| role.filter(|(_, role)| *role == RoleName::Leader);
        let [a, b] = others;
        let (other, third, epoch) = match (leads(self.role_of(a)), leads(self.role_of(b))) {
            (Some((epoch, _)), _) => (a, b, epoch),
            (_, Some((epoch, _))) => (b, a, epoch),
            _ => return None,
        };
        let ended_at = self.end_of(third)?;
        // Or they are nothing that could be decided.
        if self.end_of(first).is_none_or(|end| end <= ended_at) {
            return None;
        }
        self.say(&format_args!("node {other} leads and is cut off, and {third} hears {first} again"));
        for id in [first, third] {
            self.wires.hold(other, id);
            self.wires.hold(id, other);
        }
        self.wires.let_go(first, third);
        Some(([other, third], Stage::Back { ended_at, epoch }, ELECTED_WITHIN_MS))
    }

    fn last_epoch_of(&mut self, id: NodeId) -> Option<i32> {
        Some(self.hosts.get_mut(&id)?.node_mut()?.quorum_last_epoch())
    }
}
