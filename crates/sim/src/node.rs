//! A whole node on a simulated disk and a clock that is moved by hand: the node that ships, without its sockets and
//! threads.
//!
//! It runs only while it is told to, so the same calls give the same node.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_broker::exchange::{Connection, Handler, Held, Part, Reply, ReplySink, ReplySlot, ResponseFrame};
use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::metadata_driver::MetadataDriver;
use ottla_broker::node::{Hooks, Identity, Node, NodeHandler};
use ottla_broker::quorum::open_quorum;
use ottla_broker::{AdvertisedListener, NodeParts, WakeDriver, assemble, node_settings};
use ottla_config::Config;
use ottla_log::disk::sim::Loss;
use ottla_log::disk::{Disk, SimDisk};
use ottla_log::log_manager::LogManager;
use ottla_log::meta_properties::MetaProperties;
use ottla_metadata::image::{VersionedRecord, feature_record, metadata_version_record};
use ottla_metadata::{Feature, MetadataVersion};
use ottla_raft::{Endpoints, HostPort, LocalReplica, QuorumSettings, ReplicaKey, VoterSet};
use ottla_types::{MonoMs, NodeId, Now, Timestamp, Uuid};
use ottla_wire::{FRAME_LENGTH_BYTES, Request, decode_response, encode_request};
use parking_lot::Mutex;

/// The node's id.
pub const NODE: NodeId = NodeId(1);
/// Its first log directory, which holds the metadata; `log.dirs` may add others.
pub const DIR: &str = "/data";
const CLUSTER: &str = "cluster";
const DIR_ID: Uuid = Uuid([5; 16]);

/// Why a node's process ended: as it would with Kafka, a failing disk under the metadata is one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died(pub String);

/// A node that runs only while it is told to.
#[derive(Debug)]
pub struct SteppedNode {
    pub disk: Arc<SimDisk>,
    pub node: Arc<Node>,
    driver: Option<MetadataDriver>,
    handler: NodeHandler,
    connection: Arc<Connection>,
    now: Now,
    correlation_id: i32,
}

impl SteppedNode {
    /// A new node with these settings over those that a node alone needs.
    pub fn start(settings: &[(&str, &str)]) -> SteppedNode {
        let at = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1000) };
        SteppedNode::start_on(Arc::new(SimDisk::new(7)), settings, at)
    }

    /// A node on what the disk holds, serving.
    pub fn start_on(disk: Arc<SimDisk>, settings: &[(&str, &str)], now: Now) -> SteppedNode {
        let mut stepped = SteppedNode::try_start(disk, settings, now).expect("the node starts");
        stepped.run_until(|stepped| stepped.node.lifecycle_state() == LifecycleState::Running);
        stepped
    }

    /// A new node that has its metadata, and has not registered with the controller.
    pub fn start_unregistered(settings: &[(&str, &str)]) -> SteppedNode {
        let at = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1000) };
        let mut stepped =
            SteppedNode::try_start(Arc::new(SimDisk::new(7)), settings, at).expect("the node starts");
        for _ in 0..4 {
            stepped.driver.as_mut().expect("it runs").poll(at).expect("the metadata can be read");
        }
        stepped
    }

    /// A node on what the disk holds, that has not been stepped yet.
    pub fn try_start(disk: Arc<SimDisk>, settings: &[(&str, &str)], now: Now) -> Result<SteppedNode, Died> {
        let config = config(settings);
        disk.set_now(now.wall);
        let on: Arc<dyn Disk> = Arc::clone(&disk) as _;
        for (number, dir) in (0..).zip(config.log_dirs()) {
            let id = Uuid([DIR_ID.0[0] + number; 16]);
            // One that can't be formatted is offline.
            let formatted = format_if_empty(&*on, Path::new(dir), id);
            formatted
                .or_else(|error| if number == 0 { Err(error) } else { Ok(()) })
                .map_err(|error| Died(format!("formatting: {error}")))?;
        }
        let logs = Arc::new(LogManager::new(node_settings::log_manager(&config), on, now));
        let quorum = open_quorum(
            quorum_settings(&config),
            Arc::clone(logs.context()),
            Path::new(DIR),
            node_settings::metadata_log(&config),
            now,
        )
        .map_err(|error| Died(format!("opening the quorum: {error}")))?;
        let parts = NodeParts {
            identity: Identity { node_id: NODE, cluster_id: CLUSTER.into() },
            config,
            logs,
            quorum,
            bootstrap: bootstrap(),
            listeners: vec![AdvertisedListener {
                name: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: 0,
            }],
            controller_listeners: Vec::new(),
            // Later processes have other random numbers.
            seed: [now.mono.0.to_le_bytes(); 4].concat().try_into().expect("32 bytes"),
            hooks: Hooks::default(),
            wake_driver: WakeDriver(Box::new(|| {})),
        };
        let (node, driver) = assemble(parts, now);
        let handler = NodeHandler(Arc::clone(&node));
        let connection = connection(1);
        Ok(SteppedNode { disk, node, driver: Some(driver), handler, connection, now, correlation_id: 0 })
    }

    pub fn now(&self) -> Now {
        self.now
    }

    /// Does all that is due, without letting time pass.
    pub fn step(&mut self) {
        self.try_step().expect("the node goes on");
    }

    /// [`SteppedNode::step`] of a node that may have to stop.
    pub fn try_step(&mut self) -> Result<(), Died> {
        for _ in 0..4 {
            let driver = self.driver.as_mut().expect("it runs");
            driver.poll(self.now).map_err(|error| Died(error.to_string()))?;
            self.node.tick(self.now);
            let now = self.now;
            while self.node.load_next_shard(|| now) {}
        }
        Ok(())
    }

    /// Has the node give up the leadership of the quorum; it takes it again after a while, alone as it is.
    pub fn resign(&mut self) {
        let now = self.now;
        let quorum = self.driver.as_mut().expect("it runs").quorum();
        let epoch = quorum.core().epoch();
        quorum.resign(epoch, now).expect("the node goes on");
    }

    /// The work on logs that a thread of its own does: retention, checkpoints, what was left for later. A node whose
    /// only directory failed ends, as Kafka does.
    pub fn maintain(&mut self) -> Result<(), Died> {
        self.node.maintain(self.now).map_err(|halt| Died(halt.to_string()))
    }

    /// What a cleaner thread does until it has nothing to do; returns for how many milliseconds it paused meanwhile.
    pub fn clean(&mut self) -> u64 {
        let mut worker = self.node.cleaner_worker();
        let mut paused_ms = 0;
        loop {
            let wait_ms = self.node.clean_step(&mut worker, self.now);
            if wait_ms > 0 && !worker.is_busy() {
                return paused_ms;
            }
            paused_ms += wait_ms;
            self.move_clock(wait_ms);
        }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.move_clock(ms);
        self.step();
    }

    /// Lets time pass without doing what is due.
    pub fn move_clock(&mut self, ms: u64) {
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        self.disk.set_now(self.now.wall);
    }

    /// Steps on, a little time at a time.
    pub fn run_until(&mut self, is_so: impl Fn(&SteppedNode) -> bool) {
        for _ in 0..1000 {
            self.step();
            if is_so(self) {
                return;
            }
            self.pass_ms(10);
        }
        panic!("it did not come to that: the broker is {:?}", self.node.lifecycle_state());
    }

    /// Sends a request and steps on until it is answered.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let answer = self.send(request, version);
        for _ in 0..1000 {
            self.step();
            if let Some(response) = answer.take::<R>(version) {
                return response;
            }
            self.pass_ms(10);
        }
        panic!("{} was not answered", R::API_KEY.name());
    }

    /// Sends a request and steps once.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Answer {
        self.correlation_id += 1;
        let frame = encode_request(self.correlation_id, Some("test"), request, version).expect("it encodes");
        let sink = Arc::new(Sink::default());
        let slot = ReplySlot::new(Arc::clone(&sink) as Arc<dyn ReplySink>, 0);
        self.handler.handle(&self.connection, frame.bytes.slice(FRAME_LENGTH_BYTES..), self.now, slot);
        self.step();
        Answer(sink)
    }

    /// Hands over a frame, without its length, as its connection would.
    pub fn deliver(&self, connection: &Arc<Connection>, frame: Bytes, slot: ReplySlot) {
        self.handler.handle(connection, frame, self.now, slot);
    }

    /// Tells the node that a connection is gone.
    pub fn closed(&self, connection: &Connection) {
        self.handler.closed(connection);
    }

    /// Stops as a node should; returns its disk.
    pub fn stop(mut self) -> (Arc<SimDisk>, Now) {
        self.node.begin_shutdown(self.now);
        self.run_until(|stepped| stepped.node.lifecycle_state() == LifecycleState::MayStop);
        self.close().expect("the quorum closes");
        (self.disk, later(self.now))
    }

    /// What comes last when a node stops: it takes no more requests.
    pub fn close(&mut self) -> Result<(), Died> {
        let driver = self.driver.take().expect("it runs");
        self.node.close(Some(driver), self.now).map_err(|error| Died(error.to_string()))?;
        Ok(())
    }

    /// Loses power, and with it all that was not flushed.
    pub fn crash(self) -> (Arc<SimDisk>, Now) {
        self.lose_power(Loss::Everything)
    }

    /// Loses power.
    pub fn lose_power(mut self, loss: Loss) -> (Arc<SimDisk>, Now) {
        drop(self.driver.take());
        self.disk.crash(loss);
        (self.disk, later(self.now))
    }

    /// Ends the process without warning; what it wrote stays in the page cache.
    pub fn kill(mut self) -> (Arc<SimDisk>, Now) {
        self.disk.kill();
        drop(self.driver.take());
        (self.disk, later(self.now))
    }
}

/// The next process starts a second later; its random numbers are others.
fn later(now: Now) -> Now {
    Now { wall: Timestamp(now.wall.0 + 1000), mono: MonoMs(now.mono.0 + 1000) }
}

/// A client's connection to the node.
pub fn connection(id: u64) -> Arc<Connection> {
    Arc::new(Connection {
        id,
        listener: "PLAINTEXT".into(),
        is_controller_listener: false,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        software: Default::default(),
        held: Held::default(),
    })
}

fn config(settings: &[(&str, &str)]) -> Arc<Config> {
    let mut all = BTreeMap::from([
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", DIR),
        ("controller.quorum.voters", "1@localhost:9093"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "3"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "3"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("share.coordinator.state.topic.num.partitions", "3"),
        ("group.initial.rebalance.delay.ms", "0"),
        // Several threads would come to the disk in an order that no seed decides.
        ("num.recovery.threads.per.data.dir", "1"),
    ]);
    all.extend(settings.iter().copied());
    Arc::new(Config::of_pairs(all).expect("the settings are valid"))
}

/// As `ottla storage format` does.
fn format_if_empty(disk: &dyn Disk, dir: &Path, id: Uuid) -> std::io::Result<()> {
    if MetaProperties::read(disk, dir).map_err(std::io::Error::other)?.is_some() {
        return Ok(());
    }
    disk.create_dir_all(dir)?;
    let properties = MetaProperties::new(CLUSTER, NODE, id);
    properties.write(disk, dir).map_err(std::io::Error::other)?;
    disk.sync_dir(Path::new("/"))
}

fn quorum_settings(config: &Config) -> QuorumSettings {
    let address = HostPort::new("localhost", 9093);
    QuorumSettings {
        config: node_settings::raft(config, CLUSTER),
        local: LocalReplica {
            key: ReplicaKey::new(NODE, DIR_ID),
            listeners: Endpoints::one("CONTROLLER", address.clone()),
            supported_kraft_version: (0, 1),
        },
        static_voters: VoterSet::from_addresses("CONTROLLER", [(NODE, address)]),
        bootstrap_servers: Vec::new(),
        seed: 11,
    }
}

/// The levels that a freshly formatted node begins with.
fn bootstrap() -> Vec<VersionedRecord> {
    let version = MetadataVersion::LATEST;
    let others = Feature::all().map(|facts| facts.feature);
    let others =
        others.filter(|feature| !matches!(feature, Feature::MetadataVersion | Feature::KRaftVersion));
    let levels = others.map(|feature| (feature, feature.default_level(version)));
    let records =
        levels.filter(|(_, level)| *level > 0).map(|(feature, level)| feature_record(feature, level));
    std::iter::once(metadata_version_record(version)).chain(records).collect()
}

#[derive(Debug, Default)]
struct Sink(Mutex<Option<Reply>>);

impl ReplySink for Sink {
    fn reply(&self, _: u64, reply: Reply) {
        *self.0.lock() = Some(reply);
    }
}

/// What a request was, or will be, answered.
#[derive(Debug)]
pub struct Answer(Arc<Sink>);

impl Answer {
    pub fn take<R: Request>(&self, version: i16) -> Option<R::Response> {
        match self.0.0.lock().take()? {
            Reply::Send(frame) => {
                let bytes = collect(&frame).expect("the file is readable");
                let body = bytes.slice(FRAME_LENGTH_BYTES..);
                Some(decode_response::<R::Response>(body, version).expect("it decodes").1)
            }
            other => panic!("{} was answered with {other:?}", R::API_KEY.name()),
        }
    }
}

/// A whole response as its client receives it, its length in front. Fails where a file can't be read: a connection ends
/// then.
pub fn collect(frame: &ResponseFrame) -> std::io::Result<Bytes> {
    let mut all = BytesMut::new();
    for part in &frame.parts {
        match part {
            Part::Bytes(bytes) => all.extend_from_slice(bytes),
            Part::File(file) => {
                let mut bytes = vec![0; file.len as usize];
                let read = file.file.read_at(&mut bytes, file.position)?;
                assert_eq!(read, bytes.len(), "{:?} ends before what was promised of it", file.file.path());
                all.extend_from_slice(&bytes);
            }
        }
    }
    Ok(all.freeze())
}
