//! A record that a member of a share group has acquired is with nobody else until the member lets go of it, its connection
//! or the node ends, another leads the partition, or the lock runs out. A lock begins when the node gives the record, which
//! is not before it was asked for, and not after it was heard of.
//!
//! Locks are not kept: a new leader gives anew what nobody has acknowledged. One that has not heard of its successor gives
//! what nobody can acknowledge there any more, which is no lock.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, TopicPartition};

use super::{Promises, Property};
use crate::event::{Event, GroupEvent, Word};

#[derive(Debug)]
pub(super) struct ShareLocks {
    promises: Promises,
    /// Who surely has a record, and until when.
    holds: BTreeMap<(TopicPartition, i64), (String, MonoMs)>,
    /// Since when who leads now.
    led_since: BTreeMap<TopicPartition, MonoMs>,
}

impl ShareLocks {
    pub(super) fn new(promises: Promises) -> ShareLocks {
        ShareLocks { promises, holds: BTreeMap::new(), led_since: BTreeMap::new() }
    }
}

impl Property for ShareLocks {
    fn name(&self) -> &'static str {
        "an acquired record is with one member"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Group(GroupEvent::Acquired {
                client,
                partition,
                first,
                last,
                sent,
                heard,
                is_newest,
                ..
            }) => {
                let is_former = self.led_since.get(partition).is_some_and(|since| sent <= since);
                if is_former || !is_newest {
                    return Ok(());
                }
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
            Event::Led { partition, at } => {
                self.holds.retain(|(led, _), _| led != partition);
                self.led_since.insert(partition.clone(), *at);
            }
            Event::Down { .. } | Event::ProcessEnded => self.holds.clear(),
            _ => {}
        }
        Ok(())
    }
}
