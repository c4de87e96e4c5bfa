//! What the controller answered survives everything: topics with their ids and partitions, deletions, settings.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;

use super::Property;
use crate::event::Event;

#[derive(Debug, Default)]
pub(super) struct Metadata {
    topics: BTreeMap<String, (Uuid, i32)>,
    deleted: BTreeSet<String>,
    configs: BTreeMap<(String, String), String>,
}

impl Property for Metadata {
    fn name(&self) -> &'static str {
        "answered changes of the metadata last"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::TopicCreated { name, id, partitions } => {
                self.topics.insert(name.clone(), (*id, *partitions));
            }
            Event::TopicDeleting { name } => {
                self.topics.remove(name);
            }
            Event::TopicDeleted { name } => {
                self.deleted.insert(name.clone());
            }
            Event::ConfigSetting { topic, key } => {
                self.configs.remove(&(topic.clone(), key.clone()));
            }
            Event::ConfigSet { topic, key, value } => {
                self.configs.insert((topic.clone(), key.clone()), value.clone());
            }
            Event::ConfigSeen { topic, key, value } => {
                let expected = self.configs.get(&(topic.clone(), key.clone()));
                if expected.is_some_and(|expected| Some(expected) != value.as_ref()) {
                    return Err(format!("{key} of {topic} was set to {expected:?} and is {value:?}"));
                }
            }
            Event::Up { topics, .. } => {
                for (name, (id, partitions)) in &self.topics {
                    let is_so = topics
                        .iter()
                        .any(|seen| seen.name == *name && seen.id == *id && seen.partitions == *partitions);
                    if !is_so {
                        return Err(format!("{name} ({id}, {partitions} partitions) is not in {topics:?}"));
                    }
                }
                if let Some(back) = topics.iter().find(|seen| self.deleted.contains(&seen.name)) {
                    return Err(format!("{} was deleted and is there again", back.name));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
