//! What an operator who moves partitions sends.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{NodeId, TopicPartition};
use ottla_wire::messages::alter_partition_reassignments_request::{Partition, Topic};
use ottla_wire::messages::incremental_alter_configs_request::{Config, Resource};
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, UnregisterBrokerRequest,
};

pub(super) const METADATA_VERSION: i16 = 12;
pub(super) const LIST_VERSION: i16 = 0;
pub(super) const ALTER_VERSION: i16 = 1;
pub(super) const CONFIGS_VERSION: i16 = 1;
pub(super) const ELECT_VERSION: i16 = 2;
pub(super) const UNREGISTER_VERSION: i16 = 0;
const TIMEOUT_MS: i32 = 5_000;
const PREFERRED: i8 = 0;
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Brokers and partitions.
pub(super) fn everything() -> MetadataRequest {
    MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() }
}

pub(super) fn moves_under_way() -> ListPartitionReassignmentsRequest {
    ListPartitionReassignmentsRequest {
        timeout_ms: TIMEOUT_MS,
        topics: None,
        ..ListPartitionReassignmentsRequest::default()
    }
}

/// Where partitions are to be; without replicas a move is taken back.
pub(super) fn alter(
    moves: &BTreeMap<TopicPartition, Option<Vec<i32>>>,
) -> AlterPartitionReassignmentsRequest {
    let mut topics: BTreeMap<&str, Vec<Partition>> = BTreeMap::new();
    for (partition, replicas) in moves {
        topics.entry(&partition.topic).or_default().push(Partition {
            partition_index: partition.partition,
            replicas: replicas.clone(),
            ..Partition::default()
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| Topic {
        name: name.to_owned(),
        partitions,
        ..Topic::default()
    });
    AlterPartitionReassignmentsRequest {
        timeout_ms: TIMEOUT_MS,
        allow_replication_factor_change: true,
        topics: topics.collect(),
        ..AlterPartitionReassignmentsRequest::default()
    }
}

/// Of all partitions.
pub(super) fn elect_preferred() -> ElectLeadersRequest {
    ElectLeadersRequest {
        election_type: PREFERRED,
        topic_partitions: None,
        timeout_ms: TIMEOUT_MS,
        ..ElectLeadersRequest::default()
    }
}

/// So many bytes a second may be replicated of these topics to who is not in sync, or as many as there are.
pub(super) fn throttle(rate: Option<u64>, topics: &BTreeSet<&str>) -> IncrementalAlterConfigsRequest {
    let config = |name: &str, value: String| Config {
        name: name.to_owned(),
        config_operation: if rate.is_some() { SET } else { DELETE },
        value: rate.map(|_| value),
        ..Config::default()
    };
    let of_brokers = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
    let of_topics = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
    let brokers = Resource {
        resource_type: BROKER_RESOURCE,
        resource_name: String::new(),
        configs: of_brokers.map(|name| config(name, rate.unwrap_or(0).to_string())).into(),
        ..Resource::default()
    };
    let topics = topics.iter().map(|topic| Resource {
        resource_type: TOPIC_RESOURCE,
        resource_name: (*topic).to_owned(),
        configs: of_topics.map(|name| config(name, "*".to_owned())).into(),
        ..Resource::default()
    });
    IncrementalAlterConfigsRequest {
        resources: [brokers].into_iter().chain(topics).collect(),
        ..IncrementalAlterConfigsRequest::default()
    }
}

pub(super) fn forget(id: NodeId) -> UnregisterBrokerRequest {
    UnregisterBrokerRequest { broker_id: id.value(), ..UnregisterBrokerRequest::default() }
}
