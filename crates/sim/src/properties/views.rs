//! What consumers see: an offset's record never changes, nothing above the high watermark, all that lies between, and a
//! high watermark that does not go back. Only a loss of power may take back what was not flushed.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;

use super::{Promises, Property};
use crate::event::{Ending, Event, RecordId};

/// What all consumers have read.
#[derive(Debug, Default)]
pub(crate) struct Read(pub BTreeMap<TopicPartition, BTreeMap<i64, RecordId>>);

impl Read {
    /// Takes up what a consumer was answered: nothing in it lies above the high watermark, and nothing is another record
    /// than somebody has read there before.
    pub fn take(&mut self, event: &Event) -> Result<(), String> {
        let Event::Fetched { partition, high_watermark, last_stable_offset, records, .. } = event else {
            return Ok(());
        };
        if last_stable_offset > high_watermark {
            return Err(format!("{partition}: stable up to {last_stable_offset} > {high_watermark}"));
        }
        let read = self.0.entry(partition.clone()).or_default();
        for record in records {
            if record.offset >= *high_watermark {
                return Err(format!("{partition}: {record:?} is above {high_watermark}"));
            }
            let other = read.insert(record.offset, record.id).filter(|other| *other != record.id);
            if let Some(other) = other {
                return Err(format!("{partition}: {record:?}, where there was {other:?}"));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Views {
    promises: Promises,
    read: Read,
    high_watermarks: BTreeMap<TopicPartition, i64>,
    lost_power: bool,
}

impl Views {
    pub(super) fn new(promises: Promises) -> Views {
        Views { promises, read: Read::default(), high_watermarks: BTreeMap::new(), lost_power: false }
    }
}

impl Property for Views {
    fn name(&self) -> &'static str {
        "consumers see one log, up to its high watermark"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Fetched { partition, high_watermark, .. } => {
                self.read.take(event)?;
                let before = self.high_watermarks.entry(partition.clone()).or_default();
                // Two consumers' answers may be heard in another order than they were given.
                *before = (*before).max(*high_watermark);
            }
            Event::Down { ending, .. } => self.lost_power |= *ending == Ending::PowerLost,
            Event::Up { logs, .. } => {
                for log in logs {
                    let may_lose = self.lost_power && !self.promises.flushes_always;
                    let seen = self.read.0.entry(log.partition.clone()).or_default();
                    let high_watermark = self.high_watermarks.entry(log.partition.clone()).or_default();
                    if may_lose {
                        seen.split_off(&log.log_end);
                        *high_watermark = (*high_watermark).min(log.log_end);
                    }
                    if *high_watermark > log.log_end {
                        let end = log.log_end;
                        return Err(format!("{}: from {high_watermark} back to {end}", log.partition));
                    }
                    for record in &log.records {
                        if let (Some(seen), Some(stored)) = (seen.get(&record.offset), record.id)
                            && *seen != stored
                        {
                            return Err(format!("{}: {seen:?} became {record:?}", log.partition));
                        }
                    }
                }
                self.lost_power = false;
            }
            _ => {}
        }
        Ok(())
    }
}
