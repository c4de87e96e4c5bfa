//! What a consumer has read stays where it was, whoever leads; nobody is given what lies above the high watermark, and
//! nobody's position is out of range.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::cluster::observation::Look;
use crate::event::{Event, RecordId};
use crate::properties::views::Read;

#[derive(Debug, Default)]
pub(super) struct Views {
    read: Read,
    /// Where records were lost because somebody has asked for a leader that lacks some: what is at a consumer's position may be
    /// gone.
    lossy: BTreeSet<TopicPartition>,
}

impl ClusterProperty for Views {
    fn name(&self) -> &'static str {
        "what consumers have read stays"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Fetched { .. } => self.read.take(event),
            Event::MayHaveLost { partition } => {
                self.read.0.remove(partition);
                self.lossy.insert(partition.clone());
                Ok(())
            }
            Event::OutOfRange { partition, asked } if !self.lossy.contains(partition) => {
                Err(format!("{partition}: {asked} is out of range"))
            }
            Event::Unexpected { what } => Err(what.clone()),
            _ => Ok(()),
        }
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        for (node, logs) in &look.files {
            for log in logs {
                let stored: BTreeMap<i64, RecordId> =
                    log.records.iter().filter_map(|record| Some((record.offset, record.id?))).collect();
                for (offset, id) in self.read.0.get(&log.partition).into_iter().flatten() {
                    if stored.get(offset) != Some(id) {
                        let found = stored.get(offset);
                        return Err(format!(
                            "{} of {node}: {id:?} was read at {offset}: {found:?}",
                            log.partition
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
