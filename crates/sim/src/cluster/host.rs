use std::sync::Arc;

use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::peers::Peers;
use ottla_log::disk::SimDisk;
use ottla_log::disk::sim::Loss;
use ottla_types::{MonoMs, NodeId, Now};

use crate::node::{Died, NodeSetup, SteppedNode};

/// A machine: a disk, and a node's process on it or none.
#[derive(Debug)]
pub(super) struct Host {
    pub id: NodeId,
    pub disk: Arc<SimDisk>,
    process: Process,
    /// The process stands still, and its clock runs on.
    pub frozen_until: MonoMs,
    frozen_ms: u64,
}

#[derive(Debug)]
enum Process {
    Down { until: MonoMs, is_without_power: bool },
    Up(Box<SteppedNode>),
}

impl Host {
    pub fn new(id: NodeId, seed: u64, now: Now) -> Host {
        Host {
            id,
            disk: Arc::new(SimDisk::new(seed)),
            process: Process::Down { until: now.mono, is_without_power: false },
            frozen_until: MonoMs(0),
            frozen_ms: 0,
        }
    }

    pub fn node(&self) -> Option<&SteppedNode> {
        match &self.process {
            Process::Up(node) => Some(node),
            Process::Down { .. } => None,
        }
    }

    pub fn node_mut(&mut self) -> Option<&mut SteppedNode> {
        match &mut self.process {
            Process::Up(node) => Some(node),
            Process::Down { .. } => None,
        }
    }

    /// Nobody answers there, not even to say that nobody listens.
    pub fn is_without_power(&self) -> bool {
        matches!(self.process, Process::Down { is_without_power: true, .. })
    }

    pub fn is_frozen(&self, now: Now) -> bool {
        self.frozen_until > now.mono
    }

    /// The node serves clients.
    pub fn is_running(&self) -> bool {
        self.node().is_some_and(|node| node.node.lifecycle_state() == LifecycleState::Running)
    }

    pub fn pass_ms(&mut self, ms: u64, now: Now) {
        let is_frozen = self.is_frozen(now);
        let Process::Up(node) = &mut self.process else { return };
        if is_frozen {
            self.frozen_ms += ms;
        } else {
            node.move_clock(ms + std::mem::take(&mut self.frozen_ms));
        }
    }

    /// Starts the process if it is time.
    pub fn start(
        &mut self,
        members: &[NodeId],
        settings: &[(&'static str, &'static str)],
        peers: Arc<dyn Peers>,
        now: Now,
    ) -> Result<(), Died> {
        let Process::Down { until, .. } = self.process else { return Ok(()) };
        if until > now.mono {
            return Ok(());
        }
        let setup = NodeSetup { id: self.id, members: members.to_vec(), peers, ..NodeSetup::alone(settings) };
        let node = SteppedNode::try_start_as(setup, Arc::clone(&self.disk), now)?;
        self.frozen_until = MonoMs(0);
        self.frozen_ms = 0;
        self.process = Process::Up(Box::new(node));
        Ok(())
    }

    pub fn step(&mut self, now: Now) -> Result<(), Died> {
        if self.is_frozen(now) {
            return Ok(());
        }
        match &mut self.process {
            Process::Up(node) => node.try_step().and_then(|()| node.maintain()),
            Process::Down { .. } => Ok(()),
        }
    }

    /// Ends the process; with a loss the machine is without power.
    pub fn end(&mut self, loss: Option<Loss>, until: MonoMs) {
        let down = Process::Down { until, is_without_power: loss.is_some() };
        let Process::Up(node) = std::mem::replace(&mut self.process, down) else { return };
        match loss {
            Some(loss) => drop(node.lose_power(loss)),
            None => drop(node.kill()),
        }
    }
}
