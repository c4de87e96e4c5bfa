//! One node: what its request handlers work on, and what time has it do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_config::{Config, DynamicConfig, Roles, TopicConfig, keys};
use ottla_coordinator::group::GroupCoordinator;
use ottla_coordinator::runtime::LoadProgress;
use ottla_coordinator::transaction::TransactionCoordinator;
use ottla_log::log_manager::LogManager;
use ottla_metadata::image::ResourceType;
use ottla_metadata::loader::Publication;
use ottla_metadata::{Feature, MetadataImage};
use ottla_replica::fetch_session::FetchSessions;
use ottla_replica::{PurgatorySizes, ReadLater, ReplicaManager};
use ottla_types::{
    BrokerEpoch, CONSUMER_OFFSETS_TOPIC, LeaderEpoch, MonoMs, NodeId, Now, Offset, SHARE_GROUP_STATE_TOPIC,
    TRANSACTION_STATE_TOPIC, TopicPartition,
};
use parking_lot::{Mutex, RwLock};

use crate::api::dispatch::dispatch;
use crate::auto_topic_creation::TopicsInFlight;
use crate::broker_probes::BrokerProbes;
use crate::controller_channel::ControllerChannel;
use crate::coordinator_storage::TopicListener;
use crate::deadlines::Deadlines;
use crate::directory_assignments::DirectoryAssignments;
use crate::exchange::{Connection, Handler, ReplySlot};
use crate::ids::Ids;
use crate::lifecycle::{Lifecycle, LifecycleState};
use crate::log_dir_moves::WantedDirs;
use crate::loggers::{Loggers, NoLoggers};
use crate::metadata_cache::MetadataCache;
use crate::peers::{NoPeers, Peers};
use crate::producer_ids::ProducerIds;
use crate::publisher::{PublishLater, overrides};
use crate::quorum_channel::{QuorumChannel, QuorumEvent};
use crate::registration::Registration;
use crate::replication::IsrAnswer;
use crate::room::Dispensable;
use crate::share::ShareGroupParts;
use crate::transactions::{BrokersOfCluster, OtherBrokers};

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
    pub(crate) roles: Roles,
    /// The static configuration.
    pub(crate) config: Arc<Config>,
    pub(crate) dynamic_config: RwLock<DynamicConfig>,
    /// The configuration with everything dynamic on top.
    pub(crate) effective_config: ArcSwap<Config>,
    pub(crate) metadata: Arc<MetadataCache>,
    pub(crate) logs: Arc<LogManager>,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) offsets_listener: Arc<TopicListener<GroupCoordinator>>,
    pub(crate) transactions: Arc<TransactionCoordinator>,
    pub(crate) transactions_listener: Arc<TopicListener<TransactionCoordinator>>,
    pub(crate) share: ShareGroupParts,
    pub(crate) controller: Arc<ControllerChannel>,
    pub(crate) quorum: Arc<QuorumChannel>,
    pub(crate) topics_in_flight: TopicsInFlight,
    pub(crate) deadlines: Deadlines,
    pub(crate) directory_assignments: DirectoryAssignments,
    pub(crate) dispensable: Dispensable,
    pub(crate) wanted_dirs: WantedDirs,
    pub(crate) ids: Arc<Ids>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) registration: Registration,
    pub(crate) lifecycle: Mutex<Lifecycle>,
    pub(crate) isr_answer: IsrAnswer,
    pub(crate) probes: BrokerProbes,
    pub(crate) hooks: Hooks,
}

/// Takes a time at which something is due.
pub type WakeAt = Arc<dyn Fn(MonoMs) + Send + Sync>;

/// Takes the configuration that is in force from now on.
pub type ConfigChanged = Box<dyn Fn(&Arc<Config>) + Send + Sync>;

/// Runs a job that keeps a processor busy where nobody waits for it but who has asked.
pub type ComputeLater = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Tells the time.
pub type Clock = Box<dyn Fn() -> Now + Send + Sync>;

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
    /// The way to the other nodes of the cluster.
    pub peers: Arc<dyn Peers>,
    /// What this broker asks of the others.
    pub brokers: Arc<dyn OtherBrokers>,
    /// Has a request go on where it may wait for the disk.
    pub read_later: ReadLater,
    /// Does what takes processors for long, and what nobody who reads may wait for: patterns and assignments of large groups.
    pub compute_later: ComputeLater,
    /// Has an image put into effect, which may take long, while the quorum goes on.
    pub publish_later: PublishLater,
    /// The time at present, for what takes long. Without it the time stands still while something is done.
    pub clock: Option<Clock>,
    /// What the process logs.
    pub loggers: Arc<dyn Loggers>,
}

impl Default for Hooks {
    /// For a node that is stepped by hand.
    fn default() -> Hooks {
        Hooks {
            wake_at: Arc::new(|_| {}),
            maintain_at: Arc::new(|_| {}),
            config_changed: Box::new(|_| {}),
            shards_to_load: Box::new(|| {}),
            peers: Arc::new(NoPeers),
            brokers: Arc::new(BrokersOfCluster::default()),
            read_later: Arc::new(|job| job()),
            compute_later: Arc::new(|job| job()),
            publish_later: Arc::new(|job| job()),
            clock: None,
            loggers: Arc::new(NoLoggers),
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

    pub fn replicas(&self) -> &Arc<ReplicaManager> {
        &self.replicas
    }

    /// The last record of the metadata that this node acts on.
    pub fn metadata_offset(&self) -> Offset {
        self.metadata.image().provenance.last_offset
    }

    /// The metadata that this node acts on.
    pub fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.metadata.image())
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    /// How many operations wait for something in partitions.
    pub fn purgatory_sizes(&self) -> PurgatorySizes {
        self.replicas.purgatory_sizes()
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

    /// Leaves the metadata quorum in good order: hands over the leadership if there is anybody to take it. `done` is called
    /// when that is so, or after `timeout_ms`.
    pub fn leave_quorum(&self, timeout_ms: i64, done: impl FnOnce() + Send + 'static) {
        self.quorum.push(QuorumEvent::Leave { timeout_ms, done: Box::new(done) });
    }

    /// The time at present, in the middle of what was begun at `began`.
    pub(crate) fn present(&self, began: Now) -> Now {
        self.hooks.clock.as_ref().map_or(began, |clock| clock())
    }

    /// Does what is due: answers that have waited long enough, timers of groups, the broker's heartbeat.
    pub fn tick(self: &Arc<Self>, now: Now) {
        self.replicas.tick(now);
        let loads = [self.groups.tick(now), self.transactions.tick(now), self.share.tick(now)];
        if loads.contains(&true) {
            (self.hooks.shards_to_load)();
        }
        self.deadlines.expire(now);
        self.look_for_room(now);
        self.poll_lifecycle(now);
        self.replicate(now);
        self.move_replicas(now);
        self.tell_directories(now);
    }

    /// Does something with the next tick, which comes at once: for answers of other brokers, of which it is not known when
    /// they have come.
    pub(crate) fn at_next_tick(&self, act: impl FnOnce(Now) + Send + 'static) {
        self.deadlines.add(MonoMs(0), act);
        (self.hooks.wake_at)(MonoMs(0));
    }

    /// When to [`Node::tick`] next.
    pub fn next_deadline(&self) -> MonoMs {
        let coordinators = self.groups.next_deadline().min(self.transactions.next_deadline());
        // Looks at the lifecycle too.
        let replication = self.replication_deadline();
        coordinators
            .min(self.share.next_deadline())
            .min(replication)
            .min(self.replicas.next_deadline())
            .min(self.replicas.next_move_deadline())
            .min(self.deadlines.next())
            .min(self.lifecycle.lock().next_deadline())
    }

    /// Reads one coordinator's log back, on the caller's thread, which may have to wait for the disk. False if there
    /// was none to read.
    pub fn load_next_shard(&self, now: impl Fn() -> Now) -> bool {
        if self.share.load_next_shard(&now) {
            return true;
        }
        if let Some(mut load) = self.groups.next_load() {
            while load.step(now()) == LoadProgress::More {}
        } else if let Some(mut load) = self.transactions.next_load() {
            while load.step(now()) == LoadProgress::More {}
        } else {
            return false;
        }
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
        now: Now,
    ) {
        let mut layers = self.dynamic_config.write();
        let known = layers.not_acted_on();
        layers.set_all_brokers(all_brokers);
        layers.set_this_broker(this_broker);
        let waiting = layers.not_acted_on();
        if waiting.difference(&known).next().is_some() {
            tracing::warn!(settings = ?waiting, "set at run time, but nothing acts on these settings yet");
        }
        let effective = Arc::new(layers.effective());
        drop(layers);
        self.effective_config.store(Arc::clone(&effective));
        self.logs.update_config(|config| *config = crate::node_settings::log_manager(&effective));
        let interval_ms = effective.get(keys::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS);
        self.groups.set_consumer_assignment_interval_ms(interval_ms);
        let interval_ms = effective.get(keys::GROUP_SHARE_ASSIGNMENT_INTERVAL_MS);
        self.groups.set_share_assignment_interval_ms(interval_ms);
        self.replicas.set_fetchers(crate::node_settings::replicas(&effective).fetchers.fetchers, now);
        self.replicas.set_rates(crate::node_settings::replication_rates(&effective), now);
        (self.hooks.config_changed)(&effective);
    }

    /// Brings the coordinators up to a newly published image.
    pub(crate) fn published(self: &Arc<Self>, publication: &Publication, now: Now) {
        self.publish_to_groups(publication, now);
        self.publish_to_transactions(publication);
        self.share.publish(self, publication, now);
        self.metadata.put_into_effect(Arc::clone(&publication.image));
        self.meet_brokers(now);
        self.lifecycle.lock().metadata_is_ready(now);
        (self.hooks.wake_at)(now.mono);
    }

    fn publish_to_groups(&self, publication: &Publication, now: Now) {
        let Publication { previous, image, changes } = publication;
        self.groups.on_new_image(previous, image, changes, now);
        let configured = self.config.get(keys::OFFSETS_TOPIC_NUM_PARTITIONS);
        let partitions = partition_count(&publication.image, CONSUMER_OFFSETS_TOPIC, configured);
        self.groups.start(partitions);
        self.publish_leaderships(
            publication,
            CONSUMER_OFFSETS_TOPIC,
            |partition, leadership| match leadership {
                Leadership::Here(epoch) => self.groups.on_partition_leader(partition, epoch),
                Leadership::Elsewhere(since) => self.groups.on_resign(partition, since),
            },
        );
        // After that: nobody else tells those who have just begun.
        let deleted: Vec<_> =
            changes.deleted_topics.iter().map(|(id, name)| (name.to_string(), *id)).collect();
        if !deleted.is_empty() {
            self.groups.on_topics_deleted(&deleted, now);
        }
    }

    fn publish_to_transactions(&self, publication: &Publication) {
        let image = &publication.image;
        self.transactions.set_transaction_version(image.features.level(Feature::TransactionVersion));
        let configured = self.config.get(keys::TRANSACTION_STATE_LOG_NUM_PARTITIONS);
        self.transactions.start(partition_count(image, TRANSACTION_STATE_TOPIC, configured));
        self.publish_leaderships(publication, TRANSACTION_STATE_TOPIC, |partition, leadership| {
            match leadership {
                Leadership::Here(epoch) => self.transactions.on_partition_leader(partition, epoch),
                Leadership::Elsewhere(since) => self.transactions.on_resign(partition, since),
            }
        });
    }

    /// Coordinates nothing any more whose partition is led elsewhere, though the metadata here do not say so yet: what is known here
    /// is outdated.
    pub(crate) fn resign_coordinators(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for TopicPartition { topic, partition } in partitions {
            match &*topic {
                CONSUMER_OFFSETS_TOPIC => self.groups.on_resign(partition, None),
                TRANSACTION_STATE_TOPIC => self.transactions.on_resign(partition, None),
                SHARE_GROUP_STATE_TOPIC => self.share.on_resign(partition),
                _ => {}
            }
        }
    }

    /// Whether an image knows this process. As long as it knows one before it, that is the one whose leaderships it tells:
    /// the controller takes them away when it registers this one.
    pub(crate) fn is_registered_in(&self, image: &MetadataImage) -> bool {
        let registered = image.brokers.get(&self.identity.node_id);
        registered.is_some_and(|broker| broker.record.incarnation_id == self.registration.incarnation_id)
    }

    /// Tells a coordinator of the partitions of its topic that this node has come to lead, or has ceased to. It leads none in an
    /// image that does not know this process.
    pub(crate) fn publish_leaderships(
        &self,
        publication: &Publication,
        topic: &str,
        tell: impl Fn(i32, Leadership),
    ) {
        let Publication { previous, image, .. } = publication;
        let local = self.identity.node_id;
        let [was_registered, is_registered] = [previous, image].map(|image| self.is_registered_in(image));
        let [before, now] = [previous, image].map(|image| image.topics.by_name(topic));
        // A topic that was made again under the name has nothing of what this one had.
        if let Some(gone) = before.filter(|before| now.is_none_or(|now| now.id != before.id)) {
            let led = gone.partitions.iter().filter(|(_, registration)| registration.leader == local);
            led.for_each(|(number, _)| tell(*number, Leadership::Elsewhere(None)));
        }
        let mut leads_more = false;
        for (number, registration) in now.iter().flat_map(|topic| &topic.partitions) {
            let known = now.and_then(|topic| previous.topics.partition(topic.id, *number));
            let is_as_before = known.is_some_and(|known| Arc::ptr_eq(known, registration));
            if is_as_before && was_registered == is_registered {
                continue;
            }
            let led = was_registered && known.is_some_and(|known| known.leader == local);
            if is_registered && registration.leader == local {
                tell(*number, Leadership::Here(registration.leader_epoch));
                leads_more = true;
            } else if led {
                let since = is_registered.then_some(registration.leader_epoch);
                tell(*number, Leadership::Elsewhere(since));
            }
        }
        if leads_more {
            (self.hooks.shards_to_load)();
        }
    }
}

/// Who leads a coordinator's partition, since which epoch.
pub(crate) enum Leadership {
    Here(LeaderEpoch),
    /// None where the epoch is all the same: the partition is no more, or it was another process that led it.
    Elsewhere(Option<LeaderEpoch>),
}

/// As many as a coordinator's topic has; before it is there, as many as it will have.
pub(crate) fn partition_count(image: &MetadataImage, topic: &str, configured: i32) -> i32 {
    image.topics.by_name(topic).map_or(configured, |topic| topic.partitions.len() as i32)
}

/// The node as connections see it.
#[derive(Debug)]
pub struct NodeHandler(pub Arc<Node>);

impl Handler for NodeHandler {
    fn handle(&self, connection: &Arc<Connection>, frame: Bytes, now: Now, reply: ReplySlot) {
        dispatch(&self.0, connection, frame, now, reply);
    }

    fn closed(&self, connection: &Connection) {
        if self.0.share.connection_closed(connection.id) {
            (self.0.hooks.wake_at)(MonoMs(0));
        }
        self.0.broker_connection_closed(connection.id);
    }
}
