//! A picture of the cluster, put together from answers to Metadata requests.
//!
//! What always holds: a picture never changes, a new answer makes a new one; no partition goes back to a leader of an
//! older epoch of the same topic (KIP-320), so an answer of a broker that lags does no harm.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ottla_types::{LeaderEpoch, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::metadata_response::{self, MetadataResponse};

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: NodeId,
    pub host: Arc<str>,
    pub port: u16,
    pub rack: Option<Arc<str>>,
}

/// A topic and all its partitions, of which the one with index `i` is at place `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    /// Zero where the broker has no topic ids.
    pub id: Uuid,
    pub is_internal: bool,
    pub partitions: Vec<Partition>,
}

/// A partition, its leader and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub offline: Vec<NodeId>,
    pub error: ErrorCode,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    pub node: NodeId,
    pub epoch: LeaderEpoch,
}

/// What a Metadata request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    Every,
    Named(&'a [Arc<str>]),
}

/// A picture of the cluster. See the module.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    version: u64,
    cluster_id: Option<Arc<str>>,
    controller: Option<NodeId>,
    brokers: BTreeMap<NodeId, Broker>,
    topics: HashMap<Arc<str>, Arc<Topic>>,
    names: HashMap<Uuid, Arc<str>>,
    errors: HashMap<Arc<str>, ErrorCode>,
}

impl Metadata {
    /// Counts the pictures that a client has had.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// Where operations on the cluster go to; any broker passes them on.
    pub fn controller(&self) -> Option<NodeId> {
        self.controller
    }

    pub fn brokers(&self) -> &BTreeMap<NodeId, Broker> {
        &self.brokers
    }

    /// Topics that were asked for and exist, in no order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// Why a topic that was asked for is not there.
    pub fn topic_error(&self, name: &str) -> Option<ErrorCode> {
        self.errors.get(name).copied()
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topic(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// The partition's leader, if it has one that is known.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        let partition = self.partition(topic, partition)?;
        Some(Leader { node: partition.leader?, epoch: partition.leader_epoch })
    }

    /// The picture after an answer.
    pub(crate) fn merge(&self, answer: &MetadataResponse, asked: Asked<'_>) -> Metadata {
        let mut next = Metadata { version: self.version + 1, ..self.clone() };
        next.cluster_id = answer.cluster_id.as_deref().map(Arc::from).or(next.cluster_id);
        next.controller = Some(NodeId(answer.controller_id)).filter(|id| *id != NodeId::NONE);
        next.brokers = answer.brokers.iter().map(broker).map(|broker| (broker.id, broker)).collect();
        if asked == Asked::Every {
            next.topics.clear();
            next.names.clear();
            next.errors.clear();
        }
        if let Asked::Named(names) = asked {
            for name in names {
                next.errors.remove(name);
            }
        }
        for topic in &answer.topics {
            next.merge_topic(topic, self);
        }
        next
    }

    fn merge_topic(&mut self, answer: &metadata_response::Topic, before: &Metadata) {
        let Some(name) = answer.name.as_deref() else { return };
        let old = before.topics.get(name);
        let name = old.map_or_else(|| Arc::from(name), |old| Arc::clone(&old.name));
        let error = ErrorCode::from_answer(answer.error_code);
        let is_usable =
            !error.is_error() || (error == ErrorCode::LeaderNotAvailable && !answer.partitions.is_empty());
        if error.is_error() {
            self.errors.insert(Arc::clone(&name), error);
        }
        if !is_usable {
            // It may only be that this broker has not heard of it yet; but then, nothing can be sent there.
            if let Some(gone) = self.topics.remove(&name) {
                self.names.remove(&gone.id);
            }
            return;
        }
        let id = answer.topic_id;
        let same = old.filter(|old| old.id == id);
        let mut partitions: Vec<Partition> = answer.partitions.iter().map(partition).collect();
        partitions.sort_by_key(|partition| partition.index);
        for (place, partition) in partitions.iter_mut().enumerate() {
            let known = same.and_then(|old| old.partitions.get(place));
            if let Some(known) = known.filter(|known| known.leader_epoch > partition.leader_epoch) {
                *partition = known.clone();
            }
        }
        // Places are indexes: what stands behind a gap can't be reached, and brokers leave none.
        let usable =
            partitions.iter().enumerate().take_while(|(place, p)| usize::try_from(p.index) == Ok(*place));
        let usable = usable.count();
        partitions.truncate(usable);
        if let Some(old) = old.filter(|old| old.id != id) {
            self.names.remove(&old.id);
        }
        if !id.is_zero() {
            self.names.insert(id, Arc::clone(&name));
        }
        let topic = Topic { name: Arc::clone(&name), id, is_internal: answer.is_internal, partitions };
        self.topics.insert(name, Arc::new(topic));
    }

    /// The picture with a leader that another answer told of (KIP-951), if that is news.
    pub(crate) fn with_leader(
        &self,
        name: &str,
        partition: i32,
        leader: Leader,
        address: Option<Broker>,
    ) -> Option<Metadata> {
        let place = usize::try_from(partition).ok()?;
        let topic = self.topic(name)?;
        let known = topic.partitions.get(place)?;
        let is_reachable = self.brokers.contains_key(&leader.node) || address.is_some();
        if known.leader_epoch >= leader.epoch || !is_reachable {
            return None;
        }
        let mut topic = Topic::clone(topic);
        let changed = topic.partitions.get_mut(place)?;
        (changed.leader, changed.leader_epoch) = (Some(leader.node), leader.epoch);
        changed.error = ErrorCode::None;
        let mut next = Metadata { version: self.version + 1, ..self.clone() };
        next.topics.insert(Arc::clone(&topic.name), Arc::new(topic));
        if let Some(address) = address {
            next.brokers.insert(address.id, address);
        }
        Some(next)
    }

    /// The picture without topics that nobody is interested in any more.
    pub(crate) fn without(&self, names: &[Arc<str>]) -> Metadata {
        let mut next = Metadata { version: self.version + 1, ..self.clone() };
        for name in names {
            next.errors.remove(name);
            if let Some(gone) = next.topics.remove(name) {
                next.names.remove(&gone.id);
            }
        }
        next
    }
}

fn broker(answer: &metadata_response::Broker) -> Broker {
    Broker {
        id: NodeId(answer.node_id),
        host: Arc::from(answer.host.as_str()),
        port: u16::try_from(answer.port).unwrap_or_default(),
        rack: answer.rack.as_deref().map(Arc::from),
    }
}

fn partition(answer: &metadata_response::Partition) -> Partition {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
    Partition {
        index: answer.partition_index,
        leader: Some(NodeId(answer.leader_id)).filter(|id| *id != NodeId::NONE),
        leader_epoch: LeaderEpoch(answer.leader_epoch),
        replicas: nodes(&answer.replica_nodes),
        isr: nodes(&answer.isr_nodes),
        offline: nodes(&answer.offline_replicas),
        error: ErrorCode::from_answer(answer.error_code),
    }
}

#[cfg(test)]
mod tests;
