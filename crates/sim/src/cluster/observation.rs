//! What is so on the nodes at one moment, read from the nodes themselves.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::host::Host;
use crate::log_files::{LogFiles, read_all};

/// A replica as its node has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSeen {
    /// The epoch in which this node leads; none if it does not.
    pub leads_in: Option<i32>,
    pub high_watermark: i64,
    pub log_end: i64,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeSeen {
    pub id: NodeId,
    /// The epoch of the quorum, and whether this node leads in it.
    pub quorum: (i32, bool),
    /// The last offset of the metadata that it has published.
    pub metadata_offset: i64,
    pub replicas: BTreeMap<TopicPartition, ReplicaSeen>,
}

/// All nodes whose processes live.
pub(super) fn observe(hosts: &mut BTreeMap<NodeId, Host>) -> Vec<NodeSeen> {
    let nodes = hosts.values_mut().filter_map(|host| {
        let id = host.id;
        let node = host.node_mut()?;
        let replicas = node.node.replicas().partitions();
        let replicas = replicas.iter().map(|partition| {
            let seen = ReplicaSeen {
                leads_in: partition.leading_epoch().map(|epoch| epoch.value()),
                high_watermark: partition.log().high_watermark().value(),
                log_end: partition.log().log_end_offset().value(),
            };
            (partition.topic_partition().clone(), seen)
        });
        let replicas = replicas.collect();
        let metadata_offset = node.node.metadata_offset().value();
        Some(NodeSeen { id, quorum: node.quorum_view(), metadata_offset, replicas })
    });
    nodes.collect()
}

/// The files of a node's logs.
pub(super) fn files(host: &Host) -> Option<Vec<LogFiles>> {
    let node = host.node()?;
    Some(read_all(&host.disk, node.node.logs()))
}
