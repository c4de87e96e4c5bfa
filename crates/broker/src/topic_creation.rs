//! Topics that a node has the controller create because somebody needs them.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_config::keys;
use ottla_coordinator::group::CONSUMER_OFFSETS_TOPIC;
use ottla_wire::ErrorCode;
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::{Config, Topic};
use parking_lot::Mutex;

use crate::node::Node;

/// Names of topics that the controller has been asked to create and has not answered for: who asks again meanwhile adds
/// nothing.
#[derive(Debug, Default)]
pub(crate) struct TopicCreation {
    under_way: Mutex<HashSet<String>>,
}

impl Node {
    /// Has the controller create a topic in which coordinators keep their state. Whoever needs it finds it in the metadata
    /// later, or asks again.
    pub(crate) fn create_internal_topic(self: &Arc<Self>, name: &'static str) {
        let Some(topic) = self.internal_topic(name) else { return };
        if !self.topic_creation.under_way.lock().insert(name.to_owned()) {
            return;
        }
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        let node = Arc::clone(self);
        self.controller.submit(
            move |controller, _| controller.create_topics(&request),
            move |created| {
                node.topic_creation.under_way.lock().remove(name);
                let topic = created.map(|response| response.topics.into_iter().next());
                let error = match &topic {
                    Ok(Some(topic)) => {
                        ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError)
                    }
                    Ok(None) => ErrorCode::UnknownServerError,
                    Err(code) => *code,
                };
                let message = topic.ok().flatten().and_then(|topic| topic.error_message).unwrap_or_default();
                match error {
                    ErrorCode::None | ErrorCode::TopicAlreadyExists => {
                        tracing::info!(topic = name, "created")
                    }
                    error => tracing::warn!(topic = name, %error, message, "the topic was not created"),
                }
            },
        );
    }

    fn internal_topic(&self, name: &str) -> Option<Topic> {
        let settings = match name {
            CONSUMER_OFFSETS_TOPIC => [
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", self.config.get(keys::OFFSETS_TOPIC_SEGMENT_BYTES).to_string()),
            ],
            _ => return None,
        };
        let config = |(name, value): (&str, String)| Config {
            name: name.to_owned(),
            value: Some(value),
            ..Config::default()
        };
        Some(Topic {
            name: name.to_owned(),
            num_partitions: self.config.get(keys::OFFSETS_TOPIC_NUM_PARTITIONS),
            replication_factor: self.config.get(keys::OFFSETS_TOPIC_REPLICATION_FACTOR),
            configs: settings.into_iter().map(config).collect(),
            ..Topic::default()
        })
    }
}
