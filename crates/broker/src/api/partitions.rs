//! From the partition that a client names to the replica of it that is here, and to its leader where it is elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::TopicImage;
use ottla_replica::{LeaderHint, Partition};
use ottla_types::{LeaderEpoch, NodeId, Uuid};
use ottla_wire::ErrorCode;

use crate::metadata_cache::{NodeEndpoint, alive_endpoint};
use crate::node::Node;

/// The replica of a partition. The client is told to look for the leader anew where the partition exists without one
/// here.
pub(super) fn by_name(node: &Node, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
    node.replicas.partition(topic, partition).ok_or_else(|| {
        let image = node.metadata.image();
        not_here(node, image.topics.by_name(topic), partition, ErrorCode::UnknownTopicOrPartition)
    })
}

/// [`by_name`] for versions that name topics by their ids (KIP-516).
pub(super) fn by_id(node: &Node, topic: Uuid, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
    node.replicas.partition_by_id(topic, partition).ok_or_else(|| {
        let image = node.metadata.image();
        not_here(node, image.topics.by_id(topic), partition, ErrorCode::UnknownTopicId)
    })
}

fn not_here(
    node: &Node,
    topic: Option<&Arc<TopicImage>>,
    partition: i32,
    unknown_topic: ErrorCode,
) -> ErrorCode {
    match topic {
        None => unknown_topic,
        Some(topic) if node.replicas.is_offline(&topic.name, partition) => ErrorCode::KafkaStorageError,
        Some(topic) if topic.partitions.contains_key(&partition) => ErrorCode::NotLeaderOrFollower,
        Some(_) => ErrorCode::UnknownTopicOrPartition,
    }
}

/// Which topic a request names: by its id, or by its name where the version has no ids.
#[derive(Clone, Copy, Debug)]
pub(super) enum TopicKey<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl TopicKey<'_> {
    pub(super) fn replica(self, node: &Node, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        match self {
            TopicKey::Name(name) => by_name(node, name, partition),
            TopicKey::Id(id) => by_id(node, id, partition),
        }
    }

    fn image(self, image: &MetadataImage) -> Option<&Arc<TopicImage>> {
        match self {
            TopicKey::Name(name) => image.topics.by_name(name),
            TopicKey::Id(id) => image.topics.by_id(id),
        }
    }
}

/// Where the leaders are of partitions that this node does not lead, for clients that go straight there (KIP-951).
#[derive(Debug, Default)]
pub(super) struct LeaderHints {
    nodes: BTreeMap<NodeId, NodeEndpoint>,
}

impl LeaderHints {
    /// The leader of a partition, as the replica here knows it or else the metadata. Its endpoint is kept, if it has one.
    pub(super) fn leader(
        &mut self,
        node: &Node,
        topic: TopicKey<'_>,
        partition: i32,
        listener: &str,
    ) -> LeaderHint {
        let image = node.metadata.image();
        let of_replica = topic.replica(node, partition).ok().map(|replica| replica.leader_hint());
        let of_image = || {
            let registration = topic.image(&image)?.partitions.get(&partition)?;
            Some(LeaderHint { leader: registration.leader, leader_epoch: registration.leader_epoch })
        };
        let unknown = LeaderHint { leader: NodeId::NONE, leader_epoch: LeaderEpoch::NONE };
        let hint = of_replica.or_else(of_image).unwrap_or(unknown);
        if let Some(endpoint) = alive_endpoint(&image, hint.leader, listener) {
            self.nodes.insert(hint.leader, endpoint);
        }
        hint
    }

    /// The endpoints of all leaders that were told, as a response has them.
    pub(super) fn into_endpoints<E: From<NodeEndpoint>>(self) -> Vec<E> {
        self.nodes.into_values().map(E::from).collect()
    }
}

/// Each response that tells of leaders has its own type for the same fields.
macro_rules! node_endpoints {
    ($($response:ident),*) => {$(
        impl From<NodeEndpoint> for ottla_wire::messages::$response::NodeEndpoint {
            fn from(endpoint: NodeEndpoint) -> Self {
                Self {
                    node_id: endpoint.id.0,
                    host: endpoint.host,
                    port: i32::from(endpoint.port),
                    rack: endpoint.rack,
                    ..Self::default()
                }
            }
        }
    )*};
}

node_endpoints!(produce_response, fetch_response, share_fetch_response, share_acknowledge_response);
