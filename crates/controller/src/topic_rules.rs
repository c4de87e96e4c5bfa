//! The settings of a topic that elections go by.

use std::sync::Arc;

use ottla_config::{Key, Overrides, Row, Value, broker_default, parse_boolean, topic_keys};
use ottla_metadata::image::{ConfigResource, ResourceType, TopicImage};

use crate::controller::Controller;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicRules {
    /// No more than the topic has replicas.
    pub min_isr: usize,
    pub is_unclean_election_enabled: bool,
    /// Whether the cluster keeps eligible leader replicas.
    pub has_elr: bool,
}

/// What holds for topics that say nothing of their own: read once for many topics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicDefaults {
    min_insync_replicas: i64,
    is_unclean_election_enabled: bool,
    has_elr: bool,
}

impl Controller {
    pub(crate) fn topic_defaults(&self) -> TopicDefaults {
        let effective = self.config.effective();
        let of = |row: &Row| broker_default(effective, row);
        TopicDefaults {
            min_insync_replicas: of(topic_keys::MIN_INSYNC_REPLICAS.row())
                .and_then(|value| value.as_i64())
                .unwrap_or(1),
            is_unclean_election_enabled: of(topic_keys::UNCLEAN_LEADER_ELECTION_ENABLE.row())
                == Some(Value::Boolean(true)),
            has_elr: self.is_elr_enabled(),
        }
    }
}

impl TopicDefaults {
    pub fn rules(&self, controller: &Controller, topic: &TopicImage) -> TopicRules {
        let resource = ConfigResource::new(ResourceType::Topic, Arc::clone(&topic.name));
        let own = controller.image.configs.of(&resource);
        let min_insync = text(own, topic_keys::MIN_INSYNC_REPLICAS).and_then(|text| text.parse().ok());
        let unclean = text(own, topic_keys::UNCLEAN_LEADER_ELECTION_ENABLE).and_then(parse_boolean);
        let replicas = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
        let min_insync: i64 = min_insync.unwrap_or(self.min_insync_replicas);
        TopicRules {
            min_isr: usize::try_from(min_insync).unwrap_or(1).min(replicas),
            is_unclean_election_enabled: unclean.unwrap_or(self.is_unclean_election_enabled),
            has_elr: self.has_elr,
        }
    }
}

fn text<T>(own: Option<&Arc<Overrides>>, key: Key<T>) -> Option<&str> {
    own?.get(key.name()).map(|text| text.trim())
}
