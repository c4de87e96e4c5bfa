//! What was committed of the metadata stays: a process never goes back, and in the end nobody is behind what anybody has
//! acted on.

use std::collections::{BTreeMap, VecDeque};

use ottla_types::NodeId;

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;
use crate::log_files::LogFiles;

const OBSERVATIONS_TO_HEAR: usize = 150;

#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// The most that anybody had acted on by then, for the last observations: to hear of it takes a while.
    newest: VecDeque<i64>,
}

impl ClusterProperty for Metadata {
    fn name(&self) -> &'static str {
        "committed metadata stay"
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        let newest = nodes.iter().map(|node| node.metadata_offset).max().unwrap_or(-1);
        let before = self.newest.back().copied().unwrap_or(-1);
        self.newest.push_back(newest.max(before));
        if self.newest.len() > OBSERVATIONS_TO_HEAR {
            self.newest.pop_front();
        }
        Ok(())
    }

    fn ended(&mut self, nodes: &[NodeSeen], _: &BTreeMap<NodeId, Vec<LogFiles>>) -> Result<(), String> {
        let committed = self.newest.front().copied().unwrap_or(-1);
        match nodes.iter().find(|node| node.metadata_offset < committed) {
            Some(behind) => {
                let (id, offset) = (behind.id, behind.metadata_offset);
                Err(format!("node {id} ends at {offset}, {committed} was committed before"))
            }
            None => Ok(()),
        }
    }
}
