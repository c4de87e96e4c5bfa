//! No partition is owned by two members of one consumer group in one epoch. Where the group itself was lost with the power,
//! epochs are counted from the beginning again, and nothing can be told from them any more.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;

use super::{Promises, Property};
use crate::event::{Ending, Event, GroupEvent, Protocol};

#[derive(Debug)]
pub(super) struct Ownership {
    promises: Promises,
    protocols: BTreeMap<String, Protocol>,
    owners: BTreeMap<(String, i32, TopicPartition), String>,
    is_over: bool,
}

impl Ownership {
    pub(super) fn new(promises: Promises) -> Ownership {
        Ownership { promises, protocols: BTreeMap::new(), owners: BTreeMap::new(), is_over: false }
    }
}

impl Property for Ownership {
    fn name(&self) -> &'static str {
        "no partition has two owners in one epoch"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Down { ending: Ending::PowerLost, .. } => {
                self.is_over |= !self.promises.flushes_always;
            }
            Event::Group(GroupEvent::Joining { protocol, group, .. }) => {
                self.protocols.insert(group.clone(), *protocol);
            }
            Event::Group(GroupEvent::Assigned { group, member, epoch, partitions, .. })
                if !self.is_over && self.protocols.get(group) == Some(&Protocol::Consumer) =>
            {
                for partition in partitions {
                    let key = (group.clone(), *epoch, partition.clone());
                    let owner = self.owners.entry(key).or_insert_with(|| member.clone());
                    if owner != member {
                        return Err(format!(
                            "{group}: {partition} is {member}'s and {owner}'s in epoch {epoch}"
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
