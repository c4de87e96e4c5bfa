//! What lies below a high watermark is replicated for good: no process takes its own back, and the newest leader has all that
//! any other one has ever said to be replicated.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::ClusterProperty;
use crate::cluster::observation::{NodeSeen, ReplicaSeen};
use crate::event::Event;

#[derive(Debug, Default)]
pub(super) struct HighWatermarks {
    /// Of each process, with the replica as it saw it.
    of_processes: BTreeMap<(NodeId, TopicPartition), (u64, ReplicaSeen)>,
    /// The highest of all.
    replicated: BTreeMap<TopicPartition, i64>,
    newest_epochs: BTreeMap<TopicPartition, i32>,
}

impl ClusterProperty for HighWatermarks {
    fn name(&self) -> &'static str {
        "high watermarks never go back"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        if let Event::MayHaveLost { partition } = event {
            self.of_processes.retain(|(_, of), _| of != partition);
            self.replicated.remove(partition);
        }
        Ok(())
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        for node in nodes {
            for (partition, seen) in &node.replicas {
                let now = (node.process, seen.clone());
                let before = self.of_processes.insert((node.id, partition.clone()), now);
                if let Some((process, before)) = before
                    && process == node.process
                    && before.identity.ptr_eq(&seen.identity)
                    && before.high_watermark > seen.high_watermark
                {
                    let (before, now) = (before.high_watermark, seen.high_watermark);
                    return Err(format!("{partition} of node {}: from {before} back to {now}", node.id));
                }
                let replicated = self.replicated.entry(partition.clone()).or_default();
                *replicated = (*replicated).max(seen.high_watermark);
                let newest = self.newest_epochs.entry(partition.clone()).or_insert(-1);
                *newest = seen.leads_in.unwrap_or(-1).max(*newest);
            }
        }
        for (partition, seen, id) in
            nodes.iter().flat_map(|node| node.replicas.iter().map(|(name, seen)| (name, seen, node.id)))
        {
            let leads =
                seen.leads_in.is_some() && seen.leads_in == self.newest_epochs.get(partition).copied();
            let replicated = self.replicated.get(partition).copied().unwrap_or(0);
            if leads && seen.log_end < replicated {
                let end = seen.log_end;
                return Err(format!(
                    "{partition}: node {id} leads and ends at {end}, {replicated} was replicated"
                ));
            }
        }
        Ok(())
    }
}
