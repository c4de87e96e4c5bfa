//! What was committed of the metadata stays: all nodes have acted on the same records, a process never goes back, and in the
//! end nobody is behind what anybody has acted on.

use std::collections::{BTreeMap, VecDeque};

use ottla_types::NodeId;

use super::ClusterProperty;
use crate::cluster::observation::{Look, NodeSeen};

const OBSERVATIONS_TO_HEAR: usize = 150;

#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// The most that anybody had acted on by then, for the last observations: to hear of it takes a while.
    newest: VecDeque<i64>,
    /// Of each process, with what it had published.
    of_processes: BTreeMap<NodeId, (u64, i64)>,
    /// The checksums of records that somebody has published.
    committed: BTreeMap<i64, u64>,
}

impl ClusterProperty for Metadata {
    fn name(&self) -> &'static str {
        "committed metadata stay"
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        let newest = nodes.iter().map(|node| node.metadata_offset).max().unwrap_or(-1);
        for node in nodes {
            let published = (node.process, node.metadata_offset);
            let before = self.of_processes.insert(node.id, published);
            if before.is_some_and(|(process, before)| process == node.process && before > published.1) {
                return Err(format!("node {}: from {before:?} back to {published:?}", node.id));
            }
        }
        let before = self.newest.back().copied().unwrap_or(-1);
        self.newest.push_back(newest.max(before));
        if self.newest.len() > OBSERVATIONS_TO_HEAR {
            self.newest.pop_front();
        }
        Ok(())
    }

    fn looked_through(&mut self, look: &Look) -> Result<(), String> {
        for (node, log) in &look.metadata {
            for record in &log.records {
                let known = *self.committed.entry(record.offset).or_insert(record.checksum);
                if known != record.checksum {
                    return Err(format!("node {node} has published {record:?}, where others had {known}"));
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        self.looked_through(look)?;
        let committed = self.newest.front().copied().unwrap_or(-1);
        match look.nodes.iter().find(|node| node.metadata_offset < committed) {
            Some(behind) => {
                let (id, offset) = (behind.id, behind.metadata_offset);
                Err(format!("node {id} ends at {offset}, {committed} was committed before"))
            }
            None => Ok(()),
        }
    }
}
