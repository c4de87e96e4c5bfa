//! Share groups on this node (KIP-932): the share coordinator, the share partitions, and the way between them.

mod dead_letters;
mod operation;
mod persister;
mod settings;
mod state_topic;
mod states;

use std::sync::{Arc, OnceLock, Weak};

use ottla_config::{Config, keys};
use ottla_coordinator::runtime::{LoadProgress, Outside};
use ottla_coordinator::share_state::{ShareCoordinator, ShareCoordinatorParts};
use ottla_metadata::loader::Publication;
use ottla_replica::ReplicaManager;
use ottla_replica::share::{EndedSession, SharePartitionId, SharePartitions, ShareSessions};
use ottla_types::{MonoMs, Now, SHARE_GROUP_STATE_TOPIC, Uuid};
use parking_lot::Mutex;

use crate::coordinator_storage::CoordinatorStorage;
use crate::node::{Leadership, Node, partition_count};
use crate::node_settings;
use dead_letters::NodeDeadLetters;
use persister::NodePersister;
use settings::NodeShareGroups;
use state_topic::{NodeTopics, StateTopicListener, StateTopicPruner};

/// The node, for parts of it that are made before it.
#[derive(Debug, Default)]
pub(crate) struct NodeLink(OnceLock<Weak<Node>>);

impl NodeLink {
    /// Only the first node that is given counts.
    pub fn set(&self, node: &Arc<Node>) {
        self.0.get_or_init(|| Arc::downgrade(node));
    }

    pub fn get(&self) -> Option<Arc<Node>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

/// What a node has for share groups.
#[derive(Debug)]
pub(crate) struct ShareGroupParts {
    pub link: Arc<NodeLink>,
    pub coordinator: Arc<ShareCoordinator>,
    pub partitions: Arc<SharePartitions>,
    pub sessions: ShareSessions,
    pub listener: Arc<StateTopicListener>,
    /// Connections that are gone, and whose sessions are yet to end.
    closed_connections: Mutex<Vec<u64>>,
}

impl ShareGroupParts {
    pub fn new(
        config: &Arc<Config>,
        replicas: &Arc<ReplicaManager>,
        link: Arc<NodeLink>,
        outside: Outside,
    ) -> ShareGroupParts {
        let compression = node_settings::share_state_compression(config);
        let storage = Arc::new(CoordinatorStorage::new(Arc::clone(replicas), compression));
        let coordinator = ShareCoordinator::new(ShareCoordinatorParts {
            config: node_settings::share_coordinator(config),
            writer: Arc::clone(&storage) as _,
            reader: storage,
            topics: Arc::new(NodeTopics(Arc::clone(&link))),
            pruner: Arc::new(StateTopicPruner(Arc::clone(replicas))),
        });
        let coordinator = Arc::new(coordinator.within(outside));
        let listener = Arc::new(StateTopicListener::default());
        listener.tell(&coordinator);
        let sessions_max = usize::try_from(config.get(keys::GROUP_SHARE_MAX_SHARE_SESSIONS)).unwrap_or(0);
        let of_present = Arc::clone(&link);
        let partitions = Arc::new(SharePartitions::new(
            Arc::clone(replicas),
            Arc::new(NodePersister(Arc::clone(&link))),
            Arc::new(NodeDeadLetters(Arc::clone(&link))),
            Arc::new(NodeShareGroups { link: Arc::clone(&link), config: Arc::clone(config) }),
            Arc::new(move |began| of_present.get().map_or(began, |node| node.present(began))),
        ));
        let sessions = ShareSessions::new(sessions_max);
        let closed_connections = Mutex::default();
        ShareGroupParts { link, coordinator, partitions, sessions, listener, closed_connections }
    }

    /// Does what is due; whether there is a log to read anew.
    pub fn tick(&self, now: Now) -> bool {
        let closed = std::mem::take(&mut *self.closed_connections.lock());
        closed.into_iter().for_each(|connection| self.end_sessions_of(connection, now));
        let loads = self.coordinator.tick(now);
        self.partitions.tick(now);
        loads
    }

    pub fn next_deadline(&self) -> MonoMs {
        if !self.closed_connections.lock().is_empty() {
            return MonoMs(0);
        }
        self.coordinator.next_deadline().min(self.partitions.next_deadline())
    }

    /// Reads one log of the coordinator's back. False if there was none to read.
    pub fn load_next_shard(&self, now: impl Fn() -> Now) -> bool {
        let Some(mut load) = self.coordinator.next_load() else { return false };
        while load.step(now()) == LoadProgress::More {}
        true
    }

    /// A connection is gone: with the next tick, what its members have acquired goes to others. Whether there is any.
    pub fn connection_closed(&self, connection: u64) -> bool {
        let had_session = self.sessions.has_connection(connection);
        if had_session {
            self.closed_connections.lock().push(connection);
        }
        had_session
    }

    fn end_sessions_of(&self, connection: u64, now: Now) {
        for ended in self.sessions.connection_closed(connection) {
            self.release(&ended, now, |_, _| {});
        }
    }

    /// Takes back what the member of a session that has ended has. `done` hears of each of its partitions.
    pub fn release(
        &self,
        ended: &EndedSession,
        now: Now,
        done: impl Fn((Uuid, i32), Result<(), ottla_wire::ErrorCode>) + Clone + Send + 'static,
    ) {
        for (topic_id, partition) in ended.partitions.iter().copied() {
            let group_id = Arc::clone(&ended.key.group_id);
            let id = SharePartitionId { group_id, topic_id, partition };
            let done = done.clone();
            let told = Box::new(move |result| done((topic_id, partition), result));
            self.partitions.release(&id, &ended.key.member, now, told);
        }
        if ended.was_last_of_group {
            self.partitions.forget_group(&ended.key.group_id, now);
        }
    }

    /// The coordinator's partition is led elsewhere.
    pub fn on_resign(&self, partition: i32) {
        self.coordinator.on_resign(partition, None);
    }

    /// Brings the coordinator and the share partitions up to a newly published image.
    pub fn publish(&self, node: &Node, publication: &Publication, now: Now) {
        let deleted: Vec<Uuid> = publication.changes.deleted_topics.iter().map(|(id, _)| *id).collect();
        if !publication.changes.topics.is_empty() || !deleted.is_empty() {
            self.partitions.forget_stale(now);
        }
        let configured = node.config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_NUM_PARTITIONS);
        let partitions = partition_count(&publication.image, SHARE_GROUP_STATE_TOPIC, configured);
        self.coordinator.start(partitions, now);
        node.publish_leaderships(publication, SHARE_GROUP_STATE_TOPIC, |partition, leadership| {
            match leadership {
                Leadership::Here(epoch) => self.coordinator.on_partition_leader(partition, epoch),
                Leadership::Elsewhere(since) => self.coordinator.on_resign(partition, since),
            }
        });
        // After that: nobody else tells those who have just begun.
        if !deleted.is_empty() {
            self.coordinator.on_topics_deleted(&deleted, now);
        }
    }
}
