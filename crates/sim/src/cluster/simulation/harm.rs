//! Having go wrong what is planned.

use ottla_log::disk::Disk;
use ottla_log::disk::sim::Loss;
use ottla_types::{MonoMs, NodeId};

use super::{ClusterSimulation, Kind, STOP_WITHIN_MS, listening, reachable};
use crate::cluster::cast::UNCLEAN;
use crate::cluster::host::Host;
use crate::cluster::plan::{Fault, Shape};
use crate::event::Event;
use crate::node::DIR;

/// How long a machine is without power whose disk has failed.
const DOWN_MS: u64 = 1_000;
/// Who is to be left behind is away for so long; the others go on for a part of it, and are away themselves after that.
const BEHIND_MS: u64 = 1_600;
const GO_ON_MS: u64 = 1_400;
const GONE_MS: u64 = 6_000;
/// What a client sends arrives at most so much later.
const LATE_MS: u64 = 3_000;

impl ClusterSimulation {
    pub(super) fn go_wrong(&mut self, fault: Fault) {
        if self.poor.is_some() && self.poor_needs_others && fault.may_fence() {
            return;
        }
        // Time is short for both of its sides to do what they may.
        if self.split_quorum.is_some() && fault.ends_or_hinders() {
            return;
        }
        match fault {
            Fault::Mend => {
                if self.wires.has_cuts() {
                    self.say(&"all ways are mended");
                    self.wires.mend();
                }
            }
            Fault::Cut(shape) => self.cut(shape),
            Fault::Break { between, arrives_after_ms } => {
                let arrives = arrives_after_ms.map(|ms| self.until(ms));
                let listening = listening(&self.hosts, self.now);
                let broken = self.wires.break_between(between, arrives, &listening, self.now);
                self.say(&format_args!(
                    "{broken} connections break between {between:?}: {arrives_after_ms:?}"
                ));
                self.count("connections broken", broken as u64);
            }
            Fault::LeaveBehind { choice } => self.leave_behind(choice),
            Fault::CutClient { client, arrives } => {
                self.cut_client((client % self.actors.len() as u64) as usize, arrives);
            }
            Fault::Flap { choice } => self.begin_to_flap(choice),
            Fault::SplitVote { choice } => self.vote_to_split = Some(choice),
            Fault::LoseLetIn { choice } => self.to_let_in = Some(choice),
            Fault::SplitQuorum { choice } => self.quorum_to_split = Some(choice),
            Fault::LeadAgain => self.is_to_lead_again = true,
            Fault::StandStill { node, ms } => {
                let until = self.until(ms);
                if self.change_host(node, |host| host.frozen_until = until) {
                    self.say(&format_args!("node {node} stands still for {ms}"));
                    self.count("nodes stood still", 1);
                }
            }
            Fault::Slow { node, ms } => {
                let until = self.until(ms);
                if self.change_host(node, |host| host.slow_until = until) {
                    self.say(&format_args!("node {node} is slow for {ms}"));
                    self.count("nodes were slow", 1);
                }
            }
            Fault::SetClock { node, ahead_ms } => {
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.set_clock(ahead_ms);
                    self.say(&format_args!("the clock of node {node} is {ahead_ms} ahead"));
                    self.count("clocks were set", 1);
                    self.events.push(Event::ClockSet);
                }
            }
            // While one machine has lost what it had, the others keep it.
            Fault::Kill { node, down_ms } if self.may_end(node) => self.end(node, None, down_ms),
            Fault::Restart { node, down_ms } if self.may_end(node) => self.restart(node, down_ms),
            Fault::Kill { .. } | Fault::Restart { .. } => {}
            Fault::LosePower { .. }
            | Fault::FailDisk { .. }
            | Fault::FillDisk { .. }
            | Fault::FailDir { .. } => {
                self.postponed = Some(fault);
            }
        }
    }

    /// What was begun and goes on by itself.
    pub(super) fn go_on_with_harm(&mut self) {
        if self.poor.is_some() && self.is_whole() && self.hosts.values().all(is_well) {
            self.poor = None;
        }
        if self.kind == Kind::Wide && !self.ended.is_empty() && self.is_whole() {
            self.ended.clear();
        }
        self.leave_without_leader();
        self.flap();
        self.split_votes();
        self.let_brokers_in();
        self.split_quorums();
        self.lead_again();
        let is_next = self.postponed.is_some() && self.poor.is_none();
        if is_next && (self.may_lose_at_once() || self.is_whole() && self.may_be_poor()) {
            self.be_poor();
        }
        for id in self.members.clone() {
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            if host.full_until.is_some_and(|until| until <= self.now.mono) {
                host.make_room();
            }
            if host.doomed_until.is_some_and(|until| until <= self.now.mono) {
                self.end_now(id, true);
            }
        }
        let late: Vec<NodeId> = self
            .members
            .iter()
            .copied()
            .filter(|id| self.hosts[id].stops_too_long(STOP_WITHIN_MS, self.now))
            .collect();
        late.into_iter().for_each(|id| self.end_now(id, false));
    }

    /// Whatever is eligible to lead has all records, and one of two such machines may lose them: so it is where eligible leaders
    /// are known (KIP-966), as long as no process has ended of which nobody knows what it has lost, nor will because it takes too
    /// long to stop. (No move is taken back then.)
    fn may_lose_at_once(&self) -> bool {
        let is_other = |id: &NodeId| self.postponed.and_then(Fault::node) != Some(*id);
        let mut stopping = self.hosts.values().filter(|host| host.is_stopping()).map(|host| host.id);
        self.kind == Kind::Wide
            && !self.poor_needs_others
            && !self.ended.iter().any(is_other)
            && !stopping.any(|id| is_other(&id))
    }

    fn may_be_poor(&self) -> bool {
        let now = self.now;
        let are_heard = || self.hosts.values().all(|host| !host.is_frozen(now) && !host.is_slow(now));
        !self.poor_needs_others || (are_heard() && !self.wires.has_cuts())
    }

    /// One machine may lose what it has, or have no room for more.
    fn be_poor(&mut self) {
        match self.postponed.take() {
            Some(Fault::LosePower { node, down_ms, loss, corrupts }) => {
                self.poor = Some(node);
                let unsynced = self.hosts.get(&node).map(Host::unsynced_segments).unwrap_or_default();
                self.end(node, Some(loss), down_ms);
                if corrupts {
                    let choice = self.rng.bits();
                    let is_done =
                        self.hosts.get(&node).is_some_and(|host| host.corrupt_a_sector(unsynced, choice));
                    self.count("sectors corrupted", u64::from(is_done));
                }
            }
            Some(Fault::FailDisk { node, call, calls, ms }) => {
                self.poor = Some(node);
                let until = self.until(ms);
                self.change_host(node, |host| {
                    host.disk.fail_nth(call, calls);
                    host.doomed_until = Some(until);
                });
                self.say(&format_args!("a call of node {node}'s disk fails: {call:?}"));
                self.count("disks failed", 1);
            }
            Some(Fault::FailDir { node, ms }) => {
                let Some(dir) = self.shape.log_dirs.get(1) else { return };
                self.poor = Some(node);
                let until = self.until(ms);
                let fails = self.change_host(node, |host| {
                    host.disk.fail_dir(dir.as_ref());
                    host.doomed_until = Some(until);
                });
                self.say(&format_args!("{dir} of node {node} fails"));
                self.count("log directories failed", u64::from(fails));
            }
            Some(Fault::FillDisk { node, bytes, ms }) => {
                self.poor = Some(node);
                let until = self.until(ms);
                self.leave_room(node, bytes, until);
                self.count("disks were full", 1);
            }
            other => self.postponed = other,
        }
    }

    /// The hosts of the partition for which a leader that lacks records is better than none, and who leads it.
    fn hosts_of_unclean(&self) -> Vec<(NodeId, bool)> {
        let nodes = self.hosts.values().filter_map(|host| Some((host.id, host.node()?)));
        let replicas = nodes.flat_map(|(id, node)| {
            let partitions = node.node.replicas().partitions_of(UNCLEAN).into_iter();
            partitions.map(move |partition| (id, partition.is_leader()))
        });
        replicas.collect()
    }

    fn leave_behind(&mut self, choice: u64) {
        let followers: Vec<NodeId> =
            self.hosts_of_unclean().iter().filter(|(_, leads)| !leads).map(|(id, _)| *id).collect();
        let behind = followers.get(choice as usize % followers.len().max(1)).copied();
        let Some(behind) = behind.filter(|id| self.left_behind.is_none() && self.may_end(*id)) else {
            return;
        };
        self.end(behind, None, BEHIND_MS);
        self.left_behind = Some((self.until(GO_ON_MS), behind));
    }

    fn leave_without_leader(&mut self) {
        let Some((_, behind)) = self.left_behind.take_if(|(due, _)| *due <= self.now.mono) else { return };
        for (id, _) in self.hosts_of_unclean() {
            if id != behind && self.may_end(id) {
                self.end(id, None, GONE_MS);
            }
        }
        self.count("partitions left without those in sync", 1);
    }

    /// Leaves a disk room for so many bytes more.
    pub(super) fn cut(&mut self, shape: Shape) {
        self.say(&format_args!("{shape:?}"));
        self.count(shape.name(), 1);
        shape.ways(&self.members).into_iter().for_each(|(from, to)| self.wires.cut(from, to));
    }

    pub(super) fn leave_room(&mut self, node: NodeId, bytes: u64, until: MonoMs) {
        self.change_host(node, |host| {
            let space = host.disk.space(DIR.as_ref()).expect("space is told");
            host.disk.set_capacity_bytes(Some(space.total_bytes - space.usable_bytes + bytes));
            host.full_until = Some(until);
        });
        self.say(&format_args!("the disk of node {node} is full in {bytes}"));
    }

    pub(super) fn until(&self, ms: u64) -> MonoMs {
        self.now.mono.plus_ms(ms as i64)
    }

    /// Whether there is a process.
    pub(super) fn change_host(&mut self, id: NodeId, change: impl FnOnce(&mut Host)) -> bool {
        let host = self.hosts.get_mut(&id).filter(|host| host.node().is_some());
        host.map(change).is_some()
    }

    pub(super) fn may_end(&self, id: NodeId) -> bool {
        self.poor.is_none_or(|poor| poor == id) && self.hosts[&id].node().is_some()
    }

    pub(super) fn cut_client(&mut self, victim: usize, arrives: bool) {
        let (hosts, now) = (&self.hosts, self.now);
        let node_at = |id| reachable(hosts, id, now);
        let late = self.actors[victim].lose_connections(&node_at, now.mono, arrives);
        self.count("clients cut off", 1);
        if let Some((to, late)) = late.filter(|(_, late)| !late.is_empty()) {
            let later_ms = self.rng.between(1, LATE_MS);
            let due = self.until(later_ms);
            self.count("requests of clients that came late", 1);
            self.late.push((due, to, late));
        }
    }

    pub(super) fn restart(&mut self, id: NodeId, down_ms: u64) {
        if self.hosts[&id].is_stopping() || !self.hosts[&id].is_running() {
            return;
        }
        let now = self.now;
        self.change_host(id, |host| host.begin_stop(down_ms, now));
        self.say(&format_args!("node {id} is told to stop"));
        self.count("nodes stopped in order", 1);
    }

    pub(super) fn end_now(&mut self, id: NodeId, loses_power: bool) {
        let loss = loses_power.then(|| self.rng.pick(&[Loss::Everything, Loss::Nothing, Loss::Seeded]));
        self.end(id, loss, DOWN_MS);
    }

    /// Ends a process; with a loss the machine is without power.
    pub(super) fn end(&mut self, id: NodeId, loss: Option<Loss>, down_ms: u64) {
        self.say(&format_args!("node {id} ends, for {down_ms}: {loss:?}"));
        self.count(if loss.is_some() { "losses of power" } else { "kills" }, 1);
        self.ended.insert(id);
        let until = self.until(down_ms);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.end(loss, until);
        }
        self.process_ended(id, loss.is_none());
    }

    /// `is_heard`: its machine says so.
    pub(super) fn process_ended(&mut self, id: NodeId, is_heard: bool) {
        let now = self.now;
        self.actors.iter_mut().for_each(|actor| actor.process_ended(id, now.mono));
        self.late.retain(|(_, to, _)| *to != id);
        self.wires.process_ended(id, is_heard, now);
        self.events.push(Event::ProcessEnded);
    }

    /// Nothing fails any more.
    pub(super) fn end_harm(&mut self) {
        self.plan.clear();
        self.postponed = None;
        self.left_behind = None;
        self.flapping = None;
        (self.vote_to_split, self.split_vote) = (None, None);
        (self.to_let_in, self.let_in) = (None, None);
        (self.quorum_to_split, self.split_quorum) = (None, None);
        (self.is_to_lead_again, self.lead_again) = (false, None);
        self.wires.mend();
        self.wires.let_all_go();
        for id in self.members.clone() {
            if self.hosts[&id].doomed_until.is_some() {
                self.end_now(id, true);
            }
            if let Some(host) = self.hosts.get_mut(&id) {
                host.be_well();
            }
        }
    }
}

fn is_well(host: &Host) -> bool {
    host.doomed_until.is_none() && host.full_until.is_none()
}
