//! In the end a node has the logs of the replicas that are its own, and no others: what moved away is gone, and no copy is left
//! of one that went to another directory.

use std::collections::BTreeSet;

use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::cluster::observation::Look;

#[derive(Debug)]
pub(super) struct Placement;

impl ClusterProperty for Placement {
    fn name(&self) -> &'static str {
        "nodes have the logs of their replicas"
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        for node in &look.nodes {
            let of_node = look.files.get(&node.id).into_iter().flatten();
            let logs: BTreeSet<&TopicPartition> = of_node.map(|log| &log.partition).collect();
            let replicas: BTreeSet<&TopicPartition> = node.replicas.keys().collect();
            if logs != replicas {
                return Err(format!("node {} has logs of {logs:?}, and replicas of {replicas:?}", node.id));
            }
            let copies = look.copies.get(&node.id).map(Vec::as_slice).unwrap_or_default();
            if !copies.is_empty() {
                return Err(format!("node {} has copies of {copies:?} in other directories", node.id));
            }
        }
        Ok(())
    }
}
