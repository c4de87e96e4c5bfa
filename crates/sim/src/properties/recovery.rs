//! A log after a restart is a beginning of the log before: all of it if only the process ended, and at least what was
//! flushed if the power went. Coordinators may have gone on behind its end by then, in their own topics and with markers.

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
        let kept = old.iter().zip(&new).take_while(|(before, after)| before == after).count();
        let is_internal = name.topic.starts_with("__");
        if let Some(record) = new[kept..].iter().find(|record| !is_internal && record.marker.is_none()) {
            return Err(format!("{name}: {record:?} after, {:?} before", old.get(kept)));
        }
        if let Some(missing) = old.get(kept) {
            if !may_lose {
                return Err(format!("{name}: {missing:?} is gone, there is {:?}", new.get(kept)));
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
            Event::Down { ending, logs, .. } => {
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
