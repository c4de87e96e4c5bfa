//! A broker that loses what it has while its leader's word that it has caught up is on its way to the controller: when that
//! arrives, another process of it is there, which lacks records. Its machine is back at once and refuses connections, which is
//! proof for the controller that the former process is gone: it lets the next one in before its session would be over.

use ottla_log::disk::sim::Loss;
use ottla_types::{MonoMs, NodeId};
use ottla_wire::ApiKey;

use super::ClusterSimulation;
use crate::cluster::host::Host;

/// Long enough for the others to go on without it.
const AWAY_MS: u64 = 300;
/// For it to catch up.
const WITHIN_MS: u64 = 5_000;
/// Long enough for the controller to look for the process.
const DOWN_MS: u64 = 250;
/// Shorter than the leader's session, and long enough for the next process to be let in by the controller.
const HELD_UP_MS: u64 = 1_500;

#[derive(Debug)]
pub(super) struct LetIn {
    follower: NodeId,
    /// What is cut, once it has lost what it had.
    cut: Vec<(NodeId, NodeId)>,
    until: MonoMs,
}

impl ClusterSimulation {
    pub(super) fn let_brokers_in(&mut self) {
        match &self.let_in {
            Some(_) => self.go_on_letting_in(),
            None => self.begin_to_let_in(),
        }
    }

    fn begin_to_let_in(&mut self) {
        let Some(choice) = self.to_let_in else { return };
        let controller = self.controller.map(|(_, leader)| leader);
        // It counts as lost already, and no other machine may.
        let is_one = |id: &NodeId| {
            self.hosts[id].is_running()
                && Some(*id) != controller
                && self.ended.iter().all(|ended| ended == id)
        };
        let brokers: Vec<NodeId> = self.shape.brokers().into_iter().filter(is_one).collect();
        let Some(follower) = brokers.get(choice as usize % brokers.len().max(1)).copied() else { return };
        if self.poor.is_none() && !self.poor_needs_others && self.may_end(follower) {
            self.to_let_in = None;
            self.end(follower, None, AWAY_MS);
            self.let_in = Some(LetIn { follower, cut: Vec::new(), until: self.until(WITHIN_MS) });
        }
    }

    fn go_on_letting_in(&mut self) {
        let Some(let_in) = self.let_in.take() else { return };
        let LetIn { follower, cut, until } = let_in;
        if until <= self.now.mono {
            cut.into_iter().for_each(|(from, to)| self.wires.let_go(from, to));
            return;
        }
        let asked = match cut.is_empty() && self.hosts[&follower].is_running() {
            true => {
                // Where they are one, what is cut would keep it from looking for the follower.
                let is_apart =
                    |(from, to): &(NodeId, NodeId)| from != to && ![*from, *to].contains(&follower);
                self.wires.under_way(ApiKey::AlterPartition).find(is_apart)
            }
            false => None,
        };
        let has_others = || self.ended.iter().any(|id| *id != follower);
        match asked {
            None => self.let_in = Some(LetIn { follower, cut, until }),
            Some(_) if self.poor.is_some() || has_others() => {}
            Some((leader, controller)) => {
                let cut = vec![(leader, controller), (leader, follower), (follower, leader)];
                cut.iter().for_each(|(from, to)| self.wires.hold(*from, *to));
                self.say(&format_args!(
                    "node {follower} loses what it has, which {leader} is about to let in"
                ));
                self.poor = Some(follower);
                self.end(follower, Some(Loss::Everything), DOWN_MS);
                self.hosts.get_mut(&follower).into_iter().for_each(Host::have_power);
                self.process_ended(follower, true);
                self.count("brokers that lost what they were let in with", 1);
                self.let_in = Some(LetIn { follower, cut, until: self.until(HELD_UP_MS) });
            }
        }
    }
}
