//! A node with its threads.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_broker::exchange::Handler;
use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::loggers::Loggers;
use ottla_broker::node::{ComputeLater, Hooks, Identity, Node, NodeHandler};
use ottla_broker::peers::Peers;
use ottla_broker::{AdvertisedListener, NodeParts, PublishLater, WakeDriver, assemble, node_settings};
use ottla_config::{Config, keys};
use ottla_log::disk::{Disk, RealDisk};
use ottla_log::log_manager::LogManager;
use ottla_types::NodeId;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::serving::{Network, Serving};
use super::start_times::StartTimes;
use super::{Ready, path_text};
use crate::clock::Clock;
use crate::peers::{PeerNetwork, PeerSettings};
use crate::random;
use crate::startup::directories::{self, Directories};
use crate::startup::listeners::{self, BoundListeners};
use crate::startup::{StartError, quorum};
use crate::threads::{
    Alarm, Cleaners, Fatal, MetadataThread, Pool, PoolKind, Publications, Worker, loader, maintenance,
    metadata, ticker,
};

/// How long the controller may take to move this broker's leaderships away.
const CONTROLLED_SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// How long the other voters may take to find a new leader.
const LEAVE_QUORUM_MAX_MS: i64 = 5000;

/// A node whose threads run, and which may serve.
#[derive(Debug)]
pub struct Running {
    node: Arc<Node>,
    config: Arc<Config>,
    clock: Clock,
    states: watch::Receiver<LifecycleState>,
    ticker: Worker,
    loader: Worker,
    maintenance: Worker,
    metadata: MetadataThread,
    publisher: Worker,
    cleaners: Arc<Cleaners>,
    reactions: Arc<Reactions>,
    readers: Arc<Pool>,
    computers: Arc<Pool>,
    peers: Arc<PeerNetwork>,
    serving: Option<Serving>,
    bootstrap: Vec<String>,
    controllers: Vec<String>,
    files: Arc<RealDisk>,
    /// Released last.
    directories: Directories,
}

/// Who takes part in changes of settings; there only once it is made.
#[derive(Debug, Default)]
struct Reactions {
    cleaners: OnceLock<Arc<Cleaners>>,
    network: OnceLock<Arc<Network>>,
    pools: OnceLock<[Arc<Pool>; 2]>,
    peers: OnceLock<Arc<PeerNetwork>>,
}

impl Reactions {
    fn config_changed(&self, config: &Config) {
        if let Some(cleaners) = self.cleaners.get()
            && let Err(error) = cleaners.update()
        {
            tracing::error!(%error, "the number of cleaner threads could not be changed");
        }
        if let Some(network) = self.network.get() {
            network.update(config);
        }
        for pool in self.pools.get().into_iter().flatten() {
            pool.update(config);
        }
        if let Some(peers) = self.peers.get() {
            peers.update(config);
        }
    }
}

/// Binds, opens and assembles everything, and starts the threads. The node serves nobody yet.
pub fn start(
    config: Config,
    clock: Clock,
    fatal: Fatal,
    loggers: Arc<dyn Loggers>,
    times: &mut StartTimes,
) -> Result<(Running, BoundListeners), StartError> {
    let config = Arc::new(config);
    let now = clock.now();
    let bound = listeners::bind(&config)?;
    times.ended(|times| &mut times.listeners);
    let files = Arc::new(RealDisk::with_share_of_process_limit());
    let disk: Arc<dyn Disk> = Arc::clone(&files) as _;
    let directories = directories::open(&config, &bound, &disk, now)?;
    times.ended(|times| &mut times.directories);
    let logs = Arc::new(LogManager::new(node_settings::log_manager(&config), Arc::clone(&disk), now));
    let seed = random::bytes::<32>()?;
    let quorum_seed = u64::from_be_bytes(random::bytes()?);
    let quorum = quorum::open(&config, &directories, &bound, Arc::clone(logs.context()), quorum_seed, now)?;
    times.ended(|times| &mut times.metadata_log);
    let advertised = bound.advertised(&config)?;
    let bootstrap = addresses(&advertised);
    let controller_listeners = listeners::for_registration(bound.advertised_controllers(&config)?);
    let controllers = addresses(&controller_listeners);

    let [ticker_alarm, driver_alarm, loader_alarm, maintenance_alarm] =
        [(); 4].map(|()| Arc::new(Alarm::default()));
    let reactions = Arc::new(Reactions::default());
    let publications = Arc::new(Publications::default());
    let readers = Arc::new(Pool::from_config(PoolKind::Reader, &config));
    let computers = Arc::new(Pool::from_config(PoolKind::Computer, &config));
    let _ = reactions.pools.set([Arc::clone(&readers), Arc::clone(&computers)]);
    let peers =
        Arc::new(PeerNetwork::start(PeerSettings::from_config(&config), clock).map_err(StartError::Thread)?);
    let _ = reactions.peers.set(Arc::clone(&peers));
    let parts = NodeParts {
        identity: Identity {
            node_id: NodeId(config.get(keys::NODE_ID)),
            cluster_id: directories.cluster_id.clone(),
        },
        config: Arc::clone(&config),
        logs,
        quorum,
        bootstrap: quorum::bootstrap(&*disk, &directories.metadata_dir)?,
        listeners: advertised,
        controller_listeners,
        seed,
        hooks: Hooks {
            peers: Arc::clone(&peers) as Arc<dyn Peers>,
            read_later: doing(&readers),
            compute_later: doing(&computers),
            publish_later: giving(&publications),
            clock: Some(Box::new(move || clock.now())),
            ..hooks(&ticker_alarm, &maintenance_alarm, &loader_alarm, &reactions, loggers)
        },
        wake_driver: WakeDriver(ringing(&driver_alarm)),
    };
    let (node, driver) = assemble(parts, now);
    let of_network = Arc::downgrade(&node);
    peers.on_lost(Box::new(move |to, _, _| {
        if let Some(node) = of_network.upgrade().filter(|_| !to.is_controller_listener) {
            node.doubt_broker(to.node);
        }
    }));

    let cleaners = Arc::new(Cleaners::new(Arc::clone(&node), clock));
    let _ = reactions.cleaners.set(Arc::clone(&cleaners));

    let (state_sender, states) = watch::channel(LifecycleState::Starting);
    let (of_thread, guard) = (Arc::clone(&node), fatal.on_panic("ticker"));
    let ticker_worker = Worker::spawn("ticker", ticker_alarm, move |alarm| {
        let _guard = guard;
        ticker(alarm, &of_thread, clock, &state_sender);
    });
    let (of_thread, guard) = (Arc::clone(&node), fatal.on_panic("loader"));
    let loader_worker = Worker::spawn("loader", loader_alarm, move |alarm| {
        let _guard = guard;
        loader(alarm, &of_thread, clock);
    });
    let guard = fatal.on_panic("publisher");
    let publisher_worker = Worker::spawn("publisher", publications.alarm(), move |_| {
        let _guard = guard;
        publications.run(clock);
    });
    let (of_thread, guard) = (Arc::clone(&driver_alarm), fatal.on_panic("metadata"));
    let (told, metadata_dir) = (fatal.clone(), directories.metadata_dir.clone());
    let metadata_worker = Worker::spawn("metadata", driver_alarm, move |_| {
        let _guard = guard;
        metadata(&of_thread, driver, clock, &told, &metadata_dir)
    });
    let (of_thread, guard) = (Arc::clone(&node), fatal.on_panic("maintenance"));
    let maintenance_worker = Worker::spawn("maintenance", maintenance_alarm, move |alarm| {
        let _guard = guard;
        maintenance(alarm, &of_thread, clock, &fatal);
    });
    let running = Running {
        ticker: ticker_worker.map_err(StartError::Thread)?,
        loader: loader_worker.map_err(StartError::Thread)?,
        maintenance: maintenance_worker.map_err(StartError::Thread)?,
        metadata: metadata_worker.map_err(StartError::Thread)?,
        publisher: publisher_worker.map_err(StartError::Thread)?,
        node,
        config,
        clock,
        states,
        cleaners,
        reactions,
        readers,
        computers,
        peers,
        serving: None,
        bootstrap,
        controllers,
        files,
        directories,
    };
    times.ended(|times| &mut times.assembly);
    Ok((running, bound))
}

fn addresses(listeners: &[AdvertisedListener]) -> Vec<String> {
    listeners.iter().map(|at| format!("{}:{}", at.host, at.port)).collect()
}

fn ringing(alarm: &Arc<Alarm>) -> Box<dyn Fn() + Send + Sync> {
    let alarm = Arc::clone(alarm);
    Box::new(move || alarm.ring())
}

fn doing(pool: &Arc<Pool>) -> ComputeLater {
    let pool = Arc::clone(pool);
    Arc::new(move |job| pool.run(job))
}

fn giving(publications: &Arc<Publications>) -> PublishLater {
    let publications = Arc::clone(publications);
    Arc::new(move |job| publications.give(job))
}

fn hooks(
    ticker: &Arc<Alarm>,
    maintenance: &Arc<Alarm>,
    loader: &Arc<Alarm>,
    reactions: &Arc<Reactions>,
    loggers: Arc<dyn Loggers>,
) -> Hooks {
    let (reactions, ticker, maintenance) =
        (Arc::clone(reactions), Arc::clone(ticker), Arc::clone(maintenance));
    Hooks {
        wake_at: Arc::new(move |deadline| ticker.ring_before(deadline)),
        maintain_at: Arc::new(move |deadline| maintenance.ring_before(deadline)),
        config_changed: Box::new(move |config| reactions.config_changed(config)),
        shards_to_load: ringing(loader),
        loggers,
        ..Hooks::default()
    }
}

impl Running {
    pub fn states(&self) -> watch::Receiver<LifecycleState> {
        self.states.clone()
    }

    /// Takes connections. Other controllers are served, without which there may be no quorum; clients wait.
    pub fn take_connections(&mut self, bound: BoundListeners) -> std::io::Result<()> {
        let config = self.node.effective_config();
        let handler: Arc<dyn Handler> = Arc::new(NodeHandler(Arc::clone(&self.node)));
        let (readers, files) = (Arc::clone(&self.readers), Arc::clone(&self.files));
        let mut serving = Serving::prepare(&bound.listeners, handler, &config, readers, self.clock, files);
        serving.take_connections(bound.listeners, &config)?;
        let _ = self.reactions.network.set(Arc::clone(&serving.network));
        // What changed before that was not heard.
        serving.network.update(&self.node.effective_config());
        self.serving = Some(serving);
        Ok(())
    }

    /// Serves clients, and begins to compact.
    pub fn serve(&mut self) -> std::io::Result<()> {
        if let Some(serving) = &mut self.serving {
            serving.gate.open(self.clock.now());
        }
        self.cleaners.update()
    }

    pub fn ready(&self, clock: Clock) -> Ready {
        Ready {
            bootstrap: self.bootstrap.clone(),
            controllers: self.controllers.clone(),
            log_dirs: self.node.logs().online_dirs().iter().map(|dir| path_text(dir)).collect(),
            cluster_id: self.directories.cluster_id.clone(),
            was_formatted: self.directories.was_formatted,
            took: Duration::from_millis(clock.now().mono.0),
        }
    }

    /// Leaves in good order: hands over leaderships, closes connections and listeners, flushes and closes every log, leaves the mark
    /// of a clean stop, closes the metadata log. To be called where blocking is allowed.
    pub fn stop(self) -> Result<(), String> {
        if self.config.get(keys::CONTROLLED_SHUTDOWN_ENABLE) {
            self.hand_over();
        }
        self.leave_quorum();
        let Running {
            node,
            clock,
            ticker,
            loader,
            maintenance,
            metadata,
            publisher,
            cleaners,
            readers,
            computers,
            peers,
            serving,
            directories,
            ..
        } = self;
        if let Some(serving) = serving {
            serving.stop();
        }
        peers.stop();
        readers.stop();
        computers.stop();
        // Before all else: an image that is published makes and deletes logs, and changes the numbers of threads.
        let driver = metadata.stop().flatten();
        publisher.stop();
        cleaners.stop();
        loader.stop();
        maintenance.stop();
        ticker.stop();
        let failed = node
            .close(driver, clock.now())
            .map_err(|error| format!("the metadata log was not closed: {error}"))?;
        drop(directories);
        match failed.as_slice() {
            [] => Ok(()),
            dirs => Err(format!(
                "not closed cleanly: {}",
                dirs.iter().map(|dir| path_text(dir)).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// Hands over the leadership of the quorum, if there is anybody to take it.
    fn leave_quorum(&self) {
        let (told, left) = std::sync::mpsc::channel();
        self.node.leave_quorum(LEAVE_QUORUM_MAX_MS, move || {
            let _ = told.send(());
        });
        let max = Duration::from_millis(LEAVE_QUORUM_MAX_MS.unsigned_abs()) + Duration::from_secs(1);
        if left.recv_timeout(max).is_err() {
            tracing::warn!("the quorum did not let this node go in time: it stops all the same");
        }
    }

    /// Waits until the controller lets this broker go.
    fn hand_over(&self) {
        self.node.begin_shutdown(self.clock.now());
        let mut states = self.states.clone();
        let let_go = states.wait_for(|state| *state == LifecycleState::MayStop);
        let in_time = Handle::current().block_on(tokio::time::timeout(CONTROLLED_SHUTDOWN_MAX, let_go));
        if in_time.is_err() {
            tracing::warn!("the controller did not let this broker go in time: it stops all the same");
        }
    }
}
