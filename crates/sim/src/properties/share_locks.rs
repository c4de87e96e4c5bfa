//! A record that a member of a share group has acquired is with nobody else until the member lets go of it, its connection
//! or the node ends, or the lock runs out. A lock begins when the node gives the record, which is not before it was asked
//! for, and not after it was heard of.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, TopicPartition};

use super::{Promises, Property};
use crate::event::{Event, GroupEvent, Word};

#[derive(Debug)]
pub(super) struct ShareLocks {
    promises: Promises,
    /// Who surely has a record, and until when.
    holds: BTreeMap<(TopicPartition, i64), (String, MonoMs)>,
}

impl ShareLocks {
    pub(super) fn new(promises: Promises) -> ShareLocks {
        ShareLocks { promises, holds: BTreeMap::new() }
    }
}

impl Property for ShareLocks {
    fn name(&self) -> &'static str {
        "an acquired record is with one member"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Group(GroupEvent::Acquired { client, partition, first, last, sent, heard, .. }) => {
                let until = sent.plus_ms(self.promises.record_lock_ms);
                for offset in (*first..=*last).filter(|_| *heard < until) {
                    let mine = (client.clone(), until);
                    let before = self.holds.insert((partition.clone(), offset), mine);
                    if let Some((other, until)) = before
                        && other != *client
                        && *heard < until
                    {
                        return Err(format!("{partition}: {offset} is {other}'s still, and {client}'s"));
                    }
                }
            }
            Event::Group(GroupEvent::Saying { client, partition, words }) => {
                for (offset, _) in words.iter().filter(|(_, word)| *word != Word::Renew) {
                    let key = (partition.clone(), *offset);
                    if self.holds.get(&key).is_some_and(|(holder, _)| holder == client) {
                        self.holds.remove(&key);
                    }
                }
            }
            Event::Group(GroupEvent::Forgot { client }) | Event::ConnectionLost { client } => {
                self.holds.retain(|_, (holder, _)| holder != client);
            }
            Event::Down { .. } => self.holds.clear(),
            _ => {}
        }
        Ok(())
    }
}
