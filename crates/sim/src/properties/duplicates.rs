//! An idempotent producer's record is in its partition once, and its sequence breaks only where records were lost with
//! the power. That holds over restarts too: of what snapshots of producers leave out, the log tells.

use std::collections::BTreeSet;

use super::Property;
use crate::event::{Ending, Event};

#[derive(Debug, Default)]
pub(super) struct Duplicates {
    lost_power: bool,
}

impl Property for Duplicates {
    fn name(&self) -> &'static str {
        "idempotent producers have no duplicates"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Down { ending: Ending::PowerLost, .. } => self.lost_power = true,
            Event::SequenceBroken { producer, partition, code } if !self.lost_power => {
                return Err(format!("producer {producer} was told of a gap in {partition}: code {code}"));
            }
            Event::Up { logs, .. } | Event::Down { logs, .. } => {
                for log in logs {
                    let mut seen = BTreeSet::new();
                    for record in log.records.iter().filter(|record| record.is_idempotent()) {
                        let Some(id) = record.id else { continue };
                        if !seen.insert(id) {
                            return Err(format!("{}: {id:?} is there twice", log.partition));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
