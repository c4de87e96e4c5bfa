//! What must hold of a cluster, one file each. What must hold of one node too, as clients and the newest leaders' logs show
//! it, is the same property (`of_leaders`).

mod acknowledged;
mod agreement;
mod eligible;
mod ends;
mod few_acks;
mod high_watermarks;
mod in_sync;
mod leaders;
mod metadata;
mod of_leaders;
mod placement;
mod sequences;
mod views;

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::observation::{Look, NodeSeen};
use crate::event::Event;
use crate::properties::Promises;

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
    fn looked_through(&mut self, _: &Look) -> Result<(), String> {
        Ok(())
    }

    /// The files when nothing fails any more and everybody is done.
    fn ended(&mut self, _: &Look) -> Result<(), String> {
        Ok(())
    }

    /// What is still to come when nothing fails any more.
    fn unsettled(&self) -> Option<String> {
        None
    }
}

/// All of them. `fewer_acks` are the producers whose records need not be on all in-sync replicas.
pub fn all(fewer_acks: &BTreeSet<u32>, promises: Promises) -> Vec<Box<dyn ClusterProperty>> {
    let mut all: Vec<Box<dyn ClusterProperty>> = vec![
        Box::new(acknowledged::Acknowledged::new(fewer_acks)),
        Box::new(agreement::Agreement),
        Box::new(eligible::Eligible::default()),
        Box::new(ends::Ends::default()),
        Box::new(few_acks::FewAcks::new(fewer_acks)),
        Box::new(high_watermarks::HighWatermarks::default()),
        Box::new(in_sync::InSync::default()),
        Box::new(leaders::Leaders::default()),
        Box::new(metadata::Metadata::default()),
        Box::new(placement::Placement),
        Box::new(sequences::Sequences::default()),
        Box::new(views::Views::default()),
    ];
    let of_nodes = crate::properties::of_cluster(promises).into_iter();
    all.extend(
        of_nodes.map(|property| Box::new(of_leaders::OfLeaders(property)) as Box<dyn ClusterProperty>),
    );
    all
}
