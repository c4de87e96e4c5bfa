//! A producer that was fenced appends nothing more: what an instance sends after a later one was told who it is, is not
//! taken, no two instances are the same, and in a log no epoch of a producer comes after a larger one. And nobody is
//! fenced without a reason: another instance, the time that its transaction was open, or the loss of what was not flushed.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::{Promises, Property};
use crate::event::{Ending, Event, RecordId, TransactionEvent, TransactionId};
use crate::log_files::LogFiles;

/// Timeouts are noticed at the broker, which has seen more of the time than the client when answers are slow.
const TIMEOUT_SLACK_MS: u64 = 300;

/// Who an instance was told to be.
type Identity = (i64, i16);

#[derive(Debug)]
pub(super) struct Fencing {
    promises: Promises,
    instances: BTreeMap<u32, (String, Identity)>,
    /// Of each id the latest identity that an instance was told.
    latest: BTreeMap<String, Identity>,
    /// Who has asked to become an instance of it, in order.
    asked: BTreeMap<String, Vec<u32>>,
    /// Since whom another instance may have come: its own question, or that of another who was not answered by then.
    rivals_since: BTreeMap<u32, usize>,
    /// Who asks no more.
    vanished: BTreeSet<u32>,
    /// What fenced instances sent.
    forbidden: BTreeSet<(TopicPartition, RecordId)>,
    forbidden_ends: BTreeSet<TransactionId>,
    /// Clocks were set: how long a transaction has been open is not what the client thinks.
    times_out_at_any_time: bool,
    is_over: bool,
}

impl Fencing {
    pub(super) fn new(promises: Promises) -> Fencing {
        Fencing {
            promises,
            instances: BTreeMap::new(),
            latest: BTreeMap::new(),
            asked: BTreeMap::new(),
            rivals_since: BTreeMap::new(),
            vanished: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            forbidden_ends: BTreeSet::new(),
            times_out_at_any_time: false,
            is_over: false,
        }
    }

    fn is_fenced(&self, producer: u32) -> bool {
        self.instances
            .get(&producer)
            .is_some_and(|(id, identity)| self.latest.get(id).is_some_and(|latest| latest > identity))
    }

    fn on_transaction(&mut self, event: &TransactionEvent) -> Result<(), String> {
        match event {
            TransactionEvent::Initializing { transactional_id, producer } => {
                let asked = self.asked.entry(transactional_id.clone()).or_default();
                // Requests may overtake each other on their ways to the node, and who is not answered asks again.
                let last = asked.len().saturating_sub(1);
                let may_come = |(place, other): (usize, &u32)| {
                    !self.instances.contains_key(other) && (place == last || !self.vanished.contains(other))
                };
                let since = asked.iter().enumerate().position(may_come).unwrap_or(asked.len());
                self.rivals_since.entry(*producer).or_insert(since);
                asked.push(*producer);
            }
            TransactionEvent::Initialized { transactional_id, producer, producer_id, epoch } => {
                let identity = (*producer_id, *epoch);
                let mut others = self.instances.iter().filter(|(other, _)| *other != producer);
                if let Some((other, _)) = others.find(|(_, (_, told))| *told == identity) {
                    return Err(format!("{producer} and {other} are both {identity:?}"));
                }
                self.instances.insert(*producer, (transactional_id.clone(), identity));
                let latest = self.latest.entry(transactional_id.clone()).or_insert(identity);
                *latest = identity.max(*latest);
            }
            TransactionEvent::Sent { transaction, partition, first, count }
                if self.is_fenced(transaction.producer) =>
            {
                let ids = (first.number..first.number + count).map(|number| RecordId { number, ..*first });
                self.forbidden.extend(ids.map(|id| (partition.clone(), id)));
            }
            TransactionEvent::Ending { transaction, .. } if self.is_fenced(transaction.producer) => {
                self.forbidden_ends.insert(*transaction);
            }
            TransactionEvent::Ended { transaction, .. } if self.forbidden_ends.contains(transaction) => {
                return Err(format!("{transaction:?} could end, and its producer was fenced"));
            }
            TransactionEvent::Vanished { producer } => {
                self.vanished.insert(*producer);
            }
            // A former coordinator does not know the newest instance.
            TransactionEvent::Refused { is_newest: false, .. } => {}
            TransactionEvent::Refused { producer, what, code, open_ms, timeout_ms, .. } => {
                let id = self.instances.get(producer).map(|(id, _)| id);
                let asked = id.and_then(|id| self.asked.get(id)).map(Vec::as_slice).unwrap_or_default();
                let since = self.rivals_since.get(producer).copied().unwrap_or(0);
                let is_alone = asked.iter().skip(since).all(|other| other == producer);
                let is_in_time = match open_ms {
                    Some(open_ms) => !self.times_out_at_any_time && open_ms + TIMEOUT_SLACK_MS < *timeout_ms,
                    None => true,
                };
                if is_alone && is_in_time {
                    return Err(format!(
                        "{producer} was refused {what} (code {code}) {open_ms:?} ms into a transaction of \
                         {timeout_ms} ms, and no other came"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self, log: &LogFiles) -> Result<(), String> {
        let mut epochs: BTreeMap<i64, i16> = BTreeMap::new();
        for record in &log.records {
            if let Some(id) = record.id
                && self.forbidden.contains(&(log.partition.clone(), id))
            {
                return Err(format!("{}: {id:?} is of a fenced producer", log.partition));
            }
            if !record.is_transactional {
                continue;
            }
            let epoch = epochs.entry(record.producer_id).or_insert(record.producer_epoch);
            if record.producer_epoch < *epoch {
                return Err(format!("{}: {record:?} comes after epoch {epoch}", log.partition));
            }
            *epoch = record.producer_epoch;
        }
        Ok(())
    }
}

impl Property for Fencing {
    fn name(&self) -> &'static str {
        "a fenced producer appends nothing, and nobody is fenced without a reason"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        match event {
            Event::Transaction(event) => self.on_transaction(event),
            Event::Acknowledged { partition, first, .. }
                if self.forbidden.contains(&(partition.clone(), *first)) =>
            {
                Err(format!("{partition}: {first:?} was taken from a fenced producer"))
            }
            Event::Down { logs, ending, .. } => {
                self.is_over = *ending == Ending::PowerLost && !self.promises.flushes_always;
                logs.iter().try_for_each(|log| self.check(log))
            }
            Event::Up { logs, .. } | Event::Files { logs } | Event::End { logs } => {
                logs.iter().try_for_each(|log| self.check(log))
            }
            Event::ClockSet => {
                self.times_out_at_any_time = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
