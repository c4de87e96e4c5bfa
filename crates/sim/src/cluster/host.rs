use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::peers::Peers;
use ottla_log::disk::sim::Loss;
use ottla_log::disk::{Disk, Open, SimDisk};
use ottla_metadata::MetadataVersion;
use ottla_types::{METADATA_TOPIC, MonoMs, NodeId, Now, Timestamp};

use super::shape::{Member, Shape};
use crate::node::{Died, NodeSetup, SteppedNode};

/// A machine: a disk, and a node's process on it or none.
#[derive(Debug)]
pub(super) struct Host {
    pub id: NodeId,
    pub member: Member,
    pub disk: Arc<SimDisk>,
    log_dirs: &'static [&'static str],
    process: Process,
    /// It is no part of the cluster at present: no process starts.
    pub is_away: bool,
    /// How many there have been.
    pub processes: u64,
    /// Clients can connect: it had all that it needs when it began to serve.
    pub takes_clients: bool,
    /// The process stands still, and its clock runs on.
    pub frozen_until: MonoMs,
    /// The process gets a part of its time only.
    pub slow_until: MonoMs,
    /// It has none at present.
    pub idles: bool,
    frozen_ms: u64,
    /// How far its wall clock is ahead of the others'.
    clock_ahead_ms: i64,
    /// A call has failed or will: its memory and its disk may differ, so that it is without power at last.
    pub doomed_until: Option<MonoMs>,
    /// Until then its disk has little room.
    pub full_until: Option<MonoMs>,
}

#[derive(Debug)]
enum Process {
    Down { until: MonoMs, is_without_power: bool },
    Up { node: Box<SteppedNode>, stop: Option<Stop> },
}

/// A process was told to stop, and starts again so long after it has.
#[derive(Clone, Copy, Debug)]
struct Stop {
    since: MonoMs,
    down_ms: u64,
}

impl Host {
    pub fn new(member: Member, shape: &Shape, seed: u64, now: Now) -> Host {
        Host {
            id: member.id,
            member,
            disk: Arc::new(SimDisk::new(seed)),
            log_dirs: shape.log_dirs,
            process: Process::Down { until: now.mono, is_without_power: false },
            is_away: member.joins_after_ms > 0,
            processes: 0,
            takes_clients: false,
            frozen_until: MonoMs(0),
            slow_until: MonoMs(0),
            idles: false,
            frozen_ms: 0,
            clock_ahead_ms: 0,
            doomed_until: None,
            full_until: None,
        }
    }

    pub fn node(&self) -> Option<&SteppedNode> {
        match &self.process {
            Process::Up { node, .. } => Some(node),
            Process::Down { .. } => None,
        }
    }

    /// The node as clients find it.
    pub fn client_node(&self) -> Option<&SteppedNode> {
        self.node().filter(|_| self.takes_clients && self.member.roles.broker)
    }

    pub fn node_mut(&mut self) -> Option<&mut SteppedNode> {
        match &mut self.process {
            Process::Up { node, .. } => Some(node),
            Process::Down { .. } => None,
        }
    }

    /// Nobody answers there, not even to say that nobody listens.
    pub fn is_without_power(&self) -> bool {
        matches!(self.process, Process::Down { is_without_power: true, .. })
    }

    /// The machine is there again, before its process.
    pub fn have_power(&mut self) {
        if let Process::Down { is_without_power, .. } = &mut self.process {
            *is_without_power = false;
        }
    }

    pub fn is_frozen(&self, now: Now) -> bool {
        self.frozen_until > now.mono || self.idles
    }

    pub fn is_slow(&self, now: Now) -> bool {
        self.slow_until > now.mono
    }

    /// Nothing fails any more, and it runs as it should.
    pub fn be_well(&mut self) {
        self.frozen_until = MonoMs(0);
        self.slow_until = MonoMs(0);
        self.idles = false;
        self.disk.heal();
        self.make_room();
    }

    pub fn make_room(&mut self) {
        self.full_until = None;
        self.disk.set_capacity_bytes(None);
    }

    /// The node serves clients.
    pub fn is_running(&self) -> bool {
        self.node().is_some_and(|node| node.node.lifecycle_state() == LifecycleState::Running)
    }

    /// Sets its wall clock.
    pub fn set_clock(&mut self, ahead_ms: i64) {
        let change_ms = ahead_ms - std::mem::replace(&mut self.clock_ahead_ms, ahead_ms);
        if let Some(node) = self.node_mut() {
            node.set_clock_forward(change_ms);
        }
    }

    /// Tells the process to stop.
    pub fn begin_stop(&mut self, down_ms: u64, now: Now) {
        if let Process::Up { node, stop } = &mut self.process {
            node.node.begin_shutdown(node.now());
            *stop = Some(Stop { since: now.mono, down_ms });
        }
    }

    pub fn is_stopping(&self) -> bool {
        matches!(self.process, Process::Up { stop: Some(_), .. })
    }

    pub fn stops_too_long(&self, max_ms: u64, now: Now) -> bool {
        matches!(self.process, Process::Up { stop: Some(stop), .. } if now.mono.since_ms(stop.since) > max_ms)
    }

    /// Ends a process that has handed over what it led; whether there was one.
    pub fn finish_stop(&mut self, now: Now) -> Result<bool, Died> {
        let Process::Up { node, stop: Some(stop) } = &mut self.process else { return Ok(false) };
        if node.node.lifecycle_state() != LifecycleState::MayStop {
            return Ok(false);
        }
        node.close()?;
        let until = now.mono.plus_ms(stop.down_ms as i64);
        self.process = Process::Down { until, is_without_power: false };
        Ok(true)
    }

    pub fn pass_ms(&mut self, ms: u64, now: Now) {
        let is_frozen = self.is_frozen(now);
        let Process::Up { node, .. } = &mut self.process else { return };
        if is_frozen {
            self.frozen_ms += ms;
        } else {
            node.move_clock(ms + std::mem::take(&mut self.frozen_ms));
        }
    }

    /// Starts the process if it is time.
    pub fn start(
        &mut self,
        shape: &Shape,
        settings: &[(&'static str, &'static str)],
        begins_at: MetadataVersion,
        peers: Arc<dyn Peers>,
        now: Now,
    ) -> Result<(), Died> {
        let Process::Down { until, .. } = self.process else { return Ok(()) };
        if until > now.mono || self.is_away {
            return Ok(());
        }
        let setup = NodeSetup {
            id: self.id,
            members: shape.voters.clone(),
            roles: self.member.roles,
            has_voters_in_log: shape.has_voters_in_log,
            begins_at,
            peers,
            ..NodeSetup::alone(settings)
        };
        let wall = Timestamp(now.wall.0 + self.clock_ahead_ms);
        let node = SteppedNode::try_start_as(setup, Arc::clone(&self.disk), Now { wall, ..now })?;
        self.frozen_until = MonoMs(0);
        self.frozen_ms = 0;
        self.processes += 1;
        self.takes_clients = false;
        self.process = Process::Up { node: Box::new(node), stop: None };
        Ok(())
    }

    pub fn step(&mut self, now: Now) -> Result<(), Died> {
        if self.is_frozen(now) {
            return Ok(());
        }
        if let Process::Up { node, .. } = &mut self.process {
            node.try_step()?;
            node.maintain()?;
        }
        self.takes_clients |= self.is_running();
        Ok(())
    }

    /// Ends the process; with a loss the machine is without power.
    pub fn end(&mut self, loss: Option<Loss>, until: MonoMs) {
        let down = Process::Down { until, is_without_power: loss.is_some() };
        let before = std::mem::replace(&mut self.process, down);
        self.disk.heal();
        self.make_room();
        self.doomed_until = None;
        match (before, loss) {
            (Process::Up { node, .. }, Some(loss)) => drop(node.lose_power(loss)),
            (Process::Up { node, .. }, None) => drop(node.kill()),
            (Process::Down { .. }, Some(loss)) => self.disk.crash(loss),
            (Process::Down { .. }, None) => {}
        }
    }

    /// The newest segments of all logs, and where what was never synced of each begins.
    pub fn unsynced_segments(&self) -> Vec<(PathBuf, u64)> {
        let mut segments = Vec::new();
        for log_dir in self.log_dirs.iter().map(Path::new) {
            for dir in self.disk.read_dir(log_dir).unwrap_or_default() {
                let path = log_dir.join(&dir.name);
                if dir.name.starts_with(METADATA_TOPIC) {
                    continue;
                }
                let entries = self.disk.read_dir(&path).unwrap_or_default();
                let names = entries.iter().filter(|entry| entry.name.ends_with(".log"));
                segments.extend(names.map(|entry| &entry.name).max().map(|name| path.join(name)));
            }
        }
        segments.sort();
        let with_start = |path: PathBuf| Some((path.clone(), self.disk.first_unsynced_sector(&path).ok()?));
        segments.into_iter().filter_map(with_start).collect()
    }

    /// Makes garbage of the last sector of one of these, if a loss of power has left anything of what was not synced: what is
    /// written to at that time may be anything by then. False if there is none.
    pub fn corrupt_a_sector(&self, segments: Vec<(PathBuf, u64)>, choice: u64) -> bool {
        let len = |path: &Path| self.disk.open(path, Open::Read).and_then(|file| file.len()).unwrap_or(0);
        let mut ends: Vec<_> = segments.into_iter().map(|(path, start)| (len(&path), start, path)).collect();
        ends.retain(|(len, start, _)| len > start);
        let Some((len, _, path)) = ends.get(choice as usize % ends.len().max(1)) else { return false };
        self.disk.corrupt_sector(path, len - 1).expect("the file is there");
        true
    }
}
