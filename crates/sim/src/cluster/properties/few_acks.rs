//! A record that its leader alone had when it was acknowledged (acks=1) is there as long as that leader goes on: only
//! another leader, or another epoch, may be without it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::cluster::observation::Look;
use crate::event::{Event, RecordId};

#[derive(Debug)]
pub(super) struct FewAcks {
    producers: BTreeSet<u32>,
    /// Since who leads now does, with their offsets.
    records: BTreeMap<TopicPartition, Vec<(i64, RecordId)>>,
}

impl FewAcks {
    pub(super) fn new(producers: &BTreeSet<u32>) -> FewAcks {
        FewAcks { producers: producers.clone(), records: BTreeMap::new() }
    }
}

impl ClusterProperty for FewAcks {
    fn name(&self) -> &'static str {
        "a leader that goes on has all that it has acknowledged"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Acknowledged { partition, first, count, base_offset: Some(base), is_newest: true }
                if self.producers.contains(&first.producer) =>
            {
                let ids = (0..*count).map(|n| RecordId { number: first.number + n, ..*first });
                self.records.entry(partition.clone()).or_default().extend((*base..).zip(ids));
            }
            Event::Led { partition, .. } => {
                self.records.remove(partition);
            }
            _ => {}
        }
        Ok(())
    }

    fn looked_through(&mut self, look: &Look) -> Result<(), String> {
        for log in &look.led {
            let stored: BTreeSet<(i64, RecordId)> =
                log.records.iter().filter_map(|record| Some((record.offset, record.id?))).collect();
            let acknowledged = self.records.get(&log.partition).into_iter().flatten();
            if let Some((offset, id)) = acknowledged.into_iter().find(|told| !stored.contains(*told)) {
                return Err(format!("{}: {id:?} was acknowledged at {offset}, and is gone", log.partition));
            }
        }
        Ok(())
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        self.looked_through(look)
    }
}
