//! No record that was acknowledged by all in-sync replicas is lost.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::cluster::observation::Look;
use crate::event::{Event, RecordId};
use crate::log_files::LogFiles;

#[derive(Debug)]
pub(super) struct Acknowledged {
    fewer_acks: BTreeSet<u32>,
    /// With the offset that was told, if one was.
    records: BTreeMap<TopicPartition, BTreeMap<RecordId, Option<i64>>>,
}

impl Acknowledged {
    pub(super) fn new(fewer_acks: &BTreeSet<u32>) -> Acknowledged {
        Acknowledged { fewer_acks: fewer_acks.clone(), records: BTreeMap::new() }
    }

    fn check(&self, whose: &str, log: &LogFiles) -> Result<(), String> {
        let Some(acknowledged) = self.records.get(&log.partition) else { return Ok(()) };
        let stored: BTreeSet<(RecordId, i64)> =
            log.records.iter().filter_map(|record| Some((record.id?, record.offset))).collect();
        let is_stored = |id: &RecordId| stored.range((*id, 0)..).next().is_some_and(|(found, _)| found == id);
        for (id, told) in acknowledged {
            let is_there = told.map_or_else(|| is_stored(id), |told| stored.contains(&(*id, told)));
            if !is_there {
                return Err(format!(
                    "{}: {id:?} was acknowledged (at {told:?}), and {whose} has it not: {} to {}",
                    log.partition, log.log_start, log.log_end
                ));
            }
        }
        Ok(())
    }
}

impl ClusterProperty for Acknowledged {
    fn name(&self) -> &'static str {
        "no record that all have acknowledged is lost"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        if let Event::MayHaveLost { partition } = event {
            self.records.remove(partition);
        }
        if let Event::Acknowledged { partition, first, count, base_offset, .. } = event
            && !self.fewer_acks.contains(&first.producer)
        {
            let of_partition = self.records.entry(partition.clone()).or_default();
            for i in 0..*count {
                let id = RecordId { number: first.number + i, ..*first };
                of_partition.insert(id, base_offset.map(|base| base + i as i64));
            }
        }
        Ok(())
    }

    /// The newest leader of each partition has them all.
    fn looked_through(&mut self, look: &Look) -> Result<(), String> {
        look.led.iter().try_for_each(|log| self.check("its leader", log))
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        for (node, logs) in &look.files {
            logs.iter().try_for_each(|log| self.check(&format!("node {node}"), log))?;
        }
        Ok(())
    }
}
