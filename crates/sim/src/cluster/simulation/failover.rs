//! How long nothing can be written to a partition when a process is killed: with the settings that nodes have by default, but
//! sessions that do not end.

use ottla_types::{NodeId, TopicPartition};

use super::{ClusterSimulation, MEMBERS};
use crate::cluster::cast::PLAIN;
use crate::outcome::Failure;

/// Long enough for everything to come to rest.
const BEFORE_MS: u64 = 4_000;
const AFTER_MS: u64 = 3_000;
/// The process does not come back meanwhile.
const DOWN_MS: u64 = 1_000_000;

/// Whose process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// It leads a partition, and not the quorum.
    Leader,
    /// It leads nothing, and is waited for.
    Follower,
    /// It leads the quorum.
    Controller,
}

/// Kills one. Returns for how many milliseconds at most a topic without transactions has acknowledged nothing to those who
/// want all in-sync replicas; none where the seed has nobody like that.
pub fn fail_over(seed: u64, victim: Victim) -> Result<Option<u64>, Box<Failure>> {
    let mut simulation = ClusterSimulation::new(seed);
    simulation.settings = vec![
        ("offsets.topic.replication.factor", "3"),
        ("min.insync.replicas", "2"),
        ("broker.session.timeout.ms", "600000"),
    ];
    simulation.create_topics()?;
    simulation.pass(BEFORE_MS)?;
    let controller = simulation.controller.map(|(_, leader)| leader);
    let leader_of = |topic: &&str| Some(simulation.leaders.get(&TopicPartition::new(*topic, 0))?.1);
    let leaders: Vec<NodeId> = PLAIN.iter().filter_map(leader_of).collect();
    let is_one = |id: &NodeId| match victim {
        Victim::Leader => leaders.contains(id) && controller != Some(*id),
        Victim::Follower => !leaders.contains(id) && controller != Some(*id),
        Victim::Controller => controller == Some(*id),
    };
    let Some(id) = MEMBERS.into_iter().find(is_one) else { return Ok(None) };
    simulation.longest_gaps.clear();
    simulation.end(id, None, DOWN_MS);
    simulation.pass(AFTER_MS)?;
    let now = simulation.now.mono;
    let still = simulation.acknowledged_at.values().map(|at| now.since_ms(*at));
    Ok(still.chain(simulation.longest_gaps.values().copied()).max())
}

impl ClusterSimulation {
    fn pass(&mut self, ms: u64) -> Result<(), Box<Failure>> {
        let since = self.now.mono;
        while self.now.mono.since_ms(since) < ms {
            self.round()?;
        }
        Ok(())
    }
}
