//! A run of a cluster: nodes, clients and what goes wrong, all decided by a seed.

mod beginning;
mod failover;
mod flapping;
mod harm;
mod lead_again;
mod let_in;
mod machines;
mod split_quorum;
mod split_vote;
mod unclean;
mod wholeness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::actors::{Actor, Outside};
use super::cast::{self, PLAIN};
use super::host::Host;
use super::observation::{NodeSeen, look, observe};
use super::plan::{Fault, Plan, Planned};
use super::properties::{self, ClusterProperty};
use super::shape::Shape;
use super::wires::{Listener, Listening, Wires};
use crate::cast::{DELIVERY_COUNT_LIMIT, RECORD_LOCK_MS, SHORT_TIMES};
use crate::clients::Machines;
use crate::event::{Event, UncleanElection};
use crate::network::Late;
use crate::node::SteppedNode;
use crate::outcome::{Failure, Report};
use crate::properties::Promises;
use crate::rng::Rng;
use crate::telling;
use flapping::Flapping;
use lead_again::LeadAgain;
use let_in::LetIn;
use ottla_config::RACK_AWARE_REPLICA_SELECTOR;
use ottla_metadata::MetadataVersion;
use ottla_types::{MonoMs, NodeId, Now, Timestamp, TopicPartition};
use split_quorum::SplitQuorum;
use split_vote::SplitVote;
use unclean::Unclean;

pub use failover::{
    Misfortune, SESSION_MS, Victim, create_without_room, fail_over, fence_without_room,
    is_fenced_though_needed, tell_without_metadata,
};

/// Rounds with faults; a round is some milliseconds of virtual time.
const ROUNDS: u32 = 2_400;
/// Between two looks into all files, in rounds.
const LOOK_EACH: u32 = 300;
/// To serve again, and for everybody to come to an end, when nothing fails any more.
const END_WITHIN_MS: u64 = 90_000;
/// To stop in order; after that a process is killed.
const STOP_WITHIN_MS: u64 = 5_000;
const LATENCY_MS: u64 = 12;

/// What clusters are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Three nodes, which all are brokers and controllers.
    Three,
    /// More nodes than that, with an operator who moves what is on them.
    Wide,
}

/// Runs a seed and prints what happens.
pub fn run_printing(kind: Kind, seed: u64) -> Result<Report, Box<Failure>> {
    run_with(kind, seed, &plan_of(kind, seed), true)
}

/// Runs a seed.
pub fn run(kind: Kind, seed: u64) -> Result<Report, Box<Failure>> {
    run_with(kind, seed, &plan_of(kind, seed), false)
}

/// What goes wrong in a seed's run.
pub(super) fn plan_of(kind: Kind, seed: u64) -> Plan {
    match kind {
        Kind::Three => Plan::draw(seed, ROUNDS, &Shape::three().ids()),
        Kind::Wide => {
            let shape = Shape::wide(seed);
            Plan::draw_wide(seed, ROUNDS, &shape.ids(), &shape.brokers())
        }
    }
}

/// Runs a seed with other faults than its own.
pub(super) fn run_with(kind: Kind, seed: u64, plan: &Plan, prints: bool) -> Result<Report, Box<Failure>> {
    let mut simulation = ClusterSimulation::new(kind, seed);
    simulation.plan = plan.0.iter().copied().collect();
    simulation.prints = prints;
    if prints {
        telling::listen();
    }
    simulation.run()
}

#[derive(Debug)]
struct ClusterSimulation {
    kind: Kind,
    seed: u64,
    shape: Shape,
    members: Vec<NodeId>,
    machines: Arc<Machines>,
    rng: Rng,
    now: Now,
    started: MonoMs,
    /// Since when there are faults.
    begun: MonoMs,
    settings: Vec<(&'static str, &'static str)>,
    /// The levels of features that the cluster begins with.
    begins_at: MetadataVersion,
    hosts: BTreeMap<NodeId, Host>,
    wires: Wires,
    actors: Vec<Box<dyn Actor>>,
    /// What clients sent on connections that they have given up, and when it arrives at which node.
    late: Vec<(MonoMs, NodeId, Late)>,
    /// What goes wrong yet.
    plan: VecDeque<Planned>,
    /// What goes wrong as soon as one machine may lose what it has.
    postponed: Option<Fault>,
    /// Whom all other replicas of a partition are to leave behind, and when.
    left_behind: Option<(MonoMs, NodeId)>,
    flapping: Option<Flapping>,
    /// As soon as it can be done.
    vote_to_split: Option<u64>,
    split_vote: Option<SplitVote>,
    /// Likewise.
    to_let_in: Option<u64>,
    let_in: Option<LetIn>,
    /// Likewise.
    quorum_to_split: Option<u64>,
    split_quorum: Option<SplitQuorum>,
    /// Likewise.
    is_to_lead_again: bool,
    lead_again: Option<LeadAgain>,
    /// All files are to be looked into at once.
    is_to_look: bool,
    unclean: Unclean,
    next_connection_id: u64,
    events: Vec<Event>,
    properties: Vec<Box<dyn ClusterProperty>>,
    counts: BTreeMap<&'static str, u64>,
    /// Producers whose records fewer than all in-sync replicas have when they are acknowledged.
    fewer_acks: BTreeSet<u32>,
    /// When each topic without transactions has last acknowledged something to one of the others, and the longest times in
    /// between.
    acknowledged_at: BTreeMap<String, MonoMs>,
    longest_gaps: BTreeMap<String, u64>,
    /// Who leads what, as it was seen last.
    leaders: BTreeMap<TopicPartition, (i32, NodeId)>,
    controller: Option<(i32, NodeId)>,
    /// The machine that lost power last, while not all it lost is back: until then no other loses anything.
    poor: Option<NodeId>,
    /// Whose processes were ended since all was whole: what they have may count as lost.
    ended: BTreeSet<NodeId>,
    /// The in-sync replicas may come down to one that loses what it has (`min.insync.replicas` is 1), or it leads again though
    /// it has (no eligible leaders, KIP-966): while a machine is poor, the others are in sync.
    poor_needs_others: bool,
    trace: u64,
    has_faults: bool,
    prints: bool,
}

impl ClusterSimulation {
    fn new(kind: Kind, seed: u64) -> ClusterSimulation {
        let shape = match kind {
            Kind::Three => Shape::three(),
            Kind::Wide => Shape::wide(seed),
        };
        let mut rng = Rng::new(seed);
        let now = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1_000) };
        let mut settings = vec![
            ("default.replication.factor", "3"),
            ("min.insync.replicas", "2"),
            ("offsets.topic.replication.factor", "3"),
            ("broker.heartbeat.interval.ms", "300"),
            ("broker.session.timeout.ms", "3000"),
            ("replica.lag.time.max.ms", "3000"),
            ("replica.fetch.backoff.ms", "200"),
            ("replica.fetch.wait.max.ms", "300"),
            ("replica.socket.timeout.ms", "2000"),
            ("replica.selector.class", RACK_AWARE_REPLICA_SELECTOR),
            ("log.index.interval.bytes", "64"),
            ("log.roll.ms", "5000"),
            ("transaction.state.log.replication.factor", "3"),
            ("transaction.state.log.min.isr", "2"),
            ("share.coordinator.state.topic.replication.factor", "3"),
            ("share.coordinator.state.topic.min.isr", "2"),
        ];
        settings.extend(SHORT_TIMES);
        let poor_needs_others = rng.one_in(2);
        if poor_needs_others && rng.one_in(2) {
            settings.push(("min.insync.replicas", "1"));
        }
        if shape.log_dirs.len() > 1 {
            settings.push(("log.dirs", "/data,/other"));
        }
        if shape.joins_by_itself {
            settings.push(("controller.quorum.auto.join.enable", "true"));
        }
        let members = shape.members.iter();
        let hosts = members.map(|member| (member.id, Host::new(*member, &shape, rng.bits(), now)));
        let hosts = hosts.collect();
        let machines = Arc::new(Machines::default());
        let mut cast = cast::draw(poor_needs_others, kind == Kind::Wide, &mut rng);
        if kind == Kind::Wide {
            // Of the metadata a follower gets one batch after the other.
            if rng.one_in(2) {
                settings.push(("controller.quorum.fetch.max.bytes", "1"));
            }
            cast.add_operators(&shape, &machines, poor_needs_others);
            cast.add_unclean(&mut rng);
            cast.add_end_askers();
        }
        let promises = Promises {
            flushes_always: true,
            share_reads_committed: cast.share_reads_committed,
            record_lock_ms: RECORD_LOCK_MS,
            delivery_count_limit: DELIVERY_COUNT_LIMIT,
        };
        ClusterSimulation {
            kind,
            seed,
            members: shape.ids(),
            shape,
            machines,
            rng,
            now,
            started: now.mono,
            begun: MonoMs::NEVER,
            settings,
            begins_at: cast.begins_at,
            hosts,
            wires: Wires::new(LATENCY_MS),
            actors: cast.actors,
            late: Vec::new(),
            plan: VecDeque::new(),
            postponed: None,
            left_behind: None,
            flapping: None,
            vote_to_split: None,
            split_vote: None,
            to_let_in: None,
            let_in: None,
            quorum_to_split: None,
            split_quorum: None,
            is_to_lead_again: false,
            lead_again: None,
            is_to_look: false,
            unclean: Unclean::default(),
            next_connection_id: 0,
            events: Vec::new(),
            properties: properties::all(&cast.fewer_acks, promises),
            counts: BTreeMap::new(),
            fewer_acks: cast.fewer_acks,
            acknowledged_at: BTreeMap::new(),
            longest_gaps: BTreeMap::new(),
            leaders: BTreeMap::new(),
            controller: None,
            poor: None,
            ended: BTreeSet::new(),
            poor_needs_others,
            trace: 0,
            has_faults: false,
            prints: false,
        }
    }

    fn run(mut self) -> Result<Report, Box<Failure>> {
        self.create_topics()?;
        self.has_faults = true;
        self.begun = self.now.mono;
        if let Some(name) = self.shape.name {
            self.count(name, 1);
        }
        for round in 0..ROUNDS {
            self.round()?;
            while let Some(planned) = self.plan.pop_front_if(|planned| planned.round <= round) {
                self.go_wrong(planned.fault);
            }
            self.go_on_with_harm();
            if std::mem::take(&mut self.is_to_look) || round % LOOK_EACH == 0 {
                self.look_through()?;
            }
        }
        self.has_faults = false;
        self.end_harm();
        self.actors.iter_mut().for_each(|actor| actor.client_mut().finish());
        self.run_to_the_end()?;
        self.actors.iter_mut().for_each(|actor| actor.client_mut().conclude());
        self.run_to_the_end()?;
        // Followers hear of the last high watermark with a fetch that finds nothing.
        for _ in 0..200 {
            self.round()?;
        }
        self.count("requests that came late", self.wires.late_requests);
        let seen = look(&mut self.hosts, &self.leaders);
        for i in 0..self.properties.len() {
            let checked = self.properties[i].ended(&seen);
            checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
        }
        Ok(Report { seed: self.seed, trace: self.trace, counts: self.counts })
    }

    /// Goes on until everything serves, everybody has come to an end, and no transaction is open.
    fn run_to_the_end(&mut self) -> Result<(), Box<Failure>> {
        let since = self.now.mono;
        while !self.has_come_to_rest() {
            self.round()?;
            if self.now.mono.since_ms(since) > END_WITHIN_MS {
                return Err(self.failure("everybody is served again when faults stop", self.describe()));
            }
        }
        Ok(())
    }

    fn failure(&self, property: &str, what: String) -> Box<Failure> {
        let at_ms = self.now.mono.since_ms(self.started);
        let test = match self.kind {
            Kind::Three => "clusters",
            Kind::Wide => "clusters wide_clusters",
        };
        Box::new(Failure { test, seed: self.seed, at_ms, property: property.to_owned(), what })
    }

    fn count(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    fn say(&self, what: &dyn fmt::Display) {
        if self.prints {
            eprintln!("{}: {what}", self.now.mono.since_ms(self.started));
        }
    }

    fn round(&mut self) -> Result<(), Box<Failure>> {
        let ms = self.rng.between(1, 20);
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        let now = self.now;
        self.hosts.values_mut().for_each(|host| host.pass_ms(ms, now));
        self.come_and_go();
        self.start_nodes()?;
        self.let_nodes_talk();
        self.serve_clients();
        self.step_nodes()?;
        self.let_nodes_talk();
        self.collect_answers();
        self.step_clients();
        self.judge()
    }

    fn start_nodes(&mut self) -> Result<(), Box<Failure>> {
        for id in self.members.clone() {
            let idles = self.hosts[&id].is_slow(self.now) && !self.rng.one_in(4);
            let peers = self.wires.of(id);
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            host.idles = idles;
            let was_up = host.node().is_some();
            let started = host.start(&self.shape, &self.settings, self.begins_at, peers, self.now);
            let is_up = host.node().is_some();
            match started {
                Ok(()) => {}
                Err(died) if host.doomed_until.is_some() || host.full_until.is_some() => {
                    self.die_of_disk(id, &died.0);
                    continue;
                }
                Err(died) => return Err(self.failure("a node starts", died.0)),
            }
            if is_up && !was_up {
                self.say(&format_args!("node {id} starts"));
                // Who still waits on a connection to its former process hears now that it is gone.
                self.wires.process_ended(id, true, self.now);
            }
        }
        Ok(())
    }

    fn let_nodes_talk(&mut self) {
        let listening = listening(&self.hosts, self.now);
        self.wires.step(&listening, self.now, &mut self.rng);
    }

    fn step_nodes(&mut self) -> Result<(), Box<Failure>> {
        for id in self.members.clone() {
            let now = self.now;
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            let stepped = host.step(now).and_then(|()| host.finish_stop(now));
            match stepped {
                Ok(false) => {}
                Ok(true) => {
                    self.say(&format_args!("node {id} has stopped"));
                    self.process_ended(id, true);
                }
                Err(died) if host.doomed_until.is_some() || host.full_until.is_some() => {
                    self.die_of_disk(id, &died.0);
                }
                Err(died) => return Err(self.failure("a node goes on", format!("node {id}: {}", died.0))),
            }
        }
        Ok(())
    }

    fn die_of_disk(&mut self, id: NodeId, why: &str) {
        self.say(&format_args!("node {id} dies of its disk: {why}"));
        self.count("nodes died of their disk", 1);
        let loses_power = self.hosts[&id].doomed_until.is_some();
        self.end_now(id, loses_power);
    }

    fn serve_clients(&mut self) {
        let (hosts, now) = (&self.hosts, self.now);
        let node_at = |id| reachable(hosts, id, now);
        for (_, to, late) in
            self.late.extract_if(.., |(due, to, _)| *due <= now.mono && node_at(Some(*to)).is_some())
        {
            if let Some(node) = node_at(Some(to)) {
                late.arrive(node);
            }
        }
        for actor in &mut self.actors {
            actor.deliver(&node_at, now.mono);
        }
    }

    fn collect_answers(&mut self) {
        let (hosts, now) = (&self.hosts, self.now);
        let node_at = |id| reachable(hosts, id, now);
        for actor in &mut self.actors {
            actor.collect(&node_at, now.mono, &mut self.rng);
            let lost = actor
                .ways()
                .into_iter()
                .filter_map(|(link, _)| std::mem::take(&mut link.was_cut).then(|| link.name().to_owned()));
            self.events.extend(lost.map(|client| Event::ConnectionLost { client }));
        }
    }

    fn step_clients(&mut self) {
        let listening: Vec<NodeId> =
            self.members.iter().copied().filter(|id| self.hosts[id].client_node().is_some()).collect();
        for actor in &mut self.actors {
            let mut outside = Outside {
                rng: &mut self.rng,
                now: self.now,
                events: &mut self.events,
                next_connection_id: &mut self.next_connection_id,
                listening: &listening,
                leaders: &self.leaders,
            };
            actor.step(&mut outside);
        }
    }

    fn judge(&mut self) -> Result<(), Box<Failure>> {
        let mut nodes = observe(&mut self.hosts);
        self.note_leaders(&nodes);
        self.settle_unclean();
        for event in std::mem::take(&mut self.events) {
            self.note(&format!("{event:?}"));
            if let Some((what, times)) = event.tally() {
                self.count(what, times);
            }
            if let Event::Acknowledged { partition, first, .. } = &event
                && !self.fewer_acks.contains(&first.producer)
                && PLAIN.contains(&&*partition.topic)
            {
                self.note_acknowledged(&partition.topic);
            }
            if !is_told_often(&event) {
                self.say(&format_args!("{event:?}"));
            }
            if self.hides(&event) {
                continue;
            }
            for i in 0..self.properties.len() {
                let checked = self.properties[i].heard(&event);
                checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
            }
        }
        self.unclean.hide_of_nodes(&mut nodes);
        for i in 0..self.properties.len() {
            let checked = self.properties[i].observed(&nodes);
            checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
        }
        Ok(())
    }

    fn note_acknowledged(&mut self, topic: &str) {
        let now = self.now.mono;
        let before = self.acknowledged_at.insert(topic.to_owned(), now).unwrap_or(now);
        let longest = self.longest_gaps.entry(topic.to_owned()).or_default();
        *longest = now.since_ms(before).max(*longest);
    }

    /// FNV-1a of all that happens.
    fn note(&mut self, what: &str) {
        let start = self.trace ^ 0xcbf2_9ce4_8422_2325;
        self.trace = what.bytes().fold(start, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    }

    fn note_leaders(&mut self, nodes: &[NodeSeen]) {
        for node in nodes {
            let (epoch, leads) = node.quorum;
            if leads && self.controller.is_none_or(|(known, _)| known < epoch) {
                self.controller = Some((epoch, node.id));
                self.note_leader(node.id, &"the quorum", epoch, "quorum elections");
            }
            for (partition, seen) in &node.replicas {
                let Some(epoch) = seen.leads_in else { continue };
                if self.leaders.get(partition).is_none_or(|(known, _)| *known < epoch) {
                    self.leaders.insert(partition.clone(), (epoch, node.id));
                    self.events.push(Event::Led { partition: partition.clone(), at: self.now.mono });
                    self.note_leader(node.id, partition, epoch, "partition elections");
                }
            }
        }
    }

    fn note_leader(&mut self, id: NodeId, what: &dyn fmt::Display, epoch: i32, kind: &'static str) {
        let text = format!("node {id} leads {what} in epoch {epoch}");
        self.say(&text);
        self.note(&text);
        self.count(kind, 1);
    }

    fn look_through(&mut self) -> Result<(), Box<Failure>> {
        // A call of a disk that is to fail is one of the node's own.
        if self.hosts.values().any(|host| host.doomed_until.is_some()) {
            return Ok(());
        }
        let mut seen = look(&mut self.hosts, &self.leaders);
        self.unclean.hide_of(&mut seen);
        for i in 0..self.properties.len() {
            let checked = self.properties[i].looked_through(&seen);
            checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
        }
        Ok(())
    }
}

/// Too often to be read, or in other words besides.
fn is_told_often(event: &Event) -> bool {
    matches!(
        event,
        Event::Fetched { .. }
            | Event::Acknowledged { .. }
            | Event::Unanswered { .. }
            | Event::Led { .. }
            | Event::UncleanAsked { .. }
            | Event::UncleanAnswered { election: UncleanElection::NotMade, .. }
    )
}

fn listening<'a>(hosts: &'a BTreeMap<NodeId, Host>, now: Now) -> Listening<'a> {
    let listener = |host: &'a Host| match host.node() {
        Some(_) if host.is_frozen(now) => Some(Listener::Silent),
        Some(node) => Some(Listener::Node(node)),
        None if host.is_without_power() => Some(Listener::Silent),
        None => None,
    };
    hosts.iter().filter_map(|(id, host)| Some((*id, listener(host)?))).collect()
}

/// The node at the other end of a client's connection, if it can take anything now.
fn reachable(hosts: &BTreeMap<NodeId, Host>, id: Option<NodeId>, now: Now) -> Option<&SteppedNode> {
    hosts.get(&id?).filter(|host| !host.is_frozen(now))?.client_node()
}
