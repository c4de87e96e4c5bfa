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
use ottla_broker::peers::{NoPeers, Peers};
use ottla_broker::quorum::{open_quorum, write_first_voters};
use ottla_broker::{AdvertisedListener, NodeParts, PublishLater, WakeDriver, assemble, node_settings};
use ottla_config::{Config, Roles};
use ottla_log::disk::sim::Loss;
use ottla_log::disk::{Disk, SimDisk};
use ottla_log::log_manager::LogManager;
use ottla_log::meta_properties::MetaProperties;
use ottla_metadata::image::{VersionedRecord, feature_record, metadata_version_record};
use ottla_metadata::{Feature, MetadataVersion};
use ottla_raft::{
    Endpoints, HostPort, LocalReplica, Node as Replica, QuorumSettings, ReplicaKey, RoleName, VoterNode,
    VoterSet,
};
use ottla_types::{MonoMs, NodeId, Now, Timestamp, Uuid};
use ottla_wire::{FRAME_LENGTH_BYTES, Request, decode_response, encode_request};
use parking_lot::Mutex;

use crate::telling::speaks;

/// The node's id.
pub const NODE: NodeId = NodeId(1);
/// Its first log directory, which holds the metadata; `log.dirs` may add others.
pub const DIR: &str = "/data";
/// A second one.
pub const OTHER_DIR: &str = "/other";
pub const CLUSTER: &str = "cluster";
/// Of each topic that coordinators keep what they know in.
pub const INTERNAL_PARTITIONS: i32 = 3;
const DIR_ID: Uuid = Uuid([5; 16]);
pub const CONTROLLER_LISTENER: &str = "CONTROLLER";
pub const CONTROLLER_PORT: u16 = 9093;
const BOTH_ROLES: Roles = Roles { broker: true, controller: true };

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
        stepped.poll_metadata();
        stepped
    }

    /// Has it take up its metadata, and do nothing else: it does not register with the controller.
    pub fn poll_metadata(&mut self) {
        for _ in 0..4 {
            self.driver.as_mut().expect("it runs").poll(self.now).expect("the metadata can be read");
        }
    }

    /// A node on what the disk holds, that has not been stepped yet.
    pub fn try_start(disk: Arc<SimDisk>, settings: &[(&str, &str)], now: Now) -> Result<SteppedNode, Died> {
        SteppedNode::try_start_as(NodeSetup::alone(settings), disk, now)
    }

    /// [`SteppedNode::try_start`] of one node of several.
    pub fn try_start_as(setup: NodeSetup<'_>, disk: Arc<SimDisk>, now: Now) -> Result<SteppedNode, Died> {
        let config = config(&setup);
        disk.set_now(now.wall);
        let on: Arc<dyn Disk> = Arc::clone(&disk) as _;
        for (number, dir) in (0..).zip(config.log_dirs()) {
            let id = dir_id(setup.id, number);
            // One that can't be formatted is offline.
            let formatted = format_if_empty(&*on, Path::new(dir), setup.id, id);
            let is_new = formatted
                .or_else(|error| if number == 0 { Err(error) } else { Ok(false) })
                .map_err(|error| Died(format!("formatting: {error}")))?;
            if is_new && number == 0 && setup.names_first_voters() {
                write_first_voters(&on, Path::new(dir), &setup.first_voters(), now)
                    .map_err(|error| Died(format!("formatting: {error}")))?;
            }
        }
        let logs = Arc::new(LogManager::new(node_settings::log_manager(&config), on, now));
        let quorum = open_quorum(
            quorum_settings(&config, &setup),
            Arc::clone(logs.context()),
            Path::new(DIR),
            node_settings::metadata_log(&config),
            now,
        )
        .map_err(|error| Died(format!("opening the quorum: {error}")))?;
        let parts = NodeParts {
            identity: Identity { node_id: setup.id, cluster_id: CLUSTER.into() },
            config,
            logs,
            quorum,
            bootstrap: bootstrap(setup.begins_at),
            listeners: setup.listeners(),
            controller_listeners: Vec::new(),
            seed: setup.seed(now),
            hooks: Hooks {
                peers: Arc::clone(&setup.peers),
                publish_later: Arc::clone(&setup.publish_later),
                ..Hooks::default()
            },
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
        speaks(self.node.identity().node_id);
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

    /// The quorum's epoch, and whether this node leads in it.
    pub fn quorum_view(&mut self) -> (i32, bool) {
        let core = self.driver.as_mut().expect("it runs").quorum().core();
        let leader = core.leader_and_epoch();
        (leader.epoch.value(), leader.leader_id == Some(self.node.identity().node_id))
    }

    /// The end of its log of the metadata.
    pub fn quorum_end(&mut self) -> i64 {
        self.driver.as_mut().expect("it runs").quorum().core().log().end_offset().value()
    }

    /// The epoch of the last record of that.
    pub fn quorum_last_epoch(&mut self) -> i32 {
        self.driver.as_mut().expect("it runs").quorum().core().log().end().epoch.value()
    }

    /// Who votes, as far as it knows.
    pub fn quorum_voters(&mut self) -> Vec<NodeId> {
        let core = self.driver.as_mut().expect("it runs").quorum().core();
        core.voters().latest().iter().map(|voter| voter.key.id).collect()
    }

    /// What this node is in the quorum, and in which epoch.
    pub fn quorum_role(&mut self) -> (i32, RoleName) {
        let core = self.driver.as_mut().expect("it runs").quorum().core();
        (core.epoch().value(), core.role())
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

    /// Somebody sets the machine's clock.
    pub fn set_clock_forward(&mut self, ms: i64) {
        self.now.wall = Timestamp(self.now.wall.0 + ms);
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
        let connection = Arc::clone(&self.connection);
        self.send_on(&connection, request, version)
    }

    /// Sends a request on a connection of the caller's, and steps once.
    pub fn send_on<R: Request>(&mut self, connection: &Arc<Connection>, request: &R, version: i16) -> Answer {
        self.correlation_id += 1;
        let frame = encode_request(self.correlation_id, Some("test"), request, version).expect("it encodes");
        let sink = Arc::new(Sink::default());
        let slot = ReplySlot::new(Arc::clone(&sink) as Arc<dyn ReplySink>, 0);
        self.handler.handle(connection, frame.bytes.slice(FRAME_LENGTH_BYTES..), self.now, slot);
        self.step();
        Answer(sink)
    }

    /// Hands over a frame, without its length, as its connection would.
    pub fn deliver(&self, connection: &Arc<Connection>, frame: Bytes, slot: ReplySlot) {
        speaks(self.node.identity().node_id);
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

/// Which node of which cluster is to be started.
pub struct NodeSetup<'a> {
    pub id: NodeId,
    /// All controllers that vote, to begin with where voters are in the log.
    pub members: Vec<NodeId>,
    pub roles: Roles,
    /// The voters are in the log (`kraft.version` 1).
    pub has_voters_in_log: bool,
    /// Over those that every node needs.
    pub settings: Vec<(&'a str, &'a str)>,
    /// The levels of features that a new cluster has are those of this version.
    pub begins_at: MetadataVersion,
    pub peers: Arc<dyn Peers>,
    /// Images are put into effect at once, unless it says otherwise.
    pub publish_later: PublishLater,
}

impl std::fmt::Debug for NodeSetup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NodeSetup { id, members, settings, .. } = self;
        f.debug_struct("NodeSetup")
            .field("id", id)
            .field("members", members)
            .field("settings", settings)
            .finish()
    }
}

impl<'a> NodeSetup<'a> {
    pub fn alone(settings: &[(&'a str, &'a str)]) -> NodeSetup<'a> {
        NodeSetup {
            id: NODE,
            members: vec![NODE],
            roles: BOTH_ROLES,
            has_voters_in_log: false,
            settings: settings.to_vec(),
            begins_at: MetadataVersion::LATEST,
            peers: Arc::new(NoPeers),
            publish_later: Arc::new(|job| job()),
        }
    }

    /// Each node of several has a machine of its own.
    fn host(&self, id: NodeId) -> String {
        if self.members.len() == 1 { "localhost".to_owned() } else { format!("n{id}") }
    }

    /// Each node of several has a rack of its own: `r2` is that of node 2.
    fn rack(&self) -> String {
        format!("r{}", self.id)
    }

    /// Each process has random numbers of its own.
    fn seed(&self, now: Now) -> [u8; 32] {
        let mut seed = [now.mono.0.to_le_bytes(); 4];
        seed[3] = (now.mono.0 ^ (self.id.value() - NODE.value()) as u64).to_le_bytes();
        seed.concat().try_into().expect("32 bytes")
    }

    fn voters(&self) -> impl Iterator<Item = (NodeId, HostPort)> + '_ {
        self.members.iter().map(|id| (*id, HostPort::new(self.host(*id), CONTROLLER_PORT)))
    }

    fn names_first_voters(&self) -> bool {
        self.has_voters_in_log && self.members.contains(&self.id)
    }

    fn first_voters(&self) -> VoterSet {
        VoterSet::new(self.voters().map(|(id, address)| VoterNode {
            key: ReplicaKey::new(id, dir_id(id, 0)),
            listeners: Endpoints::one(CONTROLLER_LISTENER, address),
            supported_kraft_version: (0, 1),
        }))
    }

    fn listeners(&self) -> Vec<AdvertisedListener> {
        let plain = AdvertisedListener {
            name: "PLAINTEXT".into(),
            host: self.host(self.id),
            port: 9092,
            security_protocol: 0,
        };
        if self.roles.broker { vec![plain] } else { Vec::new() }
    }
}

/// Of a node's log directory with this number.
fn dir_id(node: NodeId, number: u8) -> Uuid {
    let of_node = (node.value() - NODE.value()) as u8 * 16;
    Uuid([DIR_ID.0[0] + of_node + number; 16])
}

/// A client's connection to the node.
pub fn connection(id: u64) -> Arc<Connection> {
    connection_on(id, false)
}

/// A connection on either listener.
pub fn connection_on(id: u64, is_controller_listener: bool) -> Arc<Connection> {
    Arc::new(Connection {
        id,
        listener: if is_controller_listener { CONTROLLER_LISTENER } else { "PLAINTEXT" }.into(),
        is_controller_listener,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        host: "/127.0.0.1".into(),
        software: Default::default(),
        held: Held::default(),
    })
}

fn config(setup: &NodeSetup<'_>) -> Arc<Config> {
    let (id, host) = (setup.id.to_string(), setup.host(setup.id));
    let (roles, listeners) = match setup.roles {
        Roles { broker: true, controller: false } => ("broker", format!("PLAINTEXT://{host}:9092")),
        Roles { broker: false, .. } => ("controller", format!("CONTROLLER://{host}:9093")),
        BOTH_ROLES => ("broker,controller", format!("PLAINTEXT://{host}:9092,CONTROLLER://{host}:9093")),
    };
    let (quorum, voters): (_, Vec<String>) = if setup.has_voters_in_log {
        let servers = setup.voters().map(|(_, address)| format!("{}:{}", address.host, address.port));
        ("controller.quorum.bootstrap.servers", servers.collect())
    } else {
        let voters = setup.voters().map(|(id, address)| format!("{id}@{}:{}", address.host, address.port));
        ("controller.quorum.voters", voters.collect())
    };
    let voters = voters.join(",");
    let (rack, partitions) = (setup.rack(), INTERNAL_PARTITIONS.to_string());
    let mut all = BTreeMap::from([
        ("process.roles", roles),
        ("node.id", id.as_str()),
        ("listeners", listeners.as_str()),
        ("controller.listener.names", CONTROLLER_LISTENER),
        ("log.dirs", DIR),
        (quorum, voters.as_str()),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", partitions.as_str()),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", partitions.as_str()),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("share.coordinator.state.topic.num.partitions", partitions.as_str()),
        ("group.initial.rebalance.delay.ms", "0"),
        // Several threads would come to the disk in an order that no seed decides.
        ("num.recovery.threads.per.data.dir", "1"),
    ]);
    if setup.members.len() > 1 {
        all.insert("broker.rack", rack.as_str());
    }
    all.extend(setup.settings.iter().copied());
    Arc::new(Config::of_pairs(all).expect("the settings are valid"))
}

/// As `ottla storage format` does; whether the directory was empty.
fn format_if_empty(disk: &dyn Disk, dir: &Path, node: NodeId, id: Uuid) -> std::io::Result<bool> {
    if MetaProperties::read(disk, dir).map_err(std::io::Error::other)?.is_some() {
        return Ok(false);
    }
    disk.create_dir_all(dir)?;
    let properties = MetaProperties::new(CLUSTER, node, id);
    properties.write(disk, dir).map_err(std::io::Error::other)?;
    disk.sync_dir(Path::new("/"))?;
    Ok(true)
}

fn quorum_settings(config: &Config, setup: &NodeSetup<'_>) -> QuorumSettings {
    let address = HostPort::new(setup.host(setup.id), CONTROLLER_PORT);
    let is_static = !setup.has_voters_in_log;
    // The ids of those that are named by their addresses alone are not known: negative ones stand for them.
    let servers =
        setup.voters().zip(2..).map(|((_, address), number)| Replica { id: NodeId(-number), address });
    QuorumSettings {
        config: node_settings::raft(config, CLUSTER),
        local: LocalReplica {
            key: ReplicaKey::new(setup.id, dir_id(setup.id, 0)),
            listeners: match setup.roles.controller {
                true => Endpoints::one(CONTROLLER_LISTENER, address),
                false => Endpoints::new(),
            },
            supported_kraft_version: (0, 1),
        },
        static_voters: VoterSet::from_addresses(CONTROLLER_LISTENER, setup.voters().filter(|_| is_static)),
        bootstrap_servers: if is_static { Vec::new() } else { servers.collect() },
        seed: 10 + setup.id.value() as u64,
    }
}

/// The levels that a freshly formatted node begins with.
fn bootstrap(version: MetadataVersion) -> Vec<VersionedRecord> {
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

    /// Whether the node hangs up instead.
    pub fn is_refused(&self) -> bool {
        matches!(*self.0.0.lock(), Some(Reply::Close(_)))
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
