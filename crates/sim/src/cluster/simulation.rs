//! A run of a cluster: nodes, clients and what goes wrong, all decided by a seed.

mod failover;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ottla_log::disk::sim::Loss;
use ottla_record::Codec;
use ottla_types::{MonoMs, NodeId, Now, Timestamp};
use ottla_wire::messages::create_topics_request::Topic as NewTopic;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::actors::{Actor, Outside};
use super::harm::Harm;
use super::host::Host;
use super::observation::{NodeSeen, files, observe};
use super::properties::{self, ClusterProperty};
use super::wires::{Listener, Listening, Wires};
use crate::clients::{Client, Consumer, Producer, ProducerSettings};
use crate::event::Event;
use crate::log_files::LogFiles;
use crate::outcome::{Failure, Report};
use crate::rng::Rng;

pub use failover::{Victim, fail_over};

const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// Topics with one partition each.
const TOPICS: [&str; 2] = ["a", "b"];
/// Rounds with faults; a round is some milliseconds of virtual time.
const ROUNDS: u32 = 2_400;
/// Between two looks into all files, in rounds.
const LOOK_EACH: u32 = 250;
/// To serve again, and for everybody to come to an end, when nothing fails any more.
const END_WITHIN_MS: u64 = 90_000;
const LATENCY_MS: u64 = 12;
const CREATE_VERSION: i16 = 7;

/// Runs a seed and prints what happens.
pub fn run_printing(seed: u64) -> Result<Report, Box<Failure>> {
    let mut simulation = ClusterSimulation::new(seed);
    simulation.prints = true;
    simulation.run()
}

/// Runs a seed.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    ClusterSimulation::new(seed).run()
}

#[derive(Debug)]
struct ClusterSimulation {
    seed: u64,
    rng: Rng,
    now: Now,
    started: MonoMs,
    settings: Vec<(&'static str, &'static str)>,
    hosts: BTreeMap<NodeId, Host>,
    wires: Wires,
    actors: Vec<Actor>,
    next_connection_id: u64,
    events: Vec<Event>,
    properties: Vec<Box<dyn ClusterProperty>>,
    counts: BTreeMap<&'static str, u64>,
    /// Producers whose records all in-sync replicas are to have.
    acks_all: BTreeSet<u32>,
    /// When each topic has last acknowledged something to one of them, and the longest times in between.
    acknowledged_at: BTreeMap<String, MonoMs>,
    longest_gaps: BTreeMap<String, u64>,
    /// Who leads what, as it was seen last: for what is told of it.
    leaders: BTreeMap<String, (i32, NodeId)>,
    /// The machine that lost power last, while not all it lost is back: until then no other loses anything.
    poor: Option<NodeId>,
    trace: u64,
    has_faults: bool,
    prints: bool,
}

impl ClusterSimulation {
    fn new(seed: u64) -> ClusterSimulation {
        let mut rng = Rng::new(seed);
        let now = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1_000) };
        let settings = vec![
            ("default.replication.factor", "3"),
            ("min.insync.replicas", rng.pick(&["1", "2", "2"])),
            ("offsets.topic.replication.factor", "3"),
            ("broker.heartbeat.interval.ms", "300"),
            ("broker.session.timeout.ms", "3000"),
            ("replica.lag.time.max.ms", "3000"),
            ("replica.fetch.backoff.ms", "200"),
            ("replica.fetch.wait.max.ms", "300"),
            ("replica.socket.timeout.ms", "2000"),
            ("log.index.interval.bytes", "64"),
            ("log.roll.ms", "5000"),
        ];
        let hosts = MEMBERS.map(|id| (id, Host::new(id, rng.bits(), now)));
        let (actors, acks_all) = actors(&mut rng);
        ClusterSimulation {
            seed,
            rng,
            now,
            started: now.mono,
            settings,
            hosts: hosts.into(),
            wires: Wires::new(LATENCY_MS),
            actors,
            next_connection_id: 0,
            events: Vec::new(),
            properties: properties::all(&acks_all),
            counts: BTreeMap::new(),
            acks_all: acks_all.into_iter().collect(),
            acknowledged_at: BTreeMap::new(),
            longest_gaps: BTreeMap::new(),
            leaders: BTreeMap::new(),
            poor: None,
            trace: 0,
            has_faults: false,
            prints: false,
        }
    }

    fn run(mut self) -> Result<Report, Box<Failure>> {
        self.create_topics()?;
        self.has_faults = true;
        for round in 0..ROUNDS {
            self.round()?;
            if round % LOOK_EACH == 0 {
                self.look_through()?;
            }
        }
        self.has_faults = false;
        self.wires.mend();
        self.hosts.values_mut().for_each(|host| host.frozen_until = MonoMs(0));
        self.actors.iter_mut().for_each(|actor| actor.client.finish());
        let since = self.now.mono;
        while !(self.is_whole() && self.actors.iter().all(Actor::is_finished)) {
            self.round()?;
            if self.now.mono.since_ms(since) > END_WITHIN_MS {
                return Err(self.failure("everybody is served again when faults stop", self.describe()));
            }
        }
        // Followers hear of the last high watermark with a fetch that finds nothing.
        for _ in 0..200 {
            self.round()?;
        }
        let (nodes, files) = self.see_all();
        for i in 0..self.properties.len() {
            let checked = self.properties[i].ended(&nodes, &files);
            checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
        }
        Ok(Report { seed: self.seed, trace: self.trace, counts: self.counts })
    }

    fn failure(&self, property: &str, what: String) -> Box<Failure> {
        let at_ms = self.now.mono.since_ms(self.started);
        Box::new(Failure { test: "clusters", seed: self.seed, at_ms, property: property.to_owned(), what })
    }

    fn describe(&self) -> String {
        let actors = self.actors.iter().filter(|actor| !actor.is_finished());
        let actors = actors.map(|actor| format!("{:?} {}", actor.target, actor.client.describe()));
        let hosts = self.hosts.values().map(|host| {
            let state = host.node().map(|node| node.node.lifecycle_state());
            format!("node {}: {state:?}", host.id)
        });
        hosts.chain(actors).collect::<Vec<_>>().join("\n")
    }

    fn count(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    fn say(&self, what: &dyn fmt::Display) {
        if self.prints {
            eprintln!("{}: {what}", self.now.mono.since_ms(self.started));
        }
    }

    /// All nodes serve, and all replicas are in sync.
    fn is_whole(&self) -> bool {
        self.hosts.values().all(Host::is_running)
            && TOPICS.iter().all(|topic| {
                let partitions =
                    self.hosts.values().filter_map(|host| host.node()?.node.replicas().partition(topic, 0));
                let leading: Vec<_> = partitions.filter(|partition| partition.is_leader()).collect();
                leading.len() == 1 && !leading[0].is_under_replicated()
            })
    }

    fn create_topics(&mut self) -> Result<(), Box<Failure>> {
        for _ in 0..3_000 {
            self.round()?;
            if self.hosts.values().all(Host::is_running) {
                break;
            }
        }
        let topics = TOPICS.map(|name| NewTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 3,
            ..NewTopic::default()
        });
        let request = CreateTopicsRequest { topics: topics.into(), timeout_ms: 10_000, ..Default::default() };
        let Some(node) = self.hosts.values_mut().find_map(Host::node_mut) else {
            return Err(self.failure("a cluster starts", self.describe()));
        };
        let answer = node.send(&request, CREATE_VERSION);
        for _ in 0..3_000 {
            self.round()?;
            if let Some(response) = answer.take::<CreateTopicsRequest>(CREATE_VERSION) {
                let response: CreateTopicsResponse = response;
                let refused = response.topics.iter().find(|topic| topic.error_code != 0);
                return refused
                    .map_or(Ok(()), |topic| Err(self.failure("topics are created", format!("{topic:?}"))));
            }
        }
        Err(self.failure("topics are created", self.describe()))
    }

    fn round(&mut self) -> Result<(), Box<Failure>> {
        let ms = self.rng.between(1, 20);
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        let now = self.now;
        self.hosts.values_mut().for_each(|host| host.pass_ms(ms, now));
        self.start_nodes()?;
        self.let_nodes_talk();
        self.serve_clients();
        self.step_nodes()?;
        self.let_nodes_talk();
        self.collect_answers();
        self.step_clients();
        self.judge()?;
        if self.has_faults {
            self.do_harm();
        }
        Ok(())
    }

    fn start_nodes(&mut self) -> Result<(), Box<Failure>> {
        for id in MEMBERS {
            let peers = self.wires.of(id);
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            let was_up = host.node().is_some();
            let started = host.start(&MEMBERS, &self.settings, peers, self.now);
            let is_up = host.node().is_some();
            started.map_err(|died| self.failure("a node starts", died.0))?;
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
        for id in MEMBERS {
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            let stepped = host.step(self.now);
            stepped.map_err(|died| self.failure("a node goes on", format!("node {id}: {}", died.0)))?;
        }
        Ok(())
    }

    fn serve_clients(&mut self) {
        for actor in &mut self.actors {
            let ways = [(&mut actor.link, actor.target), (&mut actor.finder, actor.asked)];
            for (link, to) in ways {
                if let Some(node) = reachable(&self.hosts, to, self.now) {
                    link.tell_abandoned(node);
                    link.deliver(node, self.now.mono);
                }
            }
        }
    }

    fn collect_answers(&mut self) {
        for actor in &mut self.actors {
            let ways = [(&mut actor.link, actor.target), (&mut actor.finder, actor.asked)];
            for (link, to) in ways {
                if let Some(node) = reachable(&self.hosts, to, self.now) {
                    link.collect(node, self.now.mono, &mut self.rng);
                }
            }
        }
    }

    fn step_clients(&mut self) {
        let listening: Vec<NodeId> =
            MEMBERS.into_iter().filter(|id| self.hosts[id].node().is_some()).collect();
        for actor in &mut self.actors {
            let mut outside = Outside {
                rng: &mut self.rng,
                now: self.now,
                events: &mut self.events,
                next_connection_id: &mut self.next_connection_id,
                listening: &listening,
            };
            actor.step(&mut outside);
        }
    }

    fn judge(&mut self) -> Result<(), Box<Failure>> {
        let nodes = observe(&mut self.hosts);
        self.note_leaders(&nodes);
        for event in std::mem::take(&mut self.events) {
            self.note(&format!("{event:?}"));
            match &event {
                Event::Acknowledged { partition, first, count, .. } => {
                    self.count("records acknowledged", *count);
                    if self.acks_all.contains(&first.producer) {
                        self.note_acknowledged(&partition.topic);
                    }
                }
                Event::Fetched { records, .. } => self.count("records fetched", records.len() as u64),
                _ => {}
            }
            if !matches!(event, Event::Fetched { .. } | Event::Acknowledged { .. }) {
                self.say(&format_args!("{event:?}"));
            }
            for i in 0..self.properties.len() {
                let checked = self.properties[i].heard(&event);
                checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
            }
        }
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
            let of_quorum = node.quorum.1.then(|| ("the quorum".to_owned(), node.quorum.0));
            let of_partitions =
                node.replicas.iter().filter_map(|(id, seen)| Some((id.to_string(), seen.leads_in?)));
            let leads: Vec<_> = of_partitions.chain(of_quorum).collect();
            for (what, epoch) in leads {
                let known = self.leaders.get(&what).is_some_and(|(known, _)| *known >= epoch);
                if !known {
                    let text = format!("node {} leads {what} in epoch {epoch}", node.id);
                    self.say(&text);
                    self.note(&text);
                    let kind = if what == "the quorum" { "quorum elections" } else { "partition elections" };
                    self.count(kind, 1);
                    self.leaders.insert(what, (epoch, node.id));
                }
            }
        }
    }

    fn see_all(&mut self) -> (Vec<NodeSeen>, BTreeMap<NodeId, Vec<LogFiles>>) {
        let nodes = observe(&mut self.hosts);
        let files = self.hosts.iter().filter_map(|(id, host)| Some((*id, files(host)?)));
        let files = files.collect();
        (nodes, files)
    }

    fn look_through(&mut self) -> Result<(), Box<Failure>> {
        let (nodes, files) = self.see_all();
        for i in 0..self.properties.len() {
            let checked = self.properties[i].looked_through(&nodes, &files);
            checked.map_err(|what| self.failure(self.properties[i].name(), what))?;
        }
        Ok(())
    }

    fn do_harm(&mut self) {
        if self.poor.is_some() && self.is_whole() {
            self.poor = None;
        }
        let (harm, cut) = Harm::next(&MEMBERS, &mut self.wires, &mut self.rng);
        if let Some(cut) = cut {
            self.say(&cut);
            self.count(cut, 1);
        }
        match harm {
            None => {}
            Some(Harm::Mend) => {
                self.say(&"all ways are mended");
                self.wires.mend();
            }
            Some(Harm::CutClient) => {
                let victim = self.rng.below(self.actors.len() as u64) as usize;
                let actor = &mut self.actors[victim];
                actor.link.cut(reachable(&self.hosts, actor.target, self.now), self.now.mono);
                self.count("clients cut off", 1);
            }
            Some(Harm::Freeze(id, ms)) => {
                let until = self.now.mono.plus_ms(ms as i64);
                if let Some(host) = self.hosts.get_mut(&id).filter(|host| host.node().is_some()) {
                    host.frozen_until = until;
                    self.say(&format_args!("node {id} stands still for {ms}"));
                    self.count("nodes stood still", 1);
                }
            }
            Some(Harm::Kill(id)) => self.end(id, false),
            Some(Harm::LosePower(id)) if self.poor.is_none() && self.is_whole() => {
                self.poor = Some(id);
                self.end(id, true);
            }
            Some(Harm::LosePower(_)) => {}
        }
    }

    fn end(&mut self, id: NodeId, loses_power: bool) {
        // While one machine has lost what it had, the others keep it.
        if self.poor.is_some_and(|poor| poor != id) || self.hosts[&id].node().is_none() {
            return;
        }
        let down_ms = self.rng.between(50, 6_000);
        self.end_for(id, loses_power, down_ms);
    }

    fn end_for(&mut self, id: NodeId, loses_power: bool, down_ms: u64) {
        let loss = loses_power
            .then(|| self.rng.pick(&[Loss::Everything, Loss::Nothing, Loss::Seeded, Loss::Seeded]));
        self.say(&format_args!("node {id} ends, for {down_ms}: {loss:?}"));
        self.count(if loses_power { "losses of power" } else { "kills" }, 1);
        for actor in &mut self.actors {
            if actor.target == Some(id) {
                actor.link.cut(None, self.now.mono);
            }
            if actor.asked == Some(id) {
                actor.finder.cut(None, self.now.mono);
            }
        }
        let until = self.now.mono.plus_ms(down_ms as i64);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.end(loss, until);
        }
        self.wires.process_ended(id, !loses_power, self.now);
    }
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
fn reachable(
    hosts: &BTreeMap<NodeId, Host>,
    id: Option<NodeId>,
    now: Now,
) -> Option<&crate::node::SteppedNode> {
    hosts.get(&id?).filter(|host| !host.is_frozen(now))?.node()
}

/// The clients, and the numbers of those producers whose records all in-sync replicas are to have.
fn actors(rng: &mut Rng) -> (Vec<Actor>, Vec<u32>) {
    let mut actors = Vec::new();
    let mut acks_all = Vec::new();
    let mut add = |name: String, topic: &str, client: Box<dyn Client>| {
        actors.push(Actor::new(name, topic, client, LATENCY_MS));
    };
    for (i, topic) in (0..).zip(TOPICS) {
        for n in 0..3 {
            let id = i * 10 + n;
            // One of each topic asks for less, and may lose records.
            let is_idempotent = n < 2;
            if is_idempotent {
                acks_all.push(id);
            }
            let settings = ProducerSettings {
                id,
                acks: if is_idempotent { -1 } else { 1 },
                is_idempotent,
                in_flight_max: if is_idempotent { rng.between(1, 5) as usize } else { 1 },
                codec: rng.pick(&[Codec::None, Codec::None, Codec::Lz4, Codec::Zstd]),
                version: rng.pick(&[9, 11, 12, 13]),
            };
            add(format!("producer {id}"), topic, Box::new(Producer::new(settings)));
        }
        let consumer = Consumer::new(i, rng.pick(&[11, 12, 13, 17]), (i % 2) as i8);
        add(format!("consumer {i}"), topic, Box::new(consumer));
    }
    (actors, acks_all)
}
