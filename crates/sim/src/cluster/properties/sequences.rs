//! Idempotent producers' records are there once and in their order, and no producer hears of a gap, whoever leads.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::cluster::observation::Look;
use crate::event::Event;

#[derive(Debug, Default)]
pub(super) struct Sequences {
    /// Where records were lost because somebody has asked for a leader that lacks some: whoever is in the midst of a sequence may
    /// hear of it much later.
    lossy: BTreeSet<TopicPartition>,
}

impl ClusterProperty for Sequences {
    fn name(&self) -> &'static str {
        "idempotent producers' records are there once and in order"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::MayHaveLost { partition } => {
                self.lossy.insert(partition.clone());
                Ok(())
            }
            Event::SequenceBroken { producer, partition, code } if !self.lossy.contains(partition) => {
                Err(format!("producer {producer} was told of a gap in {partition}: code {code}"))
            }
            _ => Ok(()),
        }
    }

    fn looked_through(&mut self, look: &Look) -> Result<(), String> {
        for (node, logs) in &look.files {
            for log in logs {
                let mut last = BTreeMap::new();
                for record in log.records.iter().filter(|record| record.is_idempotent()) {
                    let Some(id) = record.id else { continue };
                    let before = last.insert(id.producer, id.number);
                    if let Some(before) = before.filter(|before| *before >= id.number) {
                        return Err(format!("{} of {node}: {id:?} comes after {before}", log.partition));
                    }
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        self.looked_through(look)
    }
}
