use std::sync::Arc;

use ottla_config::{Config, keys};
use ottla_types::NodeId;

/// The settings that the controller acts on.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// As in meta.properties: registrations of another cluster's brokers are refused.
    pub cluster_id: String,
    pub node_id: NodeId,
    pub default_replication_factor: i16,
    pub num_partitions: i32,
    pub delete_topic_enable: bool,
    pub broker_session_timeout_ms: i64,
    /// The node's static configuration: dynamic settings are validated over it.
    pub config: Arc<Config>,
}

impl ControllerSettings {
    pub fn from_config(cluster_id: String, config: Arc<Config>) -> ControllerSettings {
        ControllerSettings {
            cluster_id,
            node_id: NodeId(config.get(keys::NODE_ID)),
            default_replication_factor: i16::try_from(config.get(keys::DEFAULT_REPLICATION_FACTOR))
                .unwrap_or(1),
            num_partitions: config.get(keys::NUM_PARTITIONS),
            delete_topic_enable: config.get(keys::DELETE_TOPIC_ENABLE),
            broker_session_timeout_ms: i64::from(config.get(keys::BROKER_SESSION_TIMEOUT_MS)),
            config,
        }
    }
}
