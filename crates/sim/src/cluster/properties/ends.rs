//! Where a partition ends, as clients that ask its leaders are told, never goes back, whoever leads.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::event::Event;

#[derive(Debug, Default)]
pub(super) struct Ends {
    told: BTreeMap<TopicPartition, i64>,
}

impl ClusterProperty for Ends {
    fn name(&self) -> &'static str {
        "the ends that leaders tell never go back"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::MayHaveLost { partition } => {
                self.told.remove(partition);
                Ok(())
            }
            Event::EndTold { partition, offset } => {
                let before = self.told.insert(partition.clone(), *offset).unwrap_or(0);
                if before > *offset {
                    return Err(format!("{partition}: {offset} was told after {before}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
