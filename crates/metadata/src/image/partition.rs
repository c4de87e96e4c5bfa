use ottla_types::{LeaderEpoch, NodeId, Uuid};
use ottla_wire::records::{PartitionChangeRecord, PartitionRecord};

use super::directory;

/// `PartitionChangeRecord.Leader` that leaves the leader, and the leader epoch, as they are.
pub const NO_LEADER_CHANGE: i32 = -2;

/// Whether a leader was elected uncleanly and has yet to say that it has recovered (KIP-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    Recovered = 0,
    Recovering = 1,
}

/// A partition's replicas and who of them leads. Nodes are kept as the record has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRegistration {
    pub replicas: Vec<NodeId>,
    /// One for each replica.
    pub directories: Vec<Uuid>,
    pub isr: Vec<NodeId>,
    pub removing_replicas: Vec<NodeId>,
    pub adding_replicas: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    pub last_known_elr: Vec<NodeId>,
    /// [`NodeId::NONE`] while there is none.
    pub leader: NodeId,
    pub leader_recovery_state: LeaderRecoveryState,
    /// Grows with each change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows with each change.
    pub partition_epoch: i32,
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn recovery_state(code: i8) -> LeaderRecoveryState {
    if code == 1 { LeaderRecoveryState::Recovering } else { LeaderRecoveryState::Recovered }
}

impl PartitionRegistration {
    pub fn from_record(record: &PartitionRecord) -> PartitionRegistration {
        let mut directories = record.directories.clone();
        directories.resize(record.replicas.len(), directory::MIGRATING);
        PartitionRegistration {
            replicas: nodes(&record.replicas),
            directories,
            isr: nodes(&record.isr),
            removing_replicas: nodes(&record.removing_replicas),
            adding_replicas: nodes(&record.adding_replicas),
            elr: nodes(record.eligible_leader_replicas.as_deref().unwrap_or_default()),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or_default()),
            leader: NodeId(record.leader),
            leader_recovery_state: recovery_state(record.leader_recovery_state),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        }
    }

    /// The record that makes this registration, with what `version` can carry.
    pub fn to_record(&self, topic_id: Uuid, partition: i32, version: i16) -> PartitionRecord {
        let eligible = |list: &[NodeId]| (version >= 2 && !list.is_empty()).then(|| ids(list));
        PartitionRecord {
            partition_id: partition,
            topic_id,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            removing_replicas: ids(&self.removing_replicas),
            adding_replicas: ids(&self.adding_replicas),
            leader: self.leader.0,
            leader_recovery_state: self.leader_recovery_state as i8,
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: if version >= 1 { self.directories.clone() } else { Vec::new() },
            eligible_leader_replicas: eligible(&self.elr),
            last_known_elr: eligible(&self.last_known_elr),
            ..PartitionRecord::default()
        }
    }

    /// Applies a change. The partition epoch grows by one, and the leader epoch too where a leader is named, even the
    /// same one. Controllers change nothing whose epochs could not grow.
    pub fn apply(&mut self, change: &PartitionChangeRecord) {
        let replace = |list: &mut Vec<NodeId>, new: &Option<Vec<i32>>| {
            if let Some(new) = new {
                *list = nodes(new);
            }
        };
        replace(&mut self.isr, &change.isr);
        replace(&mut self.removing_replicas, &change.removing_replicas);
        replace(&mut self.adding_replicas, &change.adding_replicas);
        replace(&mut self.elr, &change.eligible_leader_replicas);
        replace(&mut self.last_known_elr, &change.last_known_elr);
        if let Some(replicas) = &change.replicas {
            let replicas = nodes(replicas);
            self.directories = match &change.directories {
                Some(directories) => directories.clone(),
                None => self.directories_for(&replicas),
            };
            self.replicas = replicas;
        } else if let Some(directories) = &change.directories {
            self.directories = directories.clone();
        }
        self.directories.resize(self.replicas.len(), directory::UNASSIGNED);
        if change.leader != NO_LEADER_CHANGE {
            self.leader = NodeId(change.leader);
            self.leader_epoch = LeaderEpoch(self.leader_epoch.0.saturating_add(1));
        }
        if change.leader_recovery_state >= 0 {
            self.leader_recovery_state = recovery_state(change.leader_recovery_state);
        }
        self.partition_epoch = self.partition_epoch.saturating_add(1);
    }

    /// Drops the eligible leaders: a change like any other.
    pub fn clear_elr(&mut self) {
        self.elr.clear();
        self.last_known_elr.clear();
        self.partition_epoch = self.partition_epoch.saturating_add(1);
    }

    pub fn directory(&self, replica: NodeId) -> Option<Uuid> {
        let index = self.replicas.iter().position(|node| *node == replica)?;
        self.directories.get(index).copied()
    }

    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    pub fn preferred_leader(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }

    fn directories_for(&self, replicas: &[NodeId]) -> Vec<Uuid> {
        replicas.iter().map(|replica| self.directory(*replica).unwrap_or(directory::UNASSIGNED)).collect()
    }
}
