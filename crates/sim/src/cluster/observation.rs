//! What is so on the nodes at one moment, read from the nodes themselves and from their files.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use ottla_log::log_manager::LogManager;
use ottla_metadata::MetadataImage;
use ottla_types::{BrokerEpoch, NodeId, TopicPartition};

use super::host::Host;
use crate::log_files::{LogFiles, read_all, read_metadata};

/// A replica as its node has it.
#[derive(Clone, Debug)]
pub struct ReplicaSeen {
    /// Another one if the partition went away from here and came back.
    pub identity: Weak<dyn Any + Send + Sync>,
    /// The epoch in which this node leads; none if it does not.
    pub leads_in: Option<i32>,
    pub high_watermark: i64,
    pub log_end: i64,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeSeen {
    pub id: NodeId,
    /// Of its process: no other one has it.
    pub process: u64,
    /// The epoch of the quorum, and whether this node leads in it.
    pub quorum: (i32, bool),
    /// The last offset of the metadata that it has published.
    pub metadata_offset: i64,
    pub image: Arc<MetadataImage>,
    /// As its process was registered last.
    pub broker_epoch: Option<BrokerEpoch>,
    pub replicas: BTreeMap<TopicPartition, ReplicaSeen>,
}

/// All that can be seen.
#[derive(Clone, Debug)]
pub struct Look {
    pub nodes: Vec<NodeSeen>,
    /// The files of each node's logs.
    pub files: BTreeMap<NodeId, Vec<LogFiles>>,
    /// Of which partitions each node has a log that is to take the place of another in another directory.
    pub copies: BTreeMap<NodeId, Vec<TopicPartition>>,
    /// The logs as those have them that lead in the newest epoch, where they are there.
    pub led: Vec<LogFiles>,
    /// The records of the metadata.
    pub metadata: BTreeMap<NodeId, LogFiles>,
}

/// All nodes whose processes live.
pub(super) fn observe(hosts: &mut BTreeMap<NodeId, Host>) -> Vec<NodeSeen> {
    let nodes = hosts.values_mut().filter_map(|host| {
        let (id, process) = (host.id, host.processes);
        let node = host.node_mut()?;
        let replicas = node.node.replicas().partitions();
        let replicas = replicas.iter().map(|partition| {
            let identity: Arc<dyn Any + Send + Sync> = Arc::clone(partition) as _;
            let seen = ReplicaSeen {
                identity: Arc::downgrade(&identity),
                leads_in: partition.leading_epoch().map(|epoch| epoch.value()),
                high_watermark: partition.log().high_watermark().value(),
                log_end: partition.log().log_end_offset().value(),
            };
            (partition.topic_partition().clone(), seen)
        });
        let replicas = replicas.collect();
        let (image, broker_epoch) = (node.node.image(), node.node.broker_epoch());
        let metadata_offset = image.provenance.last_offset.value();
        Some(NodeSeen {
            id,
            process,
            quorum: node.quorum_view(),
            metadata_offset,
            image,
            broker_epoch,
            replicas,
        })
    });
    nodes.collect()
}

/// `leaders`: by partition, in which epoch who has led last.
pub(super) fn look(
    hosts: &mut BTreeMap<NodeId, Host>,
    leaders: &BTreeMap<TopicPartition, (i32, NodeId)>,
) -> Look {
    let nodes = observe(hosts);
    let with_nodes = || hosts.iter().filter_map(|(id, host)| Some((*id, host, host.node()?)));
    let files: BTreeMap<NodeId, Vec<LogFiles>> =
        with_nodes().map(|(id, host, node)| (id, read_all(&host.disk, node.node.logs()))).collect();
    let copies_of =
        |logs: &LogManager| logs.future_logs().iter().map(|log| log.partition().clone()).collect::<Vec<_>>();
    let copies = with_nodes().map(|(id, _, node)| (id, copies_of(node.node.logs()))).collect();
    let metadata = with_nodes()
        .map(|(id, host, node)| (id, read_metadata(&host.disk, node.node.metadata_offset().value() + 1)));
    let metadata = metadata.collect();
    let leads = |node: &NodeSeen, partition: &TopicPartition| {
        let epoch = node.replicas.get(partition).and_then(|seen| seen.leads_in);
        epoch.is_some_and(|epoch| leaders.get(partition) == Some(&(epoch, node.id)))
    };
    let of_node = |node: &NodeSeen| files.get(&node.id).map(Vec::as_slice).unwrap_or_default();
    let led = nodes.iter().flat_map(|node| of_node(node).iter().filter(|log| leads(node, &log.partition)));
    let led = led.cloned().collect();
    Look { nodes, files, copies, led, metadata }
}
