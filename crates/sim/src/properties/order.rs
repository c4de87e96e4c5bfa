//! A partition holds an idempotent producer's records in the order in which it sent them, and offsets only grow.

use std::collections::BTreeMap;

use super::Property;
use crate::event::Event;

#[derive(Debug)]
pub(super) struct Order;

impl Property for Order {
    fn name(&self) -> &'static str {
        "a partition's records are in order"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        let (Event::Up { logs, .. } | Event::Down { logs, .. } | Event::Files { logs }) = event else {
            return Ok(());
        };
        for log in logs {
            let mut last = BTreeMap::new();
            for pair in log.records.windows(2) {
                if pair[1].offset <= pair[0].offset {
                    return Err(format!("{}: {:?} before {:?}", log.partition, pair[0], pair[1]));
                }
            }
            for record in log.records.iter().filter(|record| record.is_idempotent()) {
                let Some(id) = record.id else { continue };
                let before = last.insert(id.producer, id.number);
                if let Some(before) = before.filter(|before| *before >= id.number) {
                    return Err(format!("{}: {id:?} comes after number {before}", log.partition));
                }
            }
        }
        Ok(())
    }
}
