use ottla_types::{LeaderEpoch, NodeId, TopicIdPartition};

/// What the metadata says of a partition that has a replica here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub partition: TopicIdPartition,
    /// [`NodeId::NONE`] while nobody leads.
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    /// Grows with each change of the assignment.
    pub partition_epoch: i32,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// The topic's `min.insync.replicas`.
    pub min_insync_replicas: usize,
}
