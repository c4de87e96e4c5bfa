//! Whether everything is as it should be where nothing fails, and what is not.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::ClusterSimulation;
use crate::cluster::host::Host;

impl ClusterSimulation {
    /// Machines that are part of the cluster at present.
    pub(super) fn present(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values().filter(|host| !host.is_away)
    }

    pub(super) fn has_come_to_rest(&self) -> bool {
        self.is_whole()
            && self.unclean.is_settled()
            && self.actors.iter().all(|actor| actor.is_finished())
            && self.properties.iter().all(|property| property.unsettled().is_none())
            && self.open_transactions().is_empty()
    }

    /// Partitions with something that is not decided.
    fn open_transactions(&self) -> Vec<String> {
        let nodes = self.hosts.values().filter_map(Host::node);
        let partitions = nodes.flat_map(|node| node.node.replicas().partitions());
        let open = partitions.filter(|partition| {
            partition.is_leader() && partition.log().last_stable_offset() < partition.log().high_watermark()
        });
        let mut open: Vec<String> = open.map(|partition| partition.topic_partition().to_string()).collect();
        open.sort();
        open
    }

    pub(super) fn describe(&self) -> String {
        let actors = self.actors.iter().filter(|actor| !actor.is_finished());
        let actors = actors.map(|actor| actor.client().describe());
        let hosts = self.hosts.values().map(|host| {
            let state = host.node().map(|node| node.node.lifecycle_state());
            format!("node {}: {state:?}", host.id)
        });
        let properties = self.properties.iter();
        let properties = properties
            .filter_map(|property| property.unsettled().map(|what| format!("{}: {what}", property.name())));
        let open = self.open_transactions();
        let open = (!open.is_empty()).then(|| format!("transactions are open: {open:?}"));
        let partitions = self.not_whole();
        hosts.chain(actors).chain(properties).chain(open).chain(partitions).collect::<Vec<_>>().join("\n")
    }

    /// All nodes serve and act on the same metadata, and all replicas are in sync.
    pub(super) fn is_whole(&self) -> bool {
        self.not_whole().is_none()
    }

    /// Why it is not whole, if it is not.
    fn not_whole(&self) -> Option<String> {
        if let Some(host) = self.present().find(|host| !host.is_running() || host.is_stopping()) {
            return Some(format!("node {} does not serve", host.id));
        }
        let nodes = || self.present().filter_map(|host| Some((host.id, host.node()?)));
        // Who stands still says of itself what was so before.
        let offsets: BTreeMap<_, _> = nodes().map(|(id, node)| (id, node.node.metadata_offset())).collect();
        if offsets.values().any(|offset| offsets.values().any(|other| other != offset)) {
            return Some(format!("they act on the metadata up to {offsets:?}"));
        }
        let mut leaders: BTreeMap<TopicPartition, Vec<NodeId>> = BTreeMap::new();
        for (id, node) in nodes() {
            for partition in node.node.replicas().partitions() {
                let of_partition = leaders.entry(partition.topic_partition().clone()).or_default();
                if partition.is_leader() {
                    of_partition.push(id);
                    if partition.is_under_replicated() {
                        return Some(format!("{}: not all are in sync", partition.topic_partition()));
                    }
                }
            }
        }
        let several = leaders.into_iter().find(|(_, leaders)| leaders.len() != 1);
        several.map(|(partition, leaders)| format!("{partition} is led by {leaders:?}"))
    }
}
