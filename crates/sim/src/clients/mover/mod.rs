//! An operator who moves partitions between brokers, as `kafka-reassign-partitions` does: with more or fewer replicas than before,
//! throttled for a while now and then, taken back now and then. Sometimes a broker is drained, and taken away where that is
//! allowed: it is forgotten then, and comes back later. In between preferred leaders are elected.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{MonoMs, NodeId, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AlterPartitionReassignmentsResponse, ElectLeadersResponse, IncrementalAlterConfigsResponse,
    ListPartitionReassignmentsResponse, MetadataResponse, UnregisterBrokerResponse,
};

use super::asking::{Asking, Said};
use super::machines::Machines;
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};
use requests::{
    ALTER_VERSION, CONFIGS_VERSION, ELECT_VERSION, LIST_VERSION, METADATA_VERSION, UNREGISTER_VERSION,
};

const RETRY_MS: i64 = 150;
/// What was sent and not answered may still be acted on for so long.
const LATE_MS: i64 = 8_000;
/// Between two things that it does, at most.
const PAUSE_MS: u64 = 900;
/// How long moves are throttled, at most.
const THROTTLED_MS: u64 = 2_500;
/// How long a broker is away, at most.
const AWAY_MS: u64 = 3_000;
/// A drained broker leaves so many that all replicas can be elsewhere.
const BROKERS_MIN: usize = 3;

#[derive(Clone, Debug)]
enum Asked {
    Brokers,
    Moves,
    Move(u64),
    Cancel,
    /// With true they are from now on.
    Throttle(bool),
    Elect,
    Forget(NodeId),
}

/// How far a broker is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Its replicas go elsewhere.
    Moving(NodeId),
    /// Its process is to stop.
    Leaving(NodeId),
    Away(NodeId, MonoMs),
}

impl Drain {
    fn broker(self) -> NodeId {
        match self {
            Drain::Moving(id) | Drain::Leaving(id) | Drain::Away(id, _) => id,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Mover {
    machines: Arc<Machines>,
    /// Brokers that may be taken away.
    may_leave: Vec<NodeId>,
    takes_back: bool,
    /// Those that are there, and who has which partition, as the metadata said last.
    brokers: Vec<i32>,
    replicas: BTreeMap<TopicPartition, Vec<i32>>,
    /// As the controller said last.
    under_way: BTreeSet<TopicPartition>,
    has_looked: bool,
    throttled_until: Option<MonoMs>,
    /// Until then moves may be throttled by what was sent on a connection that has ended.
    throttled_late_until: MonoMs,
    drain: Option<Drain>,
    asking: Asking<Asked>,
    is_finishing: bool,
    is_done: bool,
}

impl Mover {
    /// A move that is `taken back` takes away replicas that may be in sync by then, whoever is left.
    pub fn new(machines: Arc<Machines>, may_leave: Vec<NodeId>, takes_back: bool) -> Mover {
        Mover {
            machines,
            may_leave,
            takes_back,
            brokers: Vec::new(),
            replicas: BTreeMap::new(),
            under_way: BTreeSet::new(),
            has_looked: false,
            throttled_until: None,
            throttled_late_until: MonoMs(0),
            drain: None,
            asking: Asking::default(),
            is_finishing: false,
            is_done: false,
        }
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        match asked {
            Asked::Brokers => self.saw_brokers(&decode(body, METADATA_VERSION)),
            Asked::Moves => {
                let response: ListPartitionReassignmentsResponse = decode(body, LIST_VERSION);
                self.judge("ListPartitionReassignments", response.error_code, &[], world);
                if response.error_code == 0 {
                    self.saw_moves(response);
                }
            }
            Asked::Move(count) => {
                if self.altered(body, &[ErrorCode::InvalidReplicaAssignment], world) {
                    self.did("partitions moved", count, world);
                }
            }
            Asked::Cancel => {
                // Where only those that come are in sync it can't be taken back.
                let allowed = [ErrorCode::NoReassignmentInProgress, ErrorCode::InvalidReplicaAssignment];
                if self.altered(body, &allowed, world) {
                    self.did("moves taken back", 1, world);
                }
            }
            Asked::Throttle(is_throttled) => self.throttled(is_throttled, body, world),
            Asked::Elect => {
                let response: ElectLeadersResponse = decode(body, ELECT_VERSION);
                self.judge("ElectLeaders", response.error_code, &[], world);
                let results =
                    response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
                let elected = results.filter(|result| result.error_code == 0).count();
                self.did("preferred leaders elected", elected as u64, world);
            }
            Asked::Forget(id) => {
                let response: UnregisterBrokerResponse = decode(body, UNREGISTER_VERSION);
                let is_forgotten = response.error_code == ErrorCode::BrokerIdNotRegistered.code();
                let code = if is_forgotten { 0 } else { response.error_code };
                self.judge("UnregisterBroker", code, &[], world);
                if code == 0 {
                    self.did("brokers taken away", 1, world);
                    let away_ms = world.rng.between(200, AWAY_MS) as i64;
                    self.drain = Some(Drain::Away(id, world.mono().plus_ms(away_ms)));
                }
            }
        }
    }

    fn did(&mut self, what: &'static str, times: u64, world: &mut World<'_>) {
        world.events.push(Event::Counted { what, times });
        self.has_looked = false;
        let pause_ms = world.rng.below(PAUSE_MS) as i64;
        self.asking.wait_ms(pause_ms, world);
    }

    /// What can be tried again is, later.
    fn judge(&mut self, what: &str, code: i16, allowed: &[ErrorCode], world: &mut World<'_>) {
        if code != 0 {
            self.has_looked = false;
            self.asking.wait_ms(RETRY_MS, world);
            if !is_retriable(code) && !allowed.iter().any(|allowed| allowed.code() == code) {
                world.unexpected("mover", what, code);
            }
        }
    }

    /// Whether all of it was taken.
    fn altered(&mut self, body: &Bytes, allowed: &[ErrorCode], world: &mut World<'_>) -> bool {
        let response: AlterPartitionReassignmentsResponse = decode(body, ALTER_VERSION);
        let of_partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        let codes = of_partitions.map(|partition| partition.error_code).chain([response.error_code]);
        let codes: Vec<i16> = codes.collect();
        for code in &codes {
            self.judge("AlterPartitionReassignments", *code, allowed, world);
        }
        codes.iter().all(|code| *code == 0)
    }

    fn throttled(&mut self, is_throttled: bool, body: &Bytes, world: &mut World<'_>) {
        let response: IncrementalAlterConfigsResponse = decode(body, CONFIGS_VERSION);
        let code = response.responses.iter().map(|resource| resource.error_code).find(|code| *code != 0);
        self.judge("IncrementalAlterConfigs", code.unwrap_or(0), &[], world);
        if code.is_some() {
            return;
        }
        if is_throttled {
            let ms = world.rng.between(500, THROTTLED_MS) as i64;
            self.throttled_until = Some(world.mono().plus_ms(ms));
            self.did("moves throttled", 1, world);
        } else {
            self.throttled_until = None;
            self.did("throttles lifted", 1, world);
        }
    }

    fn saw_brokers(&mut self, response: &MetadataResponse) {
        self.brokers = response.brokers.iter().map(|broker| broker.node_id).collect();
        self.brokers.sort_unstable();
        self.replicas.clear();
        for topic in &response.topics {
            let Some(name) = topic.name.as_deref() else { continue };
            for partition in &topic.partitions {
                let replicas = partition.replica_nodes.clone();
                self.replicas.insert(TopicPartition::new(name, partition.partition_index), replicas);
            }
        }
    }

    fn saw_moves(&mut self, response: ListPartitionReassignmentsResponse) {
        let of_topics = response.topics.into_iter().flat_map(|topic| {
            let partitions = topic.partitions.into_iter();
            partitions
                .map(move |partition| TopicPartition::new(topic.name.clone(), partition.partition_index))
        });
        self.under_way = of_topics.collect();
        self.has_looked = true;
        let is_at_rest = self.under_way.is_empty() && self.throttled_until.is_none() && self.drain.is_none();
        self.is_done = self.is_finishing && is_at_rest;
    }

    /// Some of the brokers that are there, in any order; none where they are too few.
    fn draw_replicas(&self, world: &mut World<'_>) -> Option<Vec<i32>> {
        let leaves = self.drain.map(|drain| drain.broker().value());
        let mut rest: Vec<i32> = self.brokers.iter().copied().filter(|id| Some(*id) != leaves).collect();
        let factor = world.rng.pick(&[2, 3, 3, 3, 3, 4]).min(rest.len());
        if factor < 2 {
            return None;
        }
        let mut drawn = Vec::new();
        for _ in 0..factor {
            drawn.push(rest.swap_remove(world.rng.below(rest.len() as u64) as usize));
        }
        Some(drawn)
    }

    /// Moves some partitions elsewhere, or, of a broker that leaves, all that it still has.
    fn moves(&self, world: &mut World<'_>) -> BTreeMap<TopicPartition, Option<Vec<i32>>> {
        let mut moves = BTreeMap::new();
        let names: Vec<&TopicPartition> = self.replicas.keys().collect();
        if let Some(Drain::Moving(id)) = self.drain {
            let left = self.replicas.iter().filter(|(_, replicas)| replicas.contains(&id.value()));
            for (partition, _) in left.filter(|(partition, _)| !self.under_way.contains(*partition)) {
                moves.insert(partition.clone(), self.draw_replicas(world));
            }
        } else if !names.is_empty() {
            for _ in 0..world.rng.between(1, 3) {
                let partition = names[world.rng.below(names.len() as u64) as usize].clone();
                moves.insert(partition, self.draw_replicas(world));
            }
        }
        moves.retain(|_, replicas| replicas.is_some());
        moves
    }

    fn has_replicas(&self, id: NodeId) -> bool {
        self.replicas.values().any(|replicas| replicas.contains(&id.value()))
    }

    /// Sends what is next, if anything is.
    fn act(&mut self, link: &mut Link, world: &mut World<'_>) {
        let now = world.mono();
        let is_over = |until| (self.is_finishing || until <= now) && self.throttled_late_until <= now;
        if self.throttled_until.is_some_and(is_over) {
            return self.throttle(false, link, world);
        }
        match self.drain {
            Some(Drain::Moving(id)) if self.has_replicas(id) => {}
            Some(Drain::Moving(id)) => {
                let leaves = self.may_leave.contains(&id) && !self.is_finishing;
                if leaves {
                    self.machines.take_away(id);
                }
                self.drain = leaves.then_some(Drain::Leaving(id));
                return self.did("brokers drained", 1, world);
            }
            Some(Drain::Leaving(id)) => {
                if self.machines.is_away(id) {
                    let ticket =
                        link.send(&requests::forget(id), UNREGISTER_VERSION, world.now.mono, world.rng);
                    self.asking.ask(ticket, Asked::Forget(id));
                }
                return;
            }
            Some(Drain::Away(id, until)) if until <= world.mono() || self.is_finishing => {
                self.machines.bring_back(id);
                self.drain = None;
            }
            Some(Drain::Away(..)) | None => {}
        }
        if self.is_finishing && !matches!(self.drain, Some(Drain::Moving(_))) {
            self.has_looked = false;
            return self.asking.wait_ms(RETRY_MS, world);
        }
        if self.is_to_go_on_draining() && !world.rng.one_in(4) {
            return self.begin_moves(link, world);
        }
        match world.rng.below(if self.drain.is_some() { 8 } else { 11 }) {
            0 | 1 => self.elect(link, world),
            2 if self.throttled_until.is_none() && self.drain.is_none() && !self.is_finishing => {
                self.throttle(true, link, world)
            }
            3 | 4 if self.takes_back && !self.under_way.is_empty() && !self.is_finishing => {
                self.cancel(link, world)
            }
            8.. if self.brokers.len() > BROKERS_MIN => {
                let id = self.to_drain(world);
                self.drain = Some(Drain::Moving(id));
            }
            _ => self.begin_moves(link, world),
        }
    }

    /// Rather one that may leave, that it does, and the one that has the least to move: the run is short.
    fn to_drain(&self, world: &mut World<'_>) -> NodeId {
        let is_there = |id: &&NodeId| self.brokers.contains(&id.value());
        let replicas_on =
            |id: &NodeId| self.replicas.values().filter(|replicas| replicas.contains(&id.value())).count();
        let leaves = self.may_leave.iter().filter(is_there).min_by_key(|id| replicas_on(id));
        match leaves.filter(|_| !world.rng.one_in(4)) {
            Some(id) => *id,
            None => NodeId(world.rng.pick(&self.brokers)),
        }
    }

    /// Whether there is something on a broker that leaves which is not on its way elsewhere.
    fn is_to_go_on_draining(&self) -> bool {
        let Some(Drain::Moving(id)) = self.drain else { return false };
        let mut left = self.replicas.iter().filter(|(_, replicas)| replicas.contains(&id.value()));
        left.any(|(partition, _)| !self.under_way.contains(partition))
    }

    fn begin_moves(&mut self, link: &mut Link, world: &mut World<'_>) {
        let moves = self.moves(world);
        if moves.is_empty() {
            self.has_looked = false;
            return self.asking.wait_ms(RETRY_MS, world);
        }
        let ticket = link.send(&requests::alter(&moves), ALTER_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, Asked::Move(moves.len() as u64));
    }

    fn cancel(&mut self, link: &mut Link, world: &mut World<'_>) {
        let under_way: Vec<&TopicPartition> = self.under_way.iter().collect();
        let partition = under_way[world.rng.below(under_way.len() as u64) as usize].clone();
        let cancelled = BTreeMap::from([(partition, None)]);
        let ticket = link.send(&requests::alter(&cancelled), ALTER_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, Asked::Cancel);
    }

    fn elect(&mut self, link: &mut Link, world: &mut World<'_>) {
        let ticket = link.send(&requests::elect_preferred(), ELECT_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, Asked::Elect);
    }

    fn throttle(&mut self, is_throttled: bool, link: &mut Link, world: &mut World<'_>) {
        let rate = is_throttled.then(|| world.rng.pick(&[1, 300, 3_000, 30_000]));
        let topics: BTreeSet<&str> = self.replicas.keys().map(|partition| &*partition.topic).collect();
        let request = requests::throttle(rate, &topics);
        let ticket = link.send(&request, CONFIGS_VERSION, world.now.mono, world.rng);
        self.asking.ask(ticket, Asked::Throttle(is_throttled));
    }
}

impl Client for Mover {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        let mut next = None;
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(Asked::Brokers, body) => {
                    self.answered(Asked::Brokers, &body, world);
                    next = Some(Asked::Moves);
                }
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                // It may be so by now: to ask for it again does no harm.
                Said::Lost(asked) => {
                    if let Some(Asked::Throttle(true)) = asked {
                        self.throttled_until = Some(world.mono());
                        self.throttled_late_until = world.mono().plus_ms(LATE_MS);
                    }
                    self.has_looked = false;
                    self.asking.wait_ms(RETRY_MS, world);
                }
            }
        }
        if self.is_done || !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        if next.is_some() {
            let ticket = link.send(&requests::moves_under_way(), LIST_VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, Asked::Moves);
        } else if self.has_looked {
            self.act(link, world);
        } else {
            let ticket = link.send(&requests::everything(), METADATA_VERSION, world.now.mono, world.rng);
            self.asking.ask(ticket, Asked::Brokers);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
        if let Some(Drain::Moving(_)) = self.drain {
            self.drain = None;
        }
    }

    /// Nothing that it began is under way.
    fn is_finished(&self, _: &Topics) -> bool {
        self.is_done
    }
}
