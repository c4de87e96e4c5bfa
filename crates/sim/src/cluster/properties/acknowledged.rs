//! No record that was acknowledged by all in-sync replicas is lost.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{NodeId, TopicPartition};

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;
use crate::event::{Event, RecordId};
use crate::log_files::LogFiles;

#[derive(Debug)]
pub(super) struct Acknowledged {
    acks_all: BTreeSet<u32>,
    /// With the offset that was told, if one was.
    records: BTreeMap<TopicPartition, BTreeMap<RecordId, Option<i64>>>,
    /// The newest leader epoch that anybody has led in.
    epochs: BTreeMap<TopicPartition, i32>,
}

impl Acknowledged {
    pub(super) fn new(acks_all: &[u32]) -> Acknowledged {
        Acknowledged {
            acks_all: acks_all.iter().copied().collect(),
            records: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }

    fn check(&self, node: NodeId, log: &LogFiles) -> Result<(), String> {
        let Some(acknowledged) = self.records.get(&log.partition) else { return Ok(()) };
        let stored: BTreeSet<(RecordId, i64)> =
            log.records.iter().filter_map(|record| Some((record.id?, record.offset))).collect();
        let is_stored = |id: &RecordId| stored.range((*id, 0)..).next().is_some_and(|(found, _)| found == id);
        for (id, told) in acknowledged {
            let is_there = told.map_or_else(|| is_stored(id), |told| stored.contains(&(*id, told)));
            if !is_there {
                return Err(format!(
                    "{}: {id:?} was acknowledged (at {told:?}), and node {node} has it not: {} to {}",
                    log.partition, log.log_start, log.log_end
                ));
            }
        }
        Ok(())
    }
}

impl ClusterProperty for Acknowledged {
    fn name(&self) -> &'static str {
        "no record that all have acknowledged is lost"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        if let Event::Acknowledged { partition, first, count, base_offset } = event
            && self.acks_all.contains(&first.producer)
        {
            let of_partition = self.records.entry(partition.clone()).or_default();
            for i in 0..*count {
                let id = RecordId { number: first.number + i, ..*first };
                of_partition.insert(id, base_offset.map(|base| base + i as i64));
            }
        }
        Ok(())
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        for (partition, seen) in nodes.iter().flat_map(|node| &node.replicas) {
            let newest = self.epochs.entry(partition.clone()).or_insert(-1);
            *newest = seen.leads_in.unwrap_or(-1).max(*newest);
        }
        Ok(())
    }

    /// The newest leader of each partition has them all.
    fn looked_through(
        &mut self,
        nodes: &[NodeSeen],
        files: &BTreeMap<NodeId, Vec<LogFiles>>,
    ) -> Result<(), String> {
        for partition in self.records.keys() {
            let newest = self.epochs.get(partition).copied();
            let leads = |node: &NodeSeen| node.replicas.get(partition).and_then(|seen| seen.leads_in);
            let leader = nodes.iter().find(|node| newest.is_some() && leads(node) == newest);
            let Some(leader) = leader.map(|node| node.id) else { continue };
            let logs = files.get(&leader).into_iter().flatten();
            for log in logs.filter(|log| log.partition == *partition) {
                self.check(leader, log)?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, _: &[NodeSeen], files: &BTreeMap<NodeId, Vec<LogFiles>>) -> Result<(), String> {
        for (node, logs) in files {
            for log in logs {
                self.check(*node, log)?;
            }
        }
        Ok(())
    }
}
