//! The published image, and the questions that request handlers ask of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use arc_swap::{ArcSwap, Guard};
use ottla_metadata::MetadataImage;
use ottla_metadata::image::{BrokerRegistration, PartitionRegistration, TopicImage, directory};
use ottla_replica::Brokers;
use ottla_types::{BrokerEpoch, NodeId, Uuid};
use ottla_wire::ErrorCode;

/// The newest image; readers take no lock.
#[derive(Debug, Default)]
pub struct MetadataCache {
    image: ArcSwap<MetadataImage>,
    in_effect: ArcSwap<MetadataImage>,
    /// Stands in the quorum's control records, not in the image.
    kraft_version: AtomicI16,
}

impl MetadataCache {
    pub fn image(&self) -> Guard<Arc<MetadataImage>> {
        self.image.load()
    }

    pub fn publish(&self, image: Arc<MetadataImage>) {
        self.image.store(image);
    }

    /// The newest image that this node acts on: its partitions and coordinators are as the image says. Making and recovering logs
    /// takes time, so that the published one may be ahead of it.
    pub fn in_effect(&self) -> Guard<Arc<MetadataImage>> {
        self.in_effect.load()
    }

    pub fn put_into_effect(&self, image: Arc<MetadataImage>) {
        self.in_effect.store(image);
    }

    /// The finalized level of `kraft.version`; 0 is a quorum of static voters.
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version.load(Ordering::Relaxed)
    }

    pub fn publish_kraft_version(&self, level: i16) {
        self.kraft_version.store(level, Ordering::Relaxed);
    }
}

impl Brokers for MetadataCache {
    fn active_epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        let image = self.image();
        Some(image.brokers.get(&broker).filter(|broker| broker.is_active())?.epoch())
    }

    fn directory(&self, broker: NodeId, topic_id: Uuid, partition: i32) -> Option<Uuid> {
        let image = self.image();
        let known = image.topics.partition(topic_id, partition)?.directory(broker)?;
        (known != directory::MIGRATING).then_some(known)
    }

    fn is_lost(&self, broker: NodeId, topic_id: Uuid, partition: i32) -> bool {
        let image = self.image();
        let (Some(registration), Some(broker)) =
            (image.topics.partition(topic_id, partition), image.brokers.get(&broker))
        else {
            return false;
        };
        registration.directory(broker.id()).is_some_and(|known| !broker.has_online_directory(known))
    }

    fn rack(&self, broker: NodeId, listener: &str) -> Option<String> {
        alive_endpoint(&self.image(), broker, listener)?.rack
    }
}

/// Where clients reach a node through one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

fn endpoint(broker: &BrokerRegistration, listener: &str) -> Option<NodeEndpoint> {
    let (host, port) = broker.endpoint(listener)?;
    let rack = broker.rack().map(str::to_owned);
    Some(NodeEndpoint { id: broker.id(), host: host.to_owned(), port, rack })
}

/// A broker that is not fenced and has the listener.
pub fn alive_endpoint(image: &MetadataImage, id: NodeId, listener: &str) -> Option<NodeEndpoint> {
    let broker = image.brokers.get(&id).filter(|broker| !broker.is_fenced())?;
    endpoint(broker, listener)
}

/// All brokers that are not fenced and have the listener.
pub fn alive_endpoints(image: &MetadataImage, listener: &str) -> Vec<NodeEndpoint> {
    image.brokers.values().filter(|b| !b.is_fenced()).filter_map(|b| endpoint(b, listener)).collect()
}

/// All brokers that have the listener, fenced ones too, with whether they are.
pub fn registered_endpoints(image: &MetadataImage, listener: &str) -> Vec<(NodeEndpoint, bool)> {
    image.brokers.values().filter_map(|b| Some((endpoint(b, listener)?, b.is_fenced()))).collect()
}

/// The node that clients are told is the controller: any broker that is alive, since it passes on what is the
/// controller's (KIP-590). The asked one itself where it can.
pub fn controller_for_clients(image: &MetadataImage, asked: NodeId, listener: &str) -> NodeId {
    if alive_endpoint(image, asked, listener).is_some() {
        return asked;
    }
    alive_endpoints(image, listener).first().map_or(NodeId::NONE, |endpoint| endpoint.id)
}

/// A partition as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView<'a> {
    pub partition: i32,
    pub error: ErrorCode,
    /// The leader, where clients can reach it.
    pub leader: Option<NodeId>,
    pub registration: &'a PartitionRegistration,
    pub offline_replicas: Vec<NodeId>,
}

/// The partitions of a topic, in their order, from `first` on.
pub fn partitions<'a>(
    image: &'a MetadataImage,
    topic: &'a TopicImage,
    listener: &'a str,
    first: i32,
) -> impl Iterator<Item = PartitionView<'a>> {
    topic.partitions.range(first..).map(move |(partition, registration)| {
        let leader = alive_endpoint(image, registration.leader, listener).map(|endpoint| endpoint.id);
        let error = match leader {
            Some(_) => ErrorCode::None,
            None if image.brokers.get(&registration.leader).is_some_and(|b| !b.is_fenced()) => {
                ErrorCode::ListenerNotFound
            }
            None => ErrorCode::LeaderNotAvailable,
        };
        let offline_replicas = registration
            .replicas
            .iter()
            .filter(|id| is_offline(image, registration, **id))
            .copied()
            .collect();
        PartitionView { partition: *partition, error, leader, registration, offline_replicas }
    })
}

/// A replica is offline where its broker is fenced or unknown, or its directory is none that the broker has.
fn is_offline(image: &MetadataImage, registration: &PartitionRegistration, replica: NodeId) -> bool {
    let Some(broker) = image.brokers.get(&replica) else { return true };
    let is_online = registration.directory(replica).is_none_or(|id| broker.has_online_directory(id));
    broker.is_fenced() || !is_online
}

/// Node ids as messages carry them.
pub fn raw_ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}
