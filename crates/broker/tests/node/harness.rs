//! A whole node on a simulated disk and a clock that is moved by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_broker::exchange::{Connection, Handler, Part, Reply, ReplySink, ReplySlot};
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
use ottla_metadata::MetadataVersion;
use ottla_metadata::image::metadata_version_record;
use ottla_raft::{Endpoints, HostPort, LocalReplica, QuorumSettings, ReplicaKey, VoterSet};
use ottla_types::{BrokerEpoch, MonoMs, NodeId, Now, Timestamp, Uuid};
use ottla_wire::{Request, decode_response, encode_request};
use parking_lot::Mutex;

pub const NODE: NodeId = NodeId(1);
const DIR: &str = "/data";

/// A node that runs only while it is told to.
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

    pub fn start_on(disk: Arc<SimDisk>, settings: &[(&str, &str)], now: Now) -> SteppedNode {
        let mut all = BTreeMap::from([
            ("log.dirs", DIR),
            ("controller.quorum.voters", "1@localhost:9093"),
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
        ]);
        all.extend(settings.iter().copied());
        let config = Arc::new(Config::of_pairs(all).expect("the settings are valid"));
        let on: Arc<dyn Disk> = Arc::clone(&disk) as _;
        if MetaProperties::read(&*on, Path::new(DIR)).expect("it is readable").is_none() {
            on.create_dir_all(Path::new(DIR)).expect("a directory can be made");
            let properties = MetaProperties::new("cluster", NODE, Uuid([5; 16]));
            properties.write(&*on, Path::new(DIR)).expect("it can be written");
            on.sync_dir(Path::new("/")).expect("names can be made durable");
        }
        let logs = Arc::new(LogManager::new(node_settings::log_manager(&config), on, now));
        let quorum = open_quorum(
            quorum_settings(&config),
            Arc::clone(logs.context()),
            Path::new(DIR),
            node_settings::metadata_log(&config),
            now,
        )
        .expect("the quorum opens");
        let parts = NodeParts {
            identity: Identity { node_id: NODE, cluster_id: "cluster".into() },
            config,
            logs,
            quorum,
            bootstrap: vec![metadata_version_record(MetadataVersion::LATEST)],
            listeners: vec![AdvertisedListener {
                name: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: 0,
            }],
            controller_listeners: Vec::new(),
            seed: [now.mono.0.to_le_bytes(); 4].concat().try_into().expect("32 bytes"),
            hooks: Hooks::default(),
            wake_driver: WakeDriver(Box::new(|| {})),
        };
        let (node, driver) = assemble(parts, now);
        let connection = Arc::new(Connection {
            id: 1,
            listener: "PLAINTEXT".into(),
            is_controller_listener: false,
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
            software: Default::default(),
        });
        let handler = NodeHandler(Arc::clone(&node));
        let mut stepped =
            SteppedNode { disk, node, driver: Some(driver), handler, connection, now, correlation_id: 0 };
        stepped.run_until(|stepped| stepped.node.lifecycle_state() == LifecycleState::Running);
        stepped
    }

    /// Does all that is due, without letting time pass.
    pub fn step(&mut self) {
        for _ in 0..4 {
            self.driver.as_mut().expect("it runs").poll(self.now).expect("the driver goes on");
            self.node.tick(self.now);
            let now = self.now;
            while self.node.load_next_shard(|| now) {}
        }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono = MonoMs(self.now.mono.0 + ms);
        self.now.wall = Timestamp(self.now.wall.0 + ms as i64);
        self.step();
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
        self.handler.handle(&self.connection, frame.bytes.slice(4..), self.now, slot);
        self.step();
        Answer(sink)
    }

    /// Stops as a node should; returns its disk.
    pub fn stop(mut self) -> (Arc<SimDisk>, Now) {
        self.node.begin_shutdown(self.now);
        self.run_until(|stepped| stepped.node.lifecycle_state() == LifecycleState::MayStop);
        let epoch = self.node.broker_epoch().unwrap_or(BrokerEpoch::NONE);
        self.driver.take().expect("it runs").close(self.now).expect("the quorum closes");
        self.node.logs().shutdown(epoch, self.now);
        (self.disk, later(self.now))
    }

    /// Loses power.
    pub fn crash(mut self) -> (Arc<SimDisk>, Now) {
        drop(self.driver.take());
        self.disk.crash(Loss::Everything);
        (self.disk, later(self.now))
    }
}

/// The next process starts a second later; its random numbers are others.
fn later(now: Now) -> Now {
    Now { wall: Timestamp(now.wall.0 + 1000), mono: MonoMs(now.mono.0 + 1000) }
}

fn quorum_settings(config: &Config) -> QuorumSettings {
    let address = HostPort::new("localhost", 9093);
    QuorumSettings {
        config: node_settings::raft(config, "cluster"),
        local: LocalReplica {
            key: ReplicaKey::new(NODE, Uuid([5; 16])),
            listeners: Endpoints::one("CONTROLLER", address.clone()),
            supported_kraft_version: (0, 1),
        },
        static_voters: VoterSet::from_addresses("CONTROLLER", [(NODE, address)]),
        bootstrap_servers: Vec::new(),
        seed: 11,
    }
}

#[derive(Debug, Default)]
struct Sink(Mutex<Option<Reply>>);

impl ReplySink for Sink {
    fn reply(&self, _: u64, reply: Reply) {
        *self.0.lock() = Some(reply);
    }
}

/// What a request was, or will be, answered.
pub struct Answer(Arc<Sink>);

impl Answer {
    pub fn take<R: Request>(&self, version: i16) -> Option<R::Response> {
        match self.0.0.lock().take()? {
            Reply::Send(frame) => {
                let bytes = collect(&frame.parts);
                Some(decode_response::<R::Response>(bytes.slice(4..), version).expect("it decodes").1)
            }
            other => panic!("{} was answered with {other:?}", R::API_KEY.name()),
        }
    }
}

fn collect(parts: &[Part]) -> Bytes {
    let mut all = BytesMut::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => all.extend_from_slice(bytes),
            Part::File(file) => {
                let mut bytes = vec![0; file.len as usize];
                let read = file.file.read_at(&mut bytes, file.position).expect("the file is readable");
                assert_eq!(read, bytes.len());
                all.extend_from_slice(&bytes);
            }
        }
    }
    all.freeze()
}
