use std::sync::Arc;

use ottla_config::{Config, keys};
use ottla_types::{NodeId, Uuid};

/// The settings that the controller acts on.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// As in meta.properties: registrations of another cluster's brokers are refused.
    pub cluster_id: String,
    pub node_id: NodeId,
    /// What the broker of this very process registers as; `None` where none is to be told from others.
    pub own_incarnation: Option<Uuid>,
    pub default_replication_factor: i16,
    pub num_partitions: i32,
    pub delete_topic_enable: bool,
    pub broker_session_timeout_ms: i64,
    /// Of the node's static configuration: it becomes the cluster's when eligible leader replicas are turned on.
    pub min_insync_replicas: i32,
    /// The controllers of a quorum that is configured statically.
    pub voters: Vec<NodeId>,
    /// How often a record is written for no other purpose than to move the log's end; none where it is 0.
    pub max_idle_interval_ms: i64,
    /// How often preferred replicas are made leaders again; none where that is not done by itself.
    pub leader_imbalance_check_interval_ms: Option<i64>,
    /// How often partitions that no clean leader is left for are looked at.
    pub unclean_election_interval_ms: i64,
    /// The node's static configuration: dynamic settings are validated over it.
    pub config: Arc<Config>,
}

impl ControllerSettings {
    pub fn from_config(cluster_id: String, config: Arc<Config>) -> ControllerSettings {
        ControllerSettings {
            cluster_id,
            node_id: NodeId(config.get(keys::NODE_ID)),
            own_incarnation: None,
            default_replication_factor: i16::try_from(config.get(keys::DEFAULT_REPLICATION_FACTOR))
                .unwrap_or(1),
            num_partitions: config.get(keys::NUM_PARTITIONS),
            delete_topic_enable: config.get(keys::DELETE_TOPIC_ENABLE),
            broker_session_timeout_ms: i64::from(config.get(keys::BROKER_SESSION_TIMEOUT_MS)),
            min_insync_replicas: config.get(keys::MIN_INSYNC_REPLICAS),
            voters: config.quorum_voters().iter().map(|voter| NodeId(voter.id)).collect(),
            max_idle_interval_ms: i64::from(config.get(keys::METADATA_MAX_IDLE_INTERVAL_MS)),
            leader_imbalance_check_interval_ms: config
                .get(keys::AUTO_LEADER_REBALANCE_ENABLE)
                .then(|| config.get(keys::LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS).saturating_mul(1000)),
            unclean_election_interval_ms: config.get(keys::UNCLEAN_LEADER_ELECTION_INTERVAL_MS),
            config,
        }
    }
}
