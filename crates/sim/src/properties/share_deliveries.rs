//! A share group's records are delivered at least once and at most so often as the limit says, and never again when a
//! member was told that they count as accepted or rejected. In the end each one is accepted, rejected, given up after its
//! last delivery, or of a transaction that was aborted. Of its deliveries one may be unheard of: the last, where a member lost
//! its connection after the one before.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, TopicPartition};

use super::spans::spans;
use super::{Promises, Property};
use crate::event::{Ending, Event, GroupEvent, Word};
use crate::log_files::LogFiles;

/// How the names of members of share groups begin.
const SHARE_MEMBER: &str = "share-member-";

/// What is known of a record.
#[derive(Debug, Default)]
struct Known {
    deliveries_max: i16,
    /// How many connections members had lost by then.
    losses: u64,
    /// What was said of it, whether it was heard or not.
    said: Vec<Word>,
    /// Since when it is done with.
    done: Option<MonoMs>,
}

#[derive(Debug)]
pub(super) struct ShareDeliveries {
    promises: Promises,
    has_group: bool,
    records: BTreeMap<(TopicPartition, i64), Known>,
    /// How many connections members have lost, each perhaps with an answer on its way.
    losses: u64,
    /// Records in front were deleted; they may be there again when the power was lost.
    deleted: BTreeMap<TopicPartition, i64>,
    is_over: bool,
}

impl ShareDeliveries {
    pub(super) fn new(promises: Promises) -> ShareDeliveries {
        ShareDeliveries {
            promises,
            has_group: false,
            records: BTreeMap::new(),
            losses: 0,
            deleted: BTreeMap::new(),
            is_over: false,
        }
    }

    fn on_group(&mut self, event: &GroupEvent) -> Result<(), String> {
        match event {
            GroupEvent::Acquired { client, partition, first, last, delivery_count, sent, .. } => {
                self.has_group = true;
                if !(1..=self.promises.delivery_count_limit).contains(delivery_count) {
                    return Err(format!(
                        "{partition}: {first} to {last} come for the {delivery_count}. time"
                    ));
                }
                for offset in *first..=*last {
                    let known = self.records.entry((partition.clone(), offset)).or_default();
                    // An answer may be heard long after it was given.
                    if let Some(done) = known.done.filter(|done| done < sent) {
                        return Err(format!("{partition}: {offset} comes to {client}, done since {done:?}"));
                    }
                    known.deliveries_max = known.deliveries_max.max(*delivery_count);
                    known.losses = self.losses;
                }
            }
            GroupEvent::Saying { partition, words, .. } => {
                for (offset, word) in words {
                    self.records.entry((partition.clone(), *offset)).or_default().said.push(*word);
                }
            }
            GroupEvent::Said { partition, words, heard } => {
                for (offset, word) in words {
                    if matches!(word, Word::Accept | Word::Reject | Word::Gap) {
                        self.records.entry((partition.clone(), *offset)).or_default().done = Some(*heard);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing is left over.
    fn check_end(&self, log: &LogFiles) -> Result<(), String> {
        let aborted: Vec<i64> = spans(log)
            .iter()
            .filter(|span| !matches!(span.marker, Some((_, true))) && self.promises.share_reads_committed)
            .flat_map(|span| span.records.iter().map(|(offset, _)| *offset))
            .collect();
        let deleted = self.deleted.get(&log.partition).copied().unwrap_or(0);
        let records = log.records.iter().filter(|record| record.id.is_some());
        for record in records.filter(|record| record.offset >= log.log_start.max(deleted)) {
            let name = format!("{}: {}", log.partition, record.offset);
            if aborted.contains(&record.offset) {
                if let Some(known) = self.records.get(&(log.partition.clone(), record.offset)) {
                    return Err(format!("{name} was aborted, and yet delivered: {known:?}"));
                }
                continue;
            }
            let Some(known) = self.records.get(&(log.partition.clone(), record.offset)) else {
                return Err(format!("{name} was never delivered"));
            };
            if known.said.contains(&Word::Gap) {
                return Err(format!("{name} was given without its record"));
            }
            let unheard = i16::from(known.losses < self.losses);
            let is_settled = known.done.is_some()
                || known.said.iter().any(|word| matches!(word, Word::Accept | Word::Reject))
                || known.deliveries_max + unheard >= self.promises.delivery_count_limit;
            if !is_settled {
                return Err(format!("{name} is left over: {known:?}"));
            }
        }
        Ok(())
    }
}

impl Property for ShareDeliveries {
    fn name(&self) -> &'static str {
        "shared records are delivered at least once, at most up to the limit, and not again when they are done with"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        match event {
            Event::Group(event) => self.on_group(event),
            Event::ConnectionLost { client } => {
                self.losses += u64::from(client.starts_with(SHARE_MEMBER));
                Ok(())
            }
            Event::RecordsDeleted { partition, low_watermark } => {
                let deleted = self.deleted.entry(partition.clone()).or_default();
                *deleted = (*deleted).max(*low_watermark);
                Ok(())
            }
            Event::Down { ending: Ending::PowerLost, .. } => {
                self.is_over = !self.promises.flushes_always;
                Ok(())
            }
            Event::End { logs } if self.has_group => {
                let wanted = logs.iter().filter(|log| {
                    self.records.keys().any(|(partition, _)| partition.topic == log.partition.topic)
                });
                wanted.into_iter().try_for_each(|log| self.check_end(log))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RecordId;
    use crate::log_files::Stored;

    const LIMIT: i16 = 5;

    fn acquired(delivery_count: i16) -> Event {
        Event::Group(GroupEvent::Acquired {
            client: "share-member-1".to_owned(),
            partition: TopicPartition::new("t", 0),
            first: 0,
            last: 0,
            delivery_count,
            sent: MonoMs(1),
            heard: MonoMs(2),
            is_newest: true,
        })
    }

    fn lost(client: &str) -> Event {
        Event::ConnectionLost { client: client.to_owned() }
    }

    fn end() -> Event {
        let record = Stored {
            offset: 0,
            timestamp: 0,
            id: Some(RecordId { producer: 1, number: 1 }),
            checksum: 0,
            producer_id: -1,
            producer_epoch: -1,
            is_transactional: false,
            marker: None,
        };
        let partition = TopicPartition::new("t", 0);
        let log = LogFiles { partition, log_start: 0, log_end: 1, flushed: 1, records: vec![record] };
        Event::End { logs: vec![log] }
    }

    #[test]
    fn a_record_is_left_over_unless_its_last_delivery_was_lost() {
        for (events, is_right) in [
            (vec![acquired(LIMIT)], true),
            (vec![acquired(LIMIT - 1)], false),
            (vec![acquired(LIMIT - 1), lost("share-member-2")], true),
            (vec![acquired(LIMIT - 1), lost("consumer-member-2")], false),
            (vec![lost("share-member-2"), acquired(LIMIT - 1)], false),
            (vec![acquired(LIMIT - 2), lost("share-member-1"), lost("share-member-1")], false),
        ] {
            let mut property = ShareDeliveries::new(Promises {
                flushes_always: true,
                share_reads_committed: false,
                record_lock_ms: 1_000,
                delivery_count_limit: LIMIT,
            });
            events.iter().for_each(|event| property.on(event).unwrap());
            assert_eq!(property.on(&end()).is_ok(), is_right, "{events:?}");
        }
    }
}
