//! How long nothing can be written to a partition when a process is killed or has no room on its disk: with the settings that
//! nodes have by default, but sessions that do not end, and followers that nobody takes out for being slow. And how long when its
//! machine is dead or out of reach, which nobody can tell from a slow one before its session ends.

use std::path::Path;

use ottla_broker::lifecycle::LifecycleState;
use ottla_types::{METADATA_TOPIC, MonoMs, NodeId, TopicPartition};
use ottla_wire::messages::create_topics_request::Topic as NewTopic;
use ottla_wire::messages::{CreateTopicsRequest, MetadataRequest};

use super::beginning::CREATE_VERSION;
use super::{ClusterSimulation, END_WITHIN_MS, Kind};
use crate::cluster::cast::PLAIN;
use crate::cluster::host::Host;
use crate::cluster::plan::Shape;
use crate::node::{DIR, SteppedNode};
use crate::outcome::Failure;

/// Long enough for everything to come to rest.
const BEFORE_MS: u64 = 4_000;
const AFTER_MS: u64 = 3_000;
/// `broker.session.timeout.ms` as it is by default.
pub const SESSION_MS: u64 = 9_000;
const CREATED_WITHIN_MS: u64 = 10_000;
const LATE: &str = "late";
const LATE_PARTITIONS: i32 = 3;
const METADATA_VERSION: i16 = 12;
/// The process does not come back meanwhile.
const DOWN_MS: u64 = 1_000_000;

/// What befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfortune {
    Killed,
    /// The process is killed, and the next one starts so much later.
    Restarted {
        down_ms: u64,
    },
    /// Its machine answers nobody, and says so to nobody.
    StandsStill,
    /// It hears no other node, and none hears it.
    CutOff,
    /// Its disk has room for so many bytes more.
    Full {
        bytes: u64,
    },
}

/// Whose process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// It leads a partition, and not the quorum.
    Leader,
    /// It leads nothing, and is waited for.
    Follower,
    /// It leads the quorum.
    Controller,
}

impl Misfortune {
    /// Nothing tells the others that the process is gone, but its session.
    fn takes_a_session(self) -> bool {
        matches!(self, Misfortune::StandsStill | Misfortune::CutOff)
    }
}

/// Has that befall one. Returns for how many milliseconds at most a topic without transactions has acknowledged nothing to those who
/// want all in-sync replicas, or, where that takes a session, after how many all such topics are served without it; none where the
/// seed has nobody like that.
pub fn fail_over(seed: u64, victim: Victim, misfortune: Misfortune) -> Result<Option<u64>, Box<Failure>> {
    let default = [("broker.session.timeout.ms", "9000"), ("broker.heartbeat.interval.ms", "2000")];
    let settings = if misfortune.takes_a_session() { &default[..] } else { &[] };
    let mut simulation = ClusterSimulation::at_rest(seed, settings)?;
    let controller = simulation.controller.map(|(_, leader)| leader);
    let leader_of = |topic: &&str| Some(simulation.leaders.get(&TopicPartition::new(*topic, 0))?.1);
    let leaders: Vec<NodeId> = PLAIN.iter().filter_map(leader_of).collect();
    let is_one = |id: &NodeId| match victim {
        Victim::Leader => leaders.contains(id) && controller != Some(*id),
        Victim::Follower => !leaders.contains(id) && controller != Some(*id),
        Victim::Controller => controller == Some(*id),
    };
    let Some(id) = simulation.members.iter().copied().find(is_one) else { return Ok(None) };
    simulation.longest_gaps.clear();
    match misfortune {
        Misfortune::Killed => simulation.end(id, None, DOWN_MS),
        Misfortune::Restarted { down_ms } => simulation.end(id, None, down_ms),
        Misfortune::StandsStill => {
            simulation.change_host(id, |host| host.frozen_until = MonoMs::NEVER);
        }
        Misfortune::CutOff => simulation.cut(Shape::CutOff(id)),
        Misfortune::Full { bytes } => simulation.leave_room(id, bytes, MonoMs::NEVER),
    }
    if misfortune.takes_a_session() {
        // Clients that wait for an answer of that machine would wait longer.
        let began = simulation.now.mono;
        let are_served = |cluster: &ClusterSimulation| cluster.are_served_without(id, &PLAIN, PLAIN.len());
        simulation.pass_until("others do without a machine", are_served)?;
        return Ok(Some(simulation.now.mono.since_ms(began)));
    }
    simulation.pass(AFTER_MS)?;
    let now = simulation.now.mono;
    let still = simulation.acknowledged_at.values().map(|at| now.since_ms(*at));
    Ok(still.chain(simulation.longest_gaps.values().copied()).max())
}

/// Creates a topic while one of its replicas has no room for the logs. Returns after how many milliseconds the others lead all of
/// it, and wait for that one no more.
pub fn create_without_room(seed: u64) -> Result<u64, Box<Failure>> {
    let preallocated = [("log.preallocate", "true"), ("log.segment.bytes", "1048576")];
    let mut simulation = ClusterSimulation::at_rest(seed, &preallocated)?;
    let controller = simulation.controller.map(|(_, leader)| leader);
    let mut others = simulation.members.iter().copied().filter(|id| Some(*id) != controller);
    let [full, through] = [others.next(), others.next()];
    let (Some(full), Some(through)) = (full, through) else {
        return Err(simulation.failure("there is a controller", simulation.describe()));
    };
    // Enough for the metadata.
    simulation.leave_room(full, 500_000, MonoMs::NEVER);
    let topic = NewTopic {
        name: LATE.into(),
        num_partitions: LATE_PARTITIONS,
        replication_factor: 3,
        ..NewTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let began = simulation.now.mono;
    if let Some(node) = simulation.hosts.get_mut(&through).and_then(Host::node_mut) {
        node.send(&request, CREATE_VERSION);
    }
    while !simulation.are_served_without(full, &[LATE], LATE_PARTITIONS as usize) {
        simulation.round()?;
        if simulation.now.mono.since_ms(began) > CREATED_WITHIN_MS {
            return Err(simulation.failure("others do without a replica", simulation.describe()));
        }
    }
    Ok(simulation.now.mono.since_ms(began))
}

/// Has the disk of a broker become full, but for its metadata. Returns after how many milliseconds from the first replica on that it
/// gives up it is fenced, and after how many everything is as before once there is room again.
pub fn fence_without_room(seed: u64) -> Result<(u64, u64), Box<Failure>> {
    let replicated = [
        ("transaction.state.log.replication.factor", "3"),
        ("share.coordinator.state.topic.replication.factor", "3"),
    ];
    let (mut simulation, full) = ClusterSimulation::with_full_disk(seed, &replicated)?;
    let began = simulation.now.mono;
    simulation.pass_until("a broker without room is fenced", |cluster| cluster.is_fenced(full))?;
    let fenced_after_ms = simulation.now.mono.since_ms(began);
    simulation.change_host(full, Host::make_room);
    let relieved = simulation.now.mono;
    simulation.pass_until("a broker with room again is let in", ClusterSimulation::is_whole)?;
    Ok((fenced_after_ms, simulation.now.mono.since_ms(relieved)))
}

/// The same where it has what nobody else has: some topics have one replica each. Returns whether it is fenced after some seconds.
pub fn is_fenced_though_needed(seed: u64) -> Result<bool, Box<Failure>> {
    let (mut simulation, full) = ClusterSimulation::with_full_disk(seed, &[])?;
    simulation.pass(AFTER_MS)?;
    Ok(simulation.is_fenced(full))
}

/// Has the disk of a broker have no room for metadata either. Returns whether clients are told there where to turn: before, while it
/// knows no more that it is fenced than that it asked to be, and once there is room again.
pub fn tell_without_metadata(seed: u64) -> Result<[bool; 3], Box<Failure>> {
    let mut simulation = ClusterSimulation::at_rest(seed, &[])?;
    let full = simulation.not_the_controller()?;
    let before = simulation.tells_where_to_turn(full);
    simulation.leave_room(full, 0, MonoMs::NEVER);
    simulation.pass_until("a broker without metadata is fenced", |cluster| {
        let heard = |node: &SteppedNode| node.node.lifecycle_state() == LifecycleState::Fenced;
        cluster.is_fenced(full) && cluster.hosts[&full].node().is_some_and(heard)
    })?;
    let meanwhile = simulation.tells_where_to_turn(full);
    simulation.change_host(full, Host::make_room);
    simulation.pass_until("a broker with metadata again is let in", ClusterSimulation::is_whole)?;
    Ok([before, meanwhile, simulation.tells_where_to_turn(full)])
}

impl ClusterSimulation {
    /// One that does not lead the quorum.
    fn not_the_controller(&self) -> Result<NodeId, Box<Failure>> {
        let controller = self.controller.map(|(_, leader)| leader);
        let other = self.members.iter().copied().find(|id| Some(*id) != controller);
        other.ok_or_else(|| self.failure("there is a controller", self.describe()))
    }

    fn tells_where_to_turn(&mut self, id: NodeId) -> bool {
        let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let node = self.hosts.get_mut(&id).and_then(Host::node_mut);
        node.is_some_and(|node| !node.send(&request, METADATA_VERSION).is_refused())
    }

    /// Whether a node has given up a replica for want of room.
    fn gives_up(&self, id: NodeId) -> bool {
        let Some(node) = self.hosts[&id].node() else { return false };
        let replicas = node.node.replicas();
        replicas.partitions().iter().any(|partition| replicas.is_given_up(partition))
    }

    /// A cluster in which a broker, which is returned too, has just given up a replica for want of room.
    fn with_full_disk(
        seed: u64,
        settings: &[(&'static str, &'static str)],
    ) -> Result<(ClusterSimulation, NodeId), Box<Failure>> {
        let mut simulation = ClusterSimulation::at_rest(seed, settings)?;
        let full = simulation.not_the_controller()?;
        // Or it would soon be fenced for want of metadata.
        let metadata = Path::new(DIR).join(format!("{METADATA_TOPIC}-0"));
        simulation.change_host(full, |host| host.disk.set_roomy(Some(&metadata)));
        simulation.leave_room(full, 30_000, MonoMs::NEVER);
        simulation.pass_until("a disk becomes full", |cluster| cluster.gives_up(full))?;
        Ok((simulation, full))
    }

    /// Whether the others know that a broker is fenced.
    fn is_fenced(&self, id: NodeId) -> bool {
        let others = self.hosts.values().filter(|host| host.id != id).filter_map(Host::node);
        let mut images = others.map(|node| node.node.image());
        images.all(|image| image.brokers.get(&id).is_some_and(|broker| broker.is_fenced()))
    }

    fn pass_until(
        &mut self,
        what: &str,
        is_so: impl Fn(&ClusterSimulation) -> bool,
    ) -> Result<(), Box<Failure>> {
        let since = self.now.mono;
        while !is_so(self) {
            self.round()?;
            if self.now.mono.since_ms(since) > END_WITHIN_MS {
                return Err(self.failure(what, self.describe()));
            }
        }
        Ok(())
    }

    /// A cluster under load, with these settings over those of all such runs.
    fn at_rest(
        seed: u64,
        settings: &[(&'static str, &'static str)],
    ) -> Result<ClusterSimulation, Box<Failure>> {
        let mut simulation = ClusterSimulation::new(Kind::Three, seed);
        simulation.settings = vec![
            ("offsets.topic.replication.factor", "3"),
            ("min.insync.replicas", "2"),
            ("broker.session.timeout.ms", "600000"),
            ("replica.lag.time.max.ms", "600000"),
        ];
        simulation.settings.extend(settings);
        simulation.create_topics()?;
        simulation.pass(BEFORE_MS)?;
        Ok(simulation)
    }

    /// Whether all partitions of these topics are led by others, with fewer in sync than there are replicas.
    fn are_served_without(&self, id: NodeId, topics: &[&str], partitions: usize) -> bool {
        let others = self.hosts.values().filter(|host| host.id != id).filter_map(Host::node);
        let of_topics =
            others.flat_map(|node| topics.iter().flat_map(|topic| node.node.replicas().partitions_of(topic)));
        let served = of_topics.filter(|partition| partition.is_leader() && partition.is_under_replicated());
        served.count() == partitions
    }

    fn pass(&mut self, ms: u64) -> Result<(), Box<Failure>> {
        let since = self.now.mono;
        while self.now.mono.since_ms(since) < ms {
            self.round()?;
        }
        Ok(())
    }
}
