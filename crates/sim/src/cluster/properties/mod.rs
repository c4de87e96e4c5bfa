//! What must hold of a cluster, one file each.

mod acknowledged;
mod agreement;
mod leaders;
mod metadata;
mod sequences;
mod views;

use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla_types::NodeId;

use super::observation::NodeSeen;
use crate::event::Event;
use crate::log_files::LogFiles;

/// Something that must hold all along. Each method says what is wrong.
pub trait ClusterProperty: Debug {
    fn name(&self) -> &'static str;

    /// What a client has heard.
    fn heard(&mut self, _: &Event) -> Result<(), String> {
        Ok(())
    }

    /// What is so on the nodes, again and again.
    fn observed(&mut self, _: &[NodeSeen]) -> Result<(), String> {
        Ok(())
    }

    /// What the files of the nodes hold, now and then, with what is so on the nodes.
    fn looked_through(&mut self, _: &[NodeSeen], _: &BTreeMap<NodeId, Vec<LogFiles>>) -> Result<(), String> {
        Ok(())
    }

    /// The files when nothing fails any more and everybody is done.
    fn ended(&mut self, _: &[NodeSeen], _: &BTreeMap<NodeId, Vec<LogFiles>>) -> Result<(), String> {
        Ok(())
    }
}

/// All of them. `acks_all` are the producers whose records are to be on all in-sync replicas.
pub fn all(acks_all: &[u32]) -> Vec<Box<dyn ClusterProperty>> {
    vec![
        Box::new(acknowledged::Acknowledged::new(acks_all)),
        Box::new(agreement::Agreement),
        Box::new(leaders::Leaders::default()),
        Box::new(metadata::Metadata::default()),
        Box::new(sequences::Sequences),
        Box::new(views::Views::default()),
    ]
}
