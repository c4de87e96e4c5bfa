//! Once nothing fails any more, all partitions that a group's members want are theirs within bounded time: in a consumer
//! group each has one owner and nobody has two more than another, in a share group each is with somebody.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::Property;
use crate::event::{Event, GroupEvent, Protocol};

#[derive(Debug)]
struct Group {
    protocol: Protocol,
    wanted: BTreeSet<TopicPartition>,
    /// What each client has at present.
    clients: BTreeMap<String, Vec<TopicPartition>>,
}

#[derive(Debug, Default)]
pub(super) struct Assigned {
    groups: BTreeMap<String, Group>,
}

impl Group {
    fn unsettled(&self) -> Option<String> {
        let all: Vec<&TopicPartition> = self.clients.values().flatten().collect();
        let distinct: BTreeSet<&TopicPartition> = all.iter().copied().collect();
        let loads = self.clients.values().map(Vec::len);
        let (least, most) = (loads.clone().min().unwrap_or(0), loads.max().unwrap_or(0));
        let is_settled = match self.protocol {
            Protocol::Consumer => all.len() == distinct.len() && most - least <= 1,
            Protocol::Share => true,
        };
        let is_complete = distinct.iter().copied().eq(&self.wanted);
        (!is_settled || !is_complete).then(|| format!("{:?} of {:?}", self.clients, self.wanted))
    }
}

impl Property for Assigned {
    fn name(&self) -> &'static str {
        "all partitions are assigned when faults stop"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Group(GroupEvent::Joining { protocol, group, client, wanted }) => {
                let group = self.groups.entry(group.clone()).or_insert_with(|| Group {
                    protocol: *protocol,
                    wanted: BTreeSet::new(),
                    clients: BTreeMap::new(),
                });
                group.wanted.extend(wanted.iter().cloned());
                group.clients.insert(client.clone(), Vec::new());
            }
            Event::Group(GroupEvent::Assigned { group, client, partitions, .. }) => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.clients.insert(client.clone(), partitions.clone());
                }
            }
            Event::Group(GroupEvent::Out { group, client }) => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.clients.insert(client.clone(), Vec::new());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn unsettled(&self) -> Option<String> {
        let unsettled =
            |(name, group): (&String, &Group)| group.unsettled().map(|what| format!("{name}: {what}"));
        self.groups.iter().find_map(unsettled)
    }
}
