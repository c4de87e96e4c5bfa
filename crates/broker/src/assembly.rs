//! Puts a node together from its parts.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use ottla_config::{Config, DynamicConfig, keys};
use ottla_controller::ControllerSettings;
use ottla_coordinator::group::GroupCoordinator;
use ottla_coordinator::runtime::Outside;
use ottla_coordinator::transaction::TransactionCoordinator;
use ottla_log::log_manager::LogManager;
use ottla_metadata::image::VersionedRecord;
use ottla_raft::SnapshotPolicy;
use ottla_record::Compression;
use ottla_replica::ReplicaManager;
use ottla_replica::fetch_session::FetchSessions;
use ottla_types::Now;
use parking_lot::{Mutex, RwLock};

use crate::auto_topic_creation::TopicsInFlight;
use crate::broker_probes::BrokerProbes;
use crate::controller_channel::ControllerChannel;
use crate::coordinator_storage::{CoordinatorStorage, TopicListener};
use crate::deadlines::Deadlines;
use crate::directory_assignments::DirectoryAssignments;
use crate::ids::Ids;
use crate::lifecycle::Lifecycle;
use crate::log_dir_moves::WantedDirs;
use crate::metadata_cache::MetadataCache;
use crate::metadata_driver::{MetadataDriver, MetadataDriverParts};
use crate::node::{Hooks, Identity, Node};
use crate::node_settings;
use crate::producer_ids::ProducerIds;
use crate::publisher::Desk;
use crate::quorum::Quorum;
use crate::quorum_channel::QuorumChannel;
use crate::quorum_link::QuorumLink;
use crate::registration::{AdvertisedListener, Registration, controller_registration};
use crate::replication::IsrAnswer;
use crate::room::Dispensable;
use crate::share::{NodeLink, ShareGroupParts};
use crate::transactions::{MarkerDispatch, NodeProducerIds};

/// What a node is made of: a broker, a controller, or both in one, as `process.roles` says.
#[derive(Debug)]
pub struct NodeParts {
    pub identity: Identity,
    pub config: Arc<Config>,
    /// Its directories are open and its logs not loaded yet.
    pub logs: Arc<LogManager>,
    pub quorum: Quorum,
    /// What an empty metadata log begins with.
    pub bootstrap: Vec<VersionedRecord>,
    pub listeners: Vec<AdvertisedListener>,
    /// Where other controllers, and tools, reach this one.
    pub controller_listeners: Vec<AdvertisedListener>,
    /// For all random numbers of the node.
    pub seed: [u8; 32],
    pub hooks: Hooks,
    /// Called when operations wait for the [`MetadataDriver`].
    pub wake_driver: WakeDriver,
}

/// Lets whoever steps the [`MetadataDriver`] know that there is work.
pub struct WakeDriver(pub Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for WakeDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WakeDriver")
    }
}

/// The node, and the driver of its metadata: poll the driver until the node is running.
pub fn assemble(parts: NodeParts, now: Now) -> (Arc<Node>, MetadataDriver) {
    let NodeParts { identity, config, logs, quorum, bootstrap, seed, hooks, wake_driver, .. } = parts;
    let (listeners, controller_listeners) = (parts.listeners, parts.controller_listeners);
    let ids = Arc::new(Ids::from_seed(seed));
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::from(wake_driver.0);
    let channel = Arc::new(ControllerChannel::new(Arc::clone(&wake)));
    let quorum_channel = Arc::new(QuorumChannel::new(Arc::clone(&wake)));
    let controller_listener = config.controller_listener_names().into_iter().next().unwrap_or_default();
    let mut driver_parts = MetadataDriverParts {
        local: identity.node_id,
        quorum,
        snapshots: snapshot_policy(&config, now),
        controller: ControllerSettings::from_config(identity.cluster_id.clone(), Arc::clone(&config)),
        bootstrap,
        channel: Arc::clone(&channel),
        link: QuorumLink::new(
            Arc::clone(&quorum_channel),
            Arc::clone(&hooks.peers),
            controller_listener.clone(),
            i64::from(config.get(keys::CONTROLLER_QUORUM_REQUEST_TIMEOUT_MS)),
        ),
        peers: Arc::clone(&hooks.peers),
        controller_listener,
        request_timeout_ms: i64::from(config.get(keys::REQUEST_TIMEOUT_MS)),
        ids: Arc::clone(&ids),
        registration: config
            .roles()
            .controller
            .then(|| controller_registration(identity.node_id, ids.uuid(), &controller_listeners)),
    };
    let channels = Channels { controller: channel, quorum: quorum_channel };
    let node = node(identity, config, logs, listeners, channels, ids, hooks, now);
    driver_parts.controller.own_incarnation = Some(node.registration.incarnation_id);
    node.share.link.set(&node);
    node.hooks.brokers.attach(&node);
    let driver = MetadataDriver::new(driver_parts, Desk::new(Arc::clone(&node), wake));
    (node, driver)
}

/// The ways to the thread that drives the quorum.
pub(crate) struct Channels {
    pub controller: Arc<ControllerChannel>,
    pub quorum: Arc<QuorumChannel>,
}

/// The node alone, without any metadata yet.
#[expect(clippy::too_many_arguments, reason = "each is a part of the node, and named as one")]
pub(crate) fn node(
    identity: Identity,
    config: Arc<Config>,
    logs: Arc<LogManager>,
    listeners: Vec<AdvertisedListener>,
    channels: Channels,
    ids: Arc<Ids>,
    hooks: Hooks,
    now: Now,
) -> Arc<Node> {
    let maintain_at = Arc::clone(&hooks.maintain_at);
    logs.context().on_work(move |due| maintain_at(due));
    let metadata = Arc::new(MetadataCache::default());
    let replicas = Arc::new(ReplicaManager::new(
        identity.node_id,
        node_settings::replicas(&config),
        Arc::clone(&logs),
        Arc::clone(&metadata) as _,
        Arc::clone(&hooks.wake_at),
        Arc::clone(&hooks.read_later),
    ));
    let storage =
        Arc::new(CoordinatorStorage::new(Arc::clone(&replicas), node_settings::offsets_compression(&config)));
    let groups =
        GroupCoordinator::new(node_settings::groups(&config), Arc::clone(&storage) as _, storage as _);
    let link = Arc::new(NodeLink::default());
    let outside = Outside {
        compute: Arc::clone(&hooks.compute_later),
        go_on: Arc::clone(&hooks.read_later),
        wake_at: Arc::clone(&hooks.wake_at),
    };
    let groups = Arc::new(groups.within(outside.clone()));
    let offsets_listener = Arc::new(TopicListener::default());
    offsets_listener.tell(&groups);
    let share = ShareGroupParts::new(&config, &replicas, link, outside.clone());
    // As in Kafka, what transactions write is never compressed.
    let transaction_storage = Arc::new(CoordinatorStorage::new(Arc::clone(&replicas), Compression::NONE));
    let slots = usize::try_from(config.get(keys::MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS)).unwrap_or(0);
    let registration = Registration {
        incarnation_id: ids.uuid(),
        listeners,
        rack: config.get(keys::BROKER_RACK).map(str::to_owned),
        log_dirs: logs.online_dir_ids(),
        previous_epoch: logs.clean_shutdown_epoch(),
    };
    let (roles, life) = (config.roles(), node_settings::lifecycle(&config));
    let lifecycle =
        if roles.broker { Lifecycle::new(life, now) } else { Lifecycle::of_controller(life, now) };
    Arc::new_cyclic(|node: &Weak<Node>| {
        let transactions = TransactionCoordinator::new(
            node_settings::transactions(&config),
            Arc::clone(&transaction_storage) as _,
            transaction_storage as _,
            Arc::new(MarkerDispatch(Weak::clone(node))),
            Arc::new(NodeProducerIds(Weak::clone(node))),
        );
        let transactions = Arc::new(transactions.within(outside));
        let transactions_listener = Arc::new(TopicListener::default());
        transactions_listener.tell(&transactions);
        Node {
            identity,
            roles,
            dynamic_config: RwLock::new(DynamicConfig::new((*config).clone())),
            effective_config: ArcSwap::new(Arc::clone(&config)),
            metadata,
            logs,
            replicas,
            fetch_sessions: FetchSessions::new(slots, ids.next_u64()),
            groups,
            offsets_listener,
            controller: channels.controller,
            quorum: channels.quorum,
            topics_in_flight: TopicsInFlight::default(),
            deadlines: Deadlines::default(),
            directory_assignments: DirectoryAssignments::default(),
            dispensable: Dispensable::default(),
            wanted_dirs: WantedDirs::default(),
            registration,
            lifecycle: Mutex::new(lifecycle),
            isr_answer: IsrAnswer::default(),
            probes: BrokerProbes::default(),
            ids,
            producer_ids: ProducerIds::default(),
            config,
            hooks,
            transactions,
            transactions_listener,
            share,
        }
    })
}

fn snapshot_policy(config: &Config, now: Now) -> SnapshotPolicy {
    let max_bytes = config.get(keys::METADATA_LOG_MAX_RECORD_BYTES_BETWEEN_SNAPSHOTS);
    SnapshotPolicy::new(
        u64::try_from(max_bytes).unwrap_or(u64::MAX),
        config.get(keys::METADATA_LOG_MAX_SNAPSHOT_INTERVAL_MS),
        now.mono,
    )
}
