//! A transaction is all or nothing, in every partition and after every crash: its records are committed everywhere or
//! nowhere, as its producer asked and was told. Records that were not flushed may be lost with the power; nothing can be
//! told any more after that.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;

use super::spans::{Span, spans};
use super::{Promises, Property};
use crate::event::{Ending, Event, RecordId, TransactionEvent, TransactionId};
use crate::log_files::LogFiles;

/// What is known of a transaction.
#[derive(Debug, Default)]
struct Known {
    /// Its producer has asked for this end, or for none.
    asked: Option<bool>,
    told: Option<bool>,
    /// As a log says, and which.
    outcome: Option<(bool, TopicPartition)>,
}

#[derive(Debug)]
pub(super) struct Atomic {
    promises: Promises,
    /// Of which transaction the records of a partition are.
    records: BTreeMap<(TopicPartition, RecordId), TransactionId>,
    transactions: BTreeMap<TransactionId, Known>,
    is_over: bool,
}

impl Atomic {
    pub(super) fn new(promises: Promises) -> Atomic {
        Atomic { promises, records: BTreeMap::new(), transactions: BTreeMap::new(), is_over: false }
    }

    fn check(&mut self, log: &LogFiles) -> Result<(), String> {
        for span in spans(log) {
            self.check_span(&log.partition, &span)?;
        }
        Ok(())
    }

    fn check_span(&mut self, partition: &TopicPartition, span: &Span) -> Result<(), String> {
        let mut of_span = None;
        for (offset, id) in &span.records {
            let Some(transaction) = self.records.get(&(partition.clone(), *id)) else {
                return Err(format!("{partition}: nobody sent {id:?} at {offset} in a transaction"));
            };
            if of_span.is_some_and(|other| other != *transaction) {
                return Err(format!("{partition}: no marker lies between {of_span:?} and {transaction:?}"));
            }
            of_span = Some(*transaction);
        }
        let (Some(transaction), Some((at, committed))) = (of_span, span.marker) else { return Ok(()) };
        let known = self.transactions.entry(transaction).or_default();
        let here = format!("{partition} has its marker (committed: {committed}) at {at}");
        if let Some((other, elsewhere)) = &known.outcome
            && *other != committed
        {
            return Err(format!("{transaction:?}: {here}, {elsewhere} says {other}"));
        }
        if committed && known.asked != Some(true) {
            return Err(format!("{transaction:?}: {here}, and its producer asked for {:?}", known.asked));
        }
        if known.told.is_some_and(|told| told != committed) {
            return Err(format!("{transaction:?}: {here}, and its producer was told {:?}", known.told));
        }
        known.outcome = Some((committed, partition.clone()));
        Ok(())
    }

    /// Everybody is done, so nothing is left open.
    fn check_end(&self, log: &LogFiles) -> Result<(), String> {
        match spans(log).into_iter().find(|span| span.marker.is_none()) {
            Some(open) => Err(format!("{}: a transaction is left open: {open:?}", log.partition)),
            None => Ok(()),
        }
    }
}

impl Property for Atomic {
    fn name(&self) -> &'static str {
        "a transaction is all or nothing"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        match event {
            Event::Transaction(TransactionEvent::Sent { transaction, partition, first, count }) => {
                for number in first.number..first.number + count {
                    let id = RecordId { number, ..*first };
                    self.records.insert((partition.clone(), id), *transaction);
                }
            }
            Event::Transaction(TransactionEvent::Ending { transaction, committed }) => {
                self.transactions.entry(*transaction).or_default().asked = Some(*committed);
            }
            Event::Transaction(TransactionEvent::Ended { transaction, committed }) => {
                let known = self.transactions.entry(*transaction).or_default();
                known.told = Some(*committed);
                if let Some((outcome, partition)) = known.outcome.as_ref().filter(|(o, _)| o != committed) {
                    return Err(format!("{transaction:?} was told {committed}, {partition} says {outcome}"));
                }
            }
            Event::Transaction(TransactionEvent::Hanging { partition, producer_id }) => {
                return Err(format!("{partition}: the transaction of {producer_id} does not end"));
            }
            Event::Down { logs, ending, .. } => {
                logs.iter().try_for_each(|log| self.check(log))?;
                self.is_over = *ending == Ending::PowerLost && !self.promises.flushes_always;
            }
            Event::Up { logs, .. } | Event::Files { logs } => {
                logs.iter().try_for_each(|log| self.check(log))?;
            }
            Event::End { logs } => {
                logs.iter().try_for_each(|log| self.check(log))?;
                logs.iter().try_for_each(|log| self.check_end(log))?;
            }
            _ => {}
        }
        Ok(())
    }
}
