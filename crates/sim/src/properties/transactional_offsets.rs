//! Offsets that are committed in a transaction appear with it and only then: all of them together, never those of a
//! transaction whose producer has not asked to commit it, and from then on for ever when it was told so and the reader
//! asks for stable ones. What was not flushed may be lost with the power.

use std::collections::BTreeMap;

use super::{Promises, Property};
use crate::event::{Ending, Event, TransactionEvent, TransactionId};

#[derive(Debug)]
pub(super) struct TransactionalOffsets {
    promises: Promises,
    /// Whose offset it is, by group.
    owners: BTreeMap<(String, i64), TransactionId>,
    by_transaction: BTreeMap<TransactionId, (String, i64)>,
    /// What its producer has asked for.
    asked: BTreeMap<TransactionId, bool>,
    told: BTreeMap<TransactionId, bool>,
    /// The least that a stable answer may be, by group.
    floors: BTreeMap<String, i64>,
    /// And what it was when a reader asked.
    floors_when_asked: BTreeMap<String, i64>,
    is_over: bool,
}

impl TransactionalOffsets {
    pub(super) fn new(promises: Promises) -> TransactionalOffsets {
        TransactionalOffsets {
            promises,
            owners: BTreeMap::new(),
            by_transaction: BTreeMap::new(),
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
            floors: BTreeMap::new(),
            floors_when_asked: BTreeMap::new(),
            is_over: false,
        }
    }

    fn raise(&mut self, group: &str, offset: i64) {
        let floor = self.floors.entry(group.to_owned()).or_insert(-1);
        *floor = offset.max(*floor);
    }

    fn seen(
        &mut self,
        reader: &str,
        group: &str,
        is_stable: bool,
        is_newest: bool,
        offsets: &[i64],
    ) -> Result<(), String> {
        let Some(&offset) = offsets.first() else { return Err(format!("{reader} was told nothing")) };
        if offsets.iter().any(|other| *other != offset) {
            return Err(format!("{group}: {offsets:?} are not of one transaction"));
        }
        if offset >= 0 {
            let Some(owner) = self.owners.get(&(group.to_owned(), offset)) else {
                return Err(format!("{group}: nobody committed {offset}"));
            };
            if self.asked.get(owner) != Some(&true) || self.told.get(owner) == Some(&false) {
                return Err(format!("{group}: {offset} is seen, and {owner:?} is not committed"));
            }
        }
        let floor = self.floors_when_asked.get(reader).copied().unwrap_or(-1);
        // A former coordinator that has not heard of its successor tells what it knew.
        if is_stable && is_newest && offset < floor {
            return Err(format!("{group}: {offset} is seen after {floor} was committed"));
        }
        if is_stable {
            self.raise(group, offset);
        }
        Ok(())
    }
}

impl Property for TransactionalOffsets {
    fn name(&self) -> &'static str {
        "offsets appear with their transaction and only then"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        let event = match event {
            Event::Transaction(event) => event,
            Event::Down { ending: Ending::PowerLost, .. } => {
                self.is_over = !self.promises.flushes_always;
                return Ok(());
            }
            _ => return Ok(()),
        };
        match event {
            TransactionEvent::OffsetSent { transaction, group, offset } => {
                self.owners.insert((group.clone(), *offset), *transaction);
                self.by_transaction.insert(*transaction, (group.clone(), *offset));
            }
            TransactionEvent::Ending { transaction, committed } => {
                self.asked.insert(*transaction, *committed);
            }
            TransactionEvent::Ended { transaction, committed } => {
                self.told.insert(*transaction, *committed);
                if let Some((group, offset)) = self.by_transaction.get(transaction).cloned()
                    && *committed
                {
                    self.raise(&group, offset);
                }
            }
            TransactionEvent::OffsetsAsked { reader, group } => {
                let floor = self.floors.get(group).copied().unwrap_or(-1);
                self.floors_when_asked.insert(reader.clone(), floor);
            }
            TransactionEvent::OffsetsSeen { reader, group, is_stable, is_newest, offsets } => {
                return self.seen(reader, group, *is_stable, *is_newest, offsets);
            }
            _ => {}
        }
        Ok(())
    }
}
