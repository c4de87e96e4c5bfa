//! The last stable offset never passes an open transaction: of all that a reader is told is stable, the markers lie below
//! the high watermark that it is told with it, or below one that somebody was told before: who leads anew does not know at
//! once how far all is replicated. And read_committed gets nothing above it.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;

use super::Property;
use super::spans::spans;
use crate::event::Event;
use crate::log_files::LogFiles;

/// A last stable offset, and the highest high watermark that was told by then.
type Told = (i64, i64);

#[derive(Debug, Default)]
pub(super) struct StableOffset {
    /// Since the files were looked at last.
    told: BTreeMap<TopicPartition, Vec<Told>>,
    /// The highest; of one node, by its process.
    high_watermarks: BTreeMap<TopicPartition, i64>,
}

impl StableOffset {
    fn check(&mut self, log: &LogFiles) -> Result<(), String> {
        let Some(told) = self.told.remove(&log.partition) else { return Ok(()) };
        for span in spans(log) {
            for (stable, high_watermark) in &told {
                let is_decided = span.marker.is_some_and(|(at, _)| at < *high_watermark);
                // What lies in front of the log's beginning holds nobody back.
                if span.first.max(log.log_start) < *stable && !is_decided {
                    return Err(format!(
                        "{}: stable up to {stable}, high watermark {high_watermark}, open: {span:?}",
                        log.partition
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Property for StableOffset {
    fn name(&self) -> &'static str {
        "the last stable offset never passes an open transaction"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Fetched {
                partition, high_watermark, last_stable_offset, read_committed, records, ..
            } => {
                let highest = self.high_watermarks.entry(partition.clone()).or_default();
                *highest = (*highest).max(*high_watermark);
                let told = self.told.entry(partition.clone()).or_default();
                let new = (*last_stable_offset, *highest);
                if told.last() != Some(&new) {
                    told.push(new);
                }
                let above = records.iter().find(|record| record.offset >= *last_stable_offset);
                if let Some(above) = above.filter(|_| *read_committed) {
                    return Err(format!("{partition}: {above:?} is above {last_stable_offset}"));
                }
                Ok(())
            }
            Event::Down { logs, .. } | Event::Files { logs } | Event::End { logs } => {
                logs.iter().try_for_each(|log| self.check(log))?;
                self.told.clear();
                if matches!(event, Event::Down { .. }) {
                    self.high_watermarks.clear();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
