//! One node: what its request handlers work on, and what time has it do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_config::{Config, DynamicConfig, TopicConfig, keys};
use ottla_coordinator::group::{CONSUMER_OFFSETS_TOPIC, GroupCoordinator};
use ottla_coordinator::runtime::LoadProgress;
use ottla_log::log_manager::LogManager;
use ottla_metadata::MetadataImage;
use ottla_metadata::image::ResourceType;
use ottla_metadata::loader::Publication;
use ottla_replica::ReplicaManager;
use ottla_replica::fetch_session::FetchSessions;
use ottla_types::{BrokerEpoch, MonoMs, NodeId, Now};
use parking_lot::{Mutex, RwLock};

use crate::api::dispatch::dispatch;
use crate::auto_topic_creation::TopicsInFlight;
use crate::controller_channel::ControllerChannel;
use crate::coordinator_storage::OffsetsTopicListener;
use crate::deadlines::Deadlines;
use crate::directory_assignments::DirectoryAssignments;
use crate::exchange::{Connection, Handler, ReplySlot};
use crate::ids::Ids;
use crate::lifecycle::{Lifecycle, LifecycleState};
use crate::metadata_cache::MetadataCache;
use crate::producer_ids::ProducerIds;
use crate::publisher::overrides;
use crate::registration::Registration;

/// Who this node is; it never changes.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: NodeId,
    /// As in meta.properties.
    pub cluster_id: String,
}

/// A broker, a controller, or both, without sockets and threads.
#[derive(Debug)]
pub struct Node {
    pub(crate) identity: Identity,
    /// The static configuration.
    pub(crate) config: Arc<Config>,
    pub(crate) dynamic_config: RwLock<DynamicConfig>,
    /// The configuration with everything dynamic on top.
    pub(crate) effective_config: ArcSwap<Config>,
    pub(crate) metadata: MetadataCache,
    pub(crate) logs: Arc<LogManager>,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) offsets_listener: Arc<OffsetsTopicListener>,
    pub(crate) controller: Arc<ControllerChannel>,
    pub(crate) topics_in_flight: TopicsInFlight,
    pub(crate) deadlines: Deadlines,
    pub(crate) directory_assignments: DirectoryAssignments,
    pub(crate) ids: Arc<Ids>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) registration: Registration,
    pub(crate) lifecycle: Mutex<Lifecycle>,
    pub(crate) hooks: Hooks,
}

/// Takes a time at which something is due.
pub type WakeAt = Arc<dyn Fn(MonoMs) + Send + Sync>;

/// Takes the configuration that is in force from now on.
pub type ConfigChanged = Box<dyn Fn(&Arc<Config>) + Send + Sync>;

/// What a node asks of whoever runs it.
pub struct Hooks {
    /// There is something for [`Node::tick`] to do at this time, which may be earlier than
    /// [`Node::next_deadline`] last said. Called for every answer that has to wait: it must be cheap.
    pub wake_at: WakeAt,
    /// There is something for [`Node::maintain`] to do at this time, likewise.
    pub maintain_at: WakeAt,
    /// The effective configuration has changed.
    pub config_changed: ConfigChanged,
    /// There are logs for [`Node::load_next_shard`] to read.
    pub shards_to_load: Box<dyn Fn() + Send + Sync>,
}

impl Default for Hooks {
    /// For a node that is stepped by hand.
    fn default() -> Hooks {
        Hooks {
            wake_at: Arc::new(|_| {}),
            maintain_at: Arc::new(|_| {}),
            config_changed: Box::new(|_| {}),
            shards_to_load: Box::new(|| {}),
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

impl Node {
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    /// The configuration that is in force now.
    pub fn effective_config(&self) -> Arc<Config> {
        self.effective_config.load_full()
    }

    pub fn lifecycle_state(&self) -> LifecycleState {
        self.lifecycle.lock().state()
    }

    /// Under which this broker is registered; none before.
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.lifecycle.lock().epoch()
    }

    /// Asks the controller to move this broker's leaderships away; [`LifecycleState::MayStop`] follows.
    pub fn begin_shutdown(&self, now: Now) {
        self.lifecycle.lock().begin_shutdown(now);
        (self.hooks.wake_at)(now.mono);
    }

    /// Does what is due: answers that have waited long enough, timers of groups, the broker's heartbeat.
    pub fn tick(self: &Arc<Self>, now: Now) {
        self.replicas.tick(now);
        self.groups.tick(now);
        self.deadlines.expire(now.mono);
        self.poll_lifecycle(now);
        self.tell_directories(now);
    }

    /// When to [`Node::tick`] next.
    pub fn next_deadline(&self) -> MonoMs {
        let groups_and_replicas = self.replicas.next_deadline().min(self.groups.next_deadline());
        groups_and_replicas.min(self.deadlines.next()).min(self.lifecycle.lock().next_deadline())
    }

    /// To be called after whatever may have set timers of groups.
    pub(crate) fn groups_have_worked(&self) {
        (self.hooks.wake_at)(self.groups.next_deadline());
    }

    /// Reads one coordinator's log back, on the caller's thread, which may have to wait for the disk. False if there
    /// was none to read.
    pub fn load_next_shard(&self, now: impl Fn() -> Now) -> bool {
        let Some(mut load) = self.groups.next_load() else { return false };
        while load.step(now()) == LoadProgress::More {}
        self.groups_have_worked();
        true
    }

    /// A topic's settings, resolved.
    pub(crate) fn topic_config(&self, image: &MetadataImage, topic: &str) -> TopicConfig {
        TopicConfig::resolve(&self.effective_config.load(), &overrides(image, ResourceType::Topic, topic))
    }

    /// Puts dynamic settings, for all brokers and for this one, over the static ones.
    pub(crate) fn set_dynamic_config(
        &self,
        all_brokers: BTreeMap<String, String>,
        this_broker: BTreeMap<String, String>,
    ) {
        let mut layers = self.dynamic_config.write();
        layers.set_all_brokers(all_brokers);
        layers.set_this_broker(this_broker);
        let effective = Arc::new(layers.effective());
        drop(layers);
        self.effective_config.store(Arc::clone(&effective));
        self.logs.update_config(|config| *config = crate::node_settings::log_manager(&effective));
        let interval_ms = effective.get(keys::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS);
        self.groups.set_consumer_assignment_interval_ms(interval_ms);
        (self.hooks.config_changed)(&effective);
    }

    /// Brings the coordinators up to a newly published image.
    pub(crate) fn published(&self, publication: &Publication, now: Now) {
        self.publish_to_groups(publication, now);
        self.lifecycle.lock().metadata_is_ready(now);
        (self.hooks.wake_at)(now.mono);
    }

    fn publish_to_groups(&self, publication: &Publication, now: Now) {
        let Publication { previous, image, changes } = publication;
        self.groups.on_new_image(previous, image, changes, now);
        let deleted: Vec<_> =
            publication.changes.deleted_topics.iter().map(|(id, name)| (name.to_string(), *id)).collect();
        if !deleted.is_empty() {
            self.groups.on_topics_deleted(&deleted, now);
        }
        let topic = publication.image.topics.by_name(CONSUMER_OFFSETS_TOPIC);
        let configured = self.config.get(keys::OFFSETS_TOPIC_NUM_PARTITIONS);
        let partitions = topic.map_or(configured, |topic| topic.partitions.len() as i32);
        self.groups.start(partitions);
        let Some(topic) = topic else { return };
        let local = self.identity.node_id;
        let mut leads_more = false;
        for (number, registration) in &topic.partitions {
            let previous = publication.previous.topics.partition(topic.id, *number);
            if previous.is_some_and(|previous| Arc::ptr_eq(previous, registration)) {
                continue;
            }
            if registration.leader == local {
                self.groups.on_partition_leader(*number, registration.leader_epoch);
                leads_more = true;
            } else if previous.is_some_and(|previous| previous.leader == local) {
                self.groups.on_resign(*number, Some(registration.leader_epoch));
            }
        }
        if leads_more {
            (self.hooks.shards_to_load)();
        }
    }
}

/// The node as connections see it.
#[derive(Debug)]
pub struct NodeHandler(pub Arc<Node>);

impl Handler for NodeHandler {
    fn handle(&self, connection: &Arc<Connection>, frame: Bytes, now: Now, reply: ReplySlot) {
        dispatch(&self.0, connection, frame, now, reply);
    }

    fn closed(&self, _: &Connection) {}
}
