//! A log after a restart is a beginning of the log before: all of it if only the process ended, and at least what was
//! flushed if the power went.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;

use super::{Promises, Property};
use crate::event::{Ending, Event};
use crate::log_files::{LogFiles, Stored};

#[derive(Debug)]
pub(super) struct Recovery {
    promises: Promises,
    before: BTreeMap<TopicPartition, LogFiles>,
    lost_power: bool,
}

impl Recovery {
    pub(super) fn new(promises: Promises) -> Recovery {
        Recovery { promises, before: BTreeMap::new(), lost_power: false }
    }

    fn compare(&self, before: &LogFiles, after: &LogFiles) -> Result<(), String> {
        let name = &before.partition;
        let may_lose = self.lost_power && !self.promises.flushes_always;
        // Records in front of either beginning may be there or not.
        let start = before.log_start.max(after.log_start);
        let of = |log: &LogFiles| -> Vec<Stored> {
            log.records.iter().filter(|record| record.offset >= start).copied().collect()
        };
        let (old, new) = (of(before), of(after));
        let end = new.last().map_or(start, |record| record.offset + 1);
        for (i, record) in new.iter().enumerate() {
            if old.get(i) != Some(record) {
                return Err(format!("{name}: {record:?} after, {:?} before", old.get(i)));
            }
        }
        if let Some(missing) = old.get(new.len()) {
            if !may_lose {
                return Err(format!("{name}: {missing:?} is gone, the log ends at {end}"));
            }
            if missing.offset < before.flushed {
                return Err(format!("{name}: {missing:?} is gone and was flushed ({})", before.flushed));
            }
        }
        Ok(())
    }
}

impl Property for Recovery {
    fn name(&self) -> &'static str {
        "recovery ends in a prefix that holds all that was flushed"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Down { ending, logs } => {
                self.lost_power |= *ending == Ending::PowerLost;
                for log in logs {
                    // A process that did not get to serve has added nothing.
                    self.before.entry(log.partition.clone()).or_insert_with(|| log.clone());
                }
            }
            Event::Up { logs, .. } => {
                for log in logs {
                    if let Some(before) = self.before.get(&log.partition) {
                        self.compare(before, log)?;
                    }
                }
                self.before.clear();
                self.lost_power = false;
            }
            _ => {}
        }
        Ok(())
    }
}
