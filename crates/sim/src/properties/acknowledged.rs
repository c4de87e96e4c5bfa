//! No acknowledged record is lost: none at all when a process ends, and of those that were flushed none when the power
//! goes.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::{Promises, Property};
use crate::event::{Ending, Event, RecordId};
use crate::log_files::LogFiles;

#[derive(Debug)]
pub(super) struct Acknowledged {
    promises: Promises,
    /// With the offset that was told, if one was.
    records: BTreeMap<TopicPartition, BTreeMap<RecordId, Option<i64>>>,
    /// What was flushed when the power went; empty while nothing else can have been lost.
    flushed: BTreeMap<TopicPartition, i64>,
    lost_power: bool,
}

impl Acknowledged {
    pub(super) fn new(promises: Promises) -> Acknowledged {
        Acknowledged { promises, records: BTreeMap::new(), flushed: BTreeMap::new(), lost_power: false }
    }

    fn check(&mut self, log: &LogFiles) -> Result<(), String> {
        let Some(acknowledged) = self.records.get_mut(&log.partition) else { return Ok(()) };
        // A producer without sequence numbers may have a record there twice.
        let stored: BTreeSet<(RecordId, i64)> =
            log.records.iter().filter_map(|record| Some((record.id?, record.offset))).collect();
        let is_stored = |id: &RecordId| stored.range((*id, 0)..).next().is_some_and(|(found, _)| found == id);
        let may_lose = self.lost_power && !self.promises.flushes_always;
        let flushed = self.flushed.get(&log.partition).copied().unwrap_or(0);
        let mut lost = Vec::new();
        for (id, offset) in acknowledged.iter() {
            match offset {
                Some(told) if stored.contains(&(*id, *told)) || *told < log.log_start => {}
                None if is_stored(id) => {}
                told if may_lose && told.is_none_or(|told| told >= flushed) => lost.push(*id),
                // Where it was is not known, so it may have been among what was deleted.
                None if log.log_start > 0 => {}
                told => {
                    return Err(format!(
                        "{}: {id:?} was acknowledged (at {told:?}) and is lost",
                        log.partition
                    ));
                }
            }
        }
        for id in lost {
            acknowledged.remove(&id);
        }
        Ok(())
    }
}

impl Property for Acknowledged {
    fn name(&self) -> &'static str {
        "no acknowledged record is lost"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Acknowledged { partition, first, count, base_offset } => {
                let of_partition = self.records.entry(partition.clone()).or_default();
                for i in 0..*count {
                    let id = RecordId { number: first.number + i, ..*first };
                    of_partition.insert(id, base_offset.map(|base| base + i as i64));
                }
            }
            Event::Down { ending, logs, .. } => {
                self.lost_power |= *ending == Ending::PowerLost;
                // What a process says that did not get to serve adds nothing.
                for log in logs {
                    self.flushed.entry(log.partition.clone()).or_insert(log.flushed);
                }
            }
            Event::Up { logs, .. } => {
                for partition in self.records.keys() {
                    if !logs.iter().any(|log| log.partition == *partition) {
                        return Err(format!("{partition} is not there any more"));
                    }
                }
                for log in logs {
                    self.check(log)?;
                }
                self.lost_power = false;
                self.flushed.clear();
            }
            _ => {}
        }
        Ok(())
    }
}
