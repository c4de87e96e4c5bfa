//! A leader epoch has one leader, that of a partition and that of the quorum. A process that ceases to lead a partition does not
//! lead again in the same epoch: others may have been told meanwhile that nobody does.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;

#[derive(Debug, Default)]
pub(super) struct Leaders {
    of_partitions: BTreeMap<(TopicPartition, i32), NodeId>,
    of_quorum: BTreeMap<i32, NodeId>,
    /// What each process led when it was seen last, and in which epoch.
    leading: BTreeMap<(NodeId, u64), BTreeMap<TopicPartition, i32>>,
    /// What it does not lead any more.
    ceased: BTreeMap<(NodeId, u64, TopicPartition), i32>,
}

impl Leaders {
    fn check_again(&mut self, node: &NodeSeen) -> Result<(), String> {
        let leads = node.replicas.iter().filter_map(|(name, seen)| Some((name.clone(), seen.leads_in?)));
        let leads: BTreeMap<TopicPartition, i32> = leads.collect();
        let (id, process) = (node.id, node.process);
        for (partition, epoch) in &leads {
            if self.ceased.get(&(id, process, partition.clone())) == Some(epoch) {
                return Err(format!("node {id} leads {partition} in epoch {epoch} again"));
            }
        }
        let before = self.leading.insert((id, process), leads).unwrap_or_default();
        // A replica that is not shown may lead as before.
        let follows =
            |name: &TopicPartition| node.replicas.get(name).is_some_and(|seen| seen.leads_in.is_none());
        let ceased = before.into_iter().filter(|(partition, _)| follows(partition));
        self.ceased.extend(ceased.map(|(partition, epoch)| ((id, process, partition), epoch)));
        Ok(())
    }
}

impl ClusterProperty for Leaders {
    fn name(&self) -> &'static str {
        "an epoch has one leader"
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        for node in nodes {
            self.check_again(node)?;
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
