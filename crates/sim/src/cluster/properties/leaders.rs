//! A leader epoch has one leader, that of a partition and that of the quorum.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;

#[derive(Debug, Default)]
pub(super) struct Leaders {
    of_partitions: BTreeMap<(TopicPartition, i32), NodeId>,
    of_quorum: BTreeMap<i32, NodeId>,
}

impl ClusterProperty for Leaders {
    fn name(&self) -> &'static str {
        "an epoch has one leader"
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        for node in nodes {
            let (epoch, leads) = node.quorum;
            if leads {
                let leader = *self.of_quorum.entry(epoch).or_insert(node.id);
                if leader != node.id {
                    return Err(format!("epoch {epoch} of the quorum: nodes {leader} and {}", node.id));
                }
            }
            for (partition, seen) in &node.replicas {
                let Some(epoch) = seen.leads_in else { continue };
                let leader = *self.of_partitions.entry((partition.clone(), epoch)).or_insert(node.id);
                if leader != node.id {
                    return Err(format!("epoch {epoch} of {partition}: nodes {leader} and {}", node.id));
                }
            }
        }
        Ok(())
    }
}
