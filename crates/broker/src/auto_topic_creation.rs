//! Topics that come into being because somebody asks for them: those that clients name where that is allowed, and the
//! coordinators' own.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_config::keys;
use ottla_types::{CONSUMER_OFFSETS_TOPIC, Now, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC};
use ottla_wire::ErrorCode;
use ottla_wire::messages::create_topics_request::{Config, CreateTopicsRequest, Topic};
use ottla_wire::messages::create_topics_response::CreateTopicsResponse;
use parking_lot::Mutex;

use crate::node::Node;

/// What has been asked of the controller and not been answered: it is not asked for twice.
#[derive(Debug, Default)]
pub(crate) struct TopicsInFlight(Mutex<BTreeSet<String>>);

impl TopicsInFlight {
    /// Those of `names` that nobody has asked for yet.
    fn begin(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut in_flight = self.0.lock();
        names.into_iter().filter(|name| in_flight.insert(name.clone())).collect()
    }

    fn end(&self, names: &[String]) {
        let mut in_flight = self.0.lock();
        for name in names {
            in_flight.remove(name);
        }
    }
}

impl Node {
    /// Has topics made that a client named, if `auto.create.topics.enable` is set. They are there, or not, a moment
    /// later: the client asks again.
    pub(crate) fn create_missing_topics(self: &Arc<Self>, names: &[String], now: Now) {
        if self.config.get(keys::AUTO_CREATE_TOPICS_ENABLE) {
            self.create_unasked(names.to_vec(), &[], now);
        }
    }

    /// Has the topic of a coordinator made, which needs no permission.
    pub(crate) fn create_internal_topic(self: &Arc<Self>, name: &str, now: Now) {
        self.create_unasked(vec![name.to_owned()], &[], now);
    }

    /// Has a topic made for dead letters of share groups, which the setting `enabling` marks as one.
    pub(crate) fn create_dead_letter_topic(self: &Arc<Self>, name: &str, enabling: &str, now: Now) {
        self.create_unasked(vec![name.to_owned()], &settings([(enabling, "true".to_owned())]), now);
    }

    fn create_unasked(self: &Arc<Self>, names: Vec<String>, configs: &[Config], now: Now) {
        let names = self.topics_in_flight.begin(names);
        if names.is_empty() {
            return;
        }
        tracing::info!(topics = ?names, "asking the controller for topics that are missing");
        let timeout_ms = self.config.get(keys::REQUEST_TIMEOUT_MS);
        let topic = |name: &String| {
            let mut topic = self.topic_to_create(name);
            topic.configs.extend_from_slice(configs);
            topic
        };
        let request = CreateTopicsRequest {
            topics: names.iter().map(topic).collect(),
            timeout_ms,
            ..CreateTopicsRequest::default()
        };
        let node = Arc::clone(self);
        self.ask_active_controller(request, now.mono.plus_ms(timeout_ms.into()), move |result| {
            node.topics_in_flight.end(&names);
            log_outcome(&names, result);
        });
    }

    fn topic_to_create(&self, name: &str) -> Topic {
        let config = &self.config;
        let topic = Topic { name: name.to_owned(), ..Topic::default() };
        match name {
            CONSUMER_OFFSETS_TOPIC => Topic {
                num_partitions: config.get(keys::OFFSETS_TOPIC_NUM_PARTITIONS),
                replication_factor: config.get(keys::OFFSETS_TOPIC_REPLICATION_FACTOR),
                configs: settings([
                    ("cleanup.policy", "compact".to_owned()),
                    ("compression.type", "producer".to_owned()),
                    ("segment.bytes", config.get(keys::OFFSETS_TOPIC_SEGMENT_BYTES).to_string()),
                ]),
                ..topic
            },
            TRANSACTION_STATE_TOPIC => Topic {
                num_partitions: config.get(keys::TRANSACTION_STATE_LOG_NUM_PARTITIONS),
                replication_factor: config.get(keys::TRANSACTION_STATE_LOG_REPLICATION_FACTOR),
                configs: settings([
                    ("cleanup.policy", "compact".to_owned()),
                    ("compression.type", "uncompressed".to_owned()),
                    ("min.insync.replicas", config.get(keys::TRANSACTION_STATE_LOG_MIN_ISR).to_string()),
                    ("segment.bytes", config.get(keys::TRANSACTION_STATE_LOG_SEGMENT_BYTES).to_string()),
                    ("unclean.leader.election.enable", "false".to_owned()),
                ]),
                ..topic
            },
            // What is not needed any more is deleted by its coordinator, and nothing else.
            SHARE_GROUP_STATE_TOPIC => Topic {
                num_partitions: config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_NUM_PARTITIONS),
                replication_factor: config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR),
                configs: settings([
                    ("cleanup.policy", "delete".to_owned()),
                    ("compression.type", "producer".to_owned()),
                    (
                        "segment.bytes",
                        config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_SEGMENT_BYTES).to_string(),
                    ),
                    (
                        "min.insync.replicas",
                        config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR).to_string(),
                    ),
                    ("retention.ms", "-1".to_owned()),
                ]),
                ..topic
            },
            _ => Topic {
                num_partitions: config.get(keys::NUM_PARTITIONS),
                replication_factor: i16::try_from(config.get(keys::DEFAULT_REPLICATION_FACTOR))
                    .unwrap_or(i16::MAX),
                ..topic
            },
        }
    }
}

fn settings<const N: usize>(settings: [(&str, String); N]) -> Vec<Config> {
    let config = |(name, value): (&str, String)| Config {
        name: name.to_owned(),
        value: Some(value),
        ..Config::default()
    };
    settings.map(config).into()
}

fn log_outcome(names: &[String], result: Result<CreateTopicsResponse, ErrorCode>) {
    match result {
        Ok(response) => {
            let exists = [ErrorCode::None.code(), ErrorCode::TopicAlreadyExists.code()];
            for topic in response.topics.iter().filter(|topic| !exists.contains(&topic.error_code)) {
                let code = ErrorCode::from_code(topic.error_code).map_or("unknown", ErrorCode::name);
                let why = topic.error_message.as_deref().unwrap_or_default();
                tracing::warn!(topic = %topic.name, code, why, "a missing topic was not created");
            }
        }
        Err(error) => tracing::warn!(topics = ?names, code = error.name(), "missing topics were not created"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_once_until_it_is_answered() {
        let in_flight = TopicsInFlight::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(in_flight.begin(names(&["a", "b", "a"])), ["a", "b"]);
        assert_eq!(in_flight.begin(names(&["b", "c"])), ["c"]);
        in_flight.end(&names(&["a", "b"]));
        assert_eq!(in_flight.begin(names(&["a", "c"])), ["a"]);
    }
}
