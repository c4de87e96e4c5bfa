//! What a consumer has read stays where it was, whoever leads; nobody is given what lies above the high watermark, and
//! nobody's position is out of range.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;
use crate::event::{Event, RecordId};
use crate::log_files::LogFiles;

#[derive(Debug, Default)]
pub(super) struct Views {
    seen: BTreeMap<TopicPartition, BTreeMap<i64, RecordId>>,
}

impl ClusterProperty for Views {
    fn name(&self) -> &'static str {
        "what consumers have read stays"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Fetched { partition, high_watermark, last_stable_offset, records, .. } => {
                if last_stable_offset > high_watermark {
                    return Err(format!("{partition}: stable up to {last_stable_offset} > {high_watermark}"));
                }
                let seen = self.seen.entry(partition.clone()).or_default();
                for record in records {
                    if record.offset >= *high_watermark {
                        return Err(format!("{partition}: {record:?} is above {high_watermark}"));
                    }
                    let other = seen.insert(record.offset, record.id).filter(|other| *other != record.id);
                    if let Some(other) = other {
                        return Err(format!("{partition}: {record:?}, where there was {other:?}"));
                    }
                }
                Ok(())
            }
            Event::OutOfRange { partition, asked } => Err(format!("{partition}: {asked} is out of range")),
            Event::Unexpected { what } => Err(what.clone()),
            _ => Ok(()),
        }
    }

    fn ended(&mut self, _: &[NodeSeen], files: &BTreeMap<NodeId, Vec<LogFiles>>) -> Result<(), String> {
        for (node, logs) in files {
            for log in logs {
                let stored: BTreeMap<i64, RecordId> =
                    log.records.iter().filter_map(|record| Some((record.offset, record.id?))).collect();
                for (offset, id) in self.seen.get(&log.partition).into_iter().flatten() {
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
