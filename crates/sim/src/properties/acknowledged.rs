//! No acknowledged record is lost: none at all when a process ends, and of those that were flushed none when the power
//! goes. Where the log of transactions has lost something with the power, two instances of a producer may be the same to the
//! node: one may be told of the other's records then.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{TRANSACTION_STATE_TOPIC, TopicPartition};

use super::{Promises, Property};
use crate::event::{Ending, Event, RecordId, TransactionEvent};
use crate::log_files::LogFiles;

#[derive(Debug)]
pub(super) struct Acknowledged {
    promises: Promises,
    /// With the offset that was told, if one was.
    records: BTreeMap<TopicPartition, BTreeMap<RecordId, Option<i64>>>,
    /// What was flushed when the power went; empty while nothing else can have been lost.
    flushed: BTreeMap<TopicPartition, i64>,
    lost_power: bool,
    transactional: BTreeSet<u32>,
    /// Where the logs of transactions ended when the power went.
    decisions: BTreeMap<TopicPartition, i64>,
    has_lost_decisions: bool,
}

impl Acknowledged {
    pub(super) fn new(promises: Promises) -> Acknowledged {
        Acknowledged {
            promises,
            records: BTreeMap::new(),
            flushed: BTreeMap::new(),
            lost_power: false,
            transactional: BTreeSet::new(),
            decisions: BTreeMap::new(),
            has_lost_decisions: false,
        }
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
            Event::Transaction(TransactionEvent::Initialized { producer, .. }) => {
                self.transactional.insert(*producer);
            }
            Event::Acknowledged { first, .. }
                if self.has_lost_decisions && self.transactional.contains(&first.producer) => {}
            Event::Acknowledged { partition, first, count, base_offset, .. } => {
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
                    if &*log.partition.topic == TRANSACTION_STATE_TOPIC {
                        self.decisions.entry(log.partition.clone()).or_insert(log.log_end);
                    }
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
                let is_shorter = |log: &LogFiles| {
                    self.decisions.get(&log.partition).is_some_and(|before| log.log_end < *before)
                };
                self.has_lost_decisions |= logs.iter().any(is_shorter) && !self.promises.flushes_always;
                self.lost_power = false;
                self.flushed.clear();
                self.decisions.clear();
            }
            _ => {}
        }
        Ok(())
    }
}
