//! Several processes that make one cluster.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_testkit::{Launch, Ottla, free_port};
use ottla_types::Uuid;
use ottla_wire::messages::{
    BrokerHeartbeatRequest, CreateTopicsRequest, DescribeClusterRequest, DescribeQuorumRequest,
    DescribeQuorumResponse, MetadataRequest, MetadataResponse, create_topics_request,
    describe_quorum_request, metadata_request,
};
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, Request, decode_response, encode_request};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::clients::client;
use super::command;

const PATIENCE: Duration = Duration::from_secs(180);
pub(super) const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// Nodes by their ids; one that is down has no process.
pub(super) struct Cluster {
    nodes: BTreeMap<i32, Node>,
    dir: TempDir,
}

struct Node {
    launch: Launch,
    is_broker: bool,
    controller_port: Option<u16>,
    process: Option<Ottla>,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// For clients, and for other brokers where they have no other.
    pub client: u16,
    /// For other brokers alone.
    pub internal: Option<Way>,
    pub controller: Way,
}

/// A port, and the one that others are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub port: u16,
    pub shown: u16,
}

impl Ports {
    fn free() -> Ports {
        let controller = free_port();
        Ports { client: free_port(), internal: None, controller: Way { port: controller, shown: controller } }
    }
}

impl Cluster {
    /// Formats and starts nodes with these roles; ids count from 1.
    pub(super) fn start(roles: &[&str]) -> Cluster {
        Cluster::start_with(roles, 1)
    }

    /// As [`Cluster::start`], with so many replicas of internal topics.
    pub(super) fn start_with(roles: &[&str], internal_replicas: usize) -> Cluster {
        Cluster::start_each(roles, internal_replicas, |_| Vec::new())
    }

    /// As [`Cluster::start_with`], with settings of each node's own.
    pub(super) fn start_each(
        roles: &[&str],
        internal_replicas: usize,
        settings_of: impl Fn(i32) -> Vec<(&'static str, String)>,
    ) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<Ports> = roles.iter().map(|_| Ports::free()).collect();
        let voters = (1..).zip(roles.iter().zip(&ports)).filter(|(_, (role, _))| role.contains("controller"));
        let voters: Vec<String> =
            voters.map(|(id, (_, ports))| format!("{id}@127.0.0.1:{}", ports.controller.shown)).collect();
        let node = |(id, (role, ports)): (i32, (&&str, &Ports))| {
            let home = dir.path().join(id.to_string());
            std::fs::create_dir(&home).unwrap();
            let mut settings = settings_of(id);
            settings.push(("controller.quorum.voters", voters.join(",")));
            (id, Node::format(home, id, role, *ports, &settings, &[], internal_replicas))
        };
        let nodes = (1..).zip(roles.iter().zip(&ports)).map(node).collect();
        let mut cluster = Cluster { nodes, dir };
        let all: Vec<i32> = cluster.nodes.keys().copied().collect();
        cluster.begin(&all);
        cluster
    }

    /// Formats nodes of which the first is the only voter, and starts that one.
    pub(super) fn dynamic(roles: &[&str], settings: &[(&str, &str)]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<Ports> = roles.iter().map(|_| Ports::free()).collect();
        let first =
            ("controller.quorum.bootstrap.servers", format!("127.0.0.1:{}", ports[0].controller.shown));
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let settings: Vec<_> = settings.chain([first]).collect();
        let node = |(id, (role, ports)): (i32, (&&str, &Ports))| {
            let home = dir.path().join(id.to_string());
            std::fs::create_dir(&home).unwrap();
            let voters = if id == 1 { "--standalone" } else { "--no-initial-controllers" };
            (id, Node::format(home, id, role, *ports, &settings, &[voters], 1))
        };
        let nodes = (1..).zip(roles.iter().zip(&ports)).map(node).collect();
        let mut cluster = Cluster { nodes, dir };
        cluster.begin(&[1]);
        cluster
    }

    /// A cluster without nodes, until [`Cluster::format`] makes some.
    pub(super) fn empty() -> Cluster {
        Cluster { nodes: BTreeMap::new(), dir: tempfile::tempdir().unwrap() }
    }

    /// Makes a node with both roles, on an empty directory: in the place of one that had this id, if there was one.
    pub(super) fn format(&mut self, id: i32, ports: &Ports, settings: &[(&str, String)], options: &[&str]) {
        let home = self.home(id);
        std::fs::create_dir_all(&home).unwrap();
        // The directory itself may be where a disk is mounted.
        for entry in std::fs::read_dir(home.join("data")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.unwrap();
        }
        let node = Node::format(home, id, "broker,controller", *ports, settings, options, 3);
        self.nodes.insert(id, node);
    }

    /// Where clients find a node.
    pub(super) fn address(&self, id: i32) -> &str {
        let all = self.ottla(id).bootstrap();
        all.split_once(',').map_or(all, |(first, _)| first)
    }

    /// Where a node keeps the metadata log.
    pub(super) fn metadata_dir(&self, id: i32) -> PathBuf {
        self.home(id).join("data/__cluster_metadata-0")
    }

    /// The id of a node's directory.
    pub(super) fn directory_id(&self, id: i32) -> Uuid {
        let properties = std::fs::read_to_string(self.home(id).join("data/meta.properties")).unwrap();
        let line = properties.lines().find_map(|line| line.strip_prefix("directory.id="));
        line.unwrap().parse().unwrap()
    }

    /// Starts nodes that are down, and waits until they serve.
    pub(super) fn begin(&mut self, ids: &[i32]) {
        let starting: Vec<_> = ids.iter().map(|id| (*id, self.nodes[id].launch.begin())).collect();
        for (id, starting) in starting {
            self.nodes.get_mut(&id).unwrap().process = Some(starting.wait());
        }
    }

    pub(super) fn kill(&mut self, id: i32) {
        self.nodes.get_mut(&id).unwrap().process.take().expect("it runs").kill();
    }

    pub(super) fn stop(&mut self, id: i32) {
        let status = self.nodes.get_mut(&id).unwrap().process.take().expect("it runs").stop();
        assert!(status.success(), "node {id}: {status}");
    }

    pub(super) fn ottla(&self, id: i32) -> &Ottla {
        self.nodes[&id].process.as_ref().expect("it runs")
    }

    /// Where a node has its files.
    pub(super) fn home(&self, id: i32) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    /// Brokers that run.
    pub(super) fn brokers(&self) -> Vec<i32> {
        let is_broker = |node: &Node| node.process.is_some() && node.is_broker;
        self.nodes.iter().filter(|(_, node)| is_broker(node)).map(|(id, _)| *id).collect()
    }

    /// Controllers that run.
    fn controllers(&self) -> Vec<i32> {
        let is_one = |node: &Node| node.process.is_some() && node.controller_port.is_some();
        self.nodes.iter().filter(|(_, node)| is_one(node)).map(|(id, _)| *id).collect()
    }

    pub(super) fn controller_port(&self, id: i32) -> u16 {
        self.nodes[&id].controller_port.expect("it is a controller")
    }

    fn controller_address(&self, id: i32) -> String {
        format!("127.0.0.1:{}", self.controller_port(id))
    }

    /// Who leads the quorum, as this broker finds out.
    pub(super) fn leader(&self, broker: i32) -> i32 {
        self.until(|| {
            let described = quorum(self.address(broker));
            let partition = &described.topics.first()?.partitions[0];
            (partition.error_code == 0 && partition.leader_id >= 0).then_some(partition.leader_id)
        })
    }

    /// Asks again and again until there is something.
    pub(super) fn until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            assert!(Instant::now() < deadline, "it does not come to that");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Creates a topic with a partition on each broker that runs, through one of them.
    pub(super) fn create(&self, through: i32, name: &str) {
        let brokers = self.brokers();
        let assignments =
            (0..).zip(&brokers).map(|(partition_index, broker)| create_topics_request::Assignment {
                partition_index,
                broker_ids: vec![*broker],
                ..Default::default()
            });
        let topic = create_topics_request::Topic {
            name: name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: assignments.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let response = ask(self.ottla(through).bootstrap(), &request, 7).expect("the broker answers");
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, 0, "{:?}", topic.error_message);
        // What the controller has decided comes to the brokers a moment later.
        for broker in brokers {
            self.until(|| {
                let found = metadata(self.ottla(broker).bootstrap(), name)?;
                let led = found.topics[0].partitions.iter().filter(|partition| partition.error_code == 0);
                (led.count() == self.brokers().len()).then_some(())
            });
        }
    }

    /// Writes to each partition and reads it back, each through another broker.
    pub(super) fn use_topic(&self, name: &str) {
        let brokers = self.brokers();
        let through = self.ottla(brokers[0]);
        let producer: BaseProducer = client(through, &[("acks", "all")]).create().unwrap();
        for partition in 0..brokers.len() {
            let record = BaseRecord::<(), str>::to(name).partition(partition as i32);
            producer.send(record.payload("value")).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        for partition in 0..brokers.len() {
            assert_eq!(self.first(*brokers.last().unwrap(), name, partition as i32), "value");
        }
    }
}

impl Cluster {
    /// The first record of a partition, found through one of the brokers. What the client tells of brokers that are down is
    /// of no interest.
    fn first(&self, through: i32, topic: &str, partition: i32) -> String {
        let settings = [("group.id", "reader"), ("enable.auto.commit", "false")];
        let consumer: BaseConsumer = client(self.ottla(through), &settings).create().unwrap();
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&assignment).unwrap();
        self.until(|| match consumer.poll(Duration::from_millis(100)) {
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
            )))
            | None => None,
            Some(message) => Some(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap()),
        })
    }
}

impl Ports {
    /// The listeners of a node with these roles, and what others are told of them.
    fn listeners(&self, role: &str) -> (String, String) {
        let mut ways = Vec::new();
        if role.contains("broker") {
            ways.push(("PLAINTEXT", Way { port: self.client, shown: self.client }));
            ways.extend(self.internal.map(|internal| ("INTERNAL", internal)));
        }
        if role.contains("controller") {
            ways.push(("CONTROLLER", self.controller));
        }
        let all = |port: fn(&Way) -> u16| {
            let each = ways.iter().map(|(name, way)| format!("{name}://127.0.0.1:{}", port(way)));
            each.collect::<Vec<_>>().join(",")
        };
        (all(|way| way.port), all(|way| way.shown))
    }
}

impl Node {
    fn format(
        home: PathBuf,
        id: i32,
        role: &str,
        ports: Ports,
        settings_of_all: &[(&str, String)],
        format_options: &[&str],
        internal_replicas: usize,
    ) -> Node {
        let (listeners, advertised) = ports.listeners(role);
        let id = id.to_string();
        let apart = [
            ("advertised.listeners", advertised.as_str()),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            ("inter.broker.listener.name", "INTERNAL"),
        ];
        let apart = if ports.internal.is_some() { &apart[..] } else { &[] };
        let (replicas, min_isr) = (internal_replicas.to_string(), internal_replicas.div_ceil(2).to_string());
        let settings = [
            ("process.roles", role),
            ("node.id", &id),
            ("listeners", &listeners),
            ("controller.listener.names", "CONTROLLER"),
            ("log.dirs", "data"),
            // A broker that was killed can come back only when its session is over.
            ("broker.session.timeout.ms", "6000"),
            ("unstable.feature.versions.enable", "true"),
            ("offsets.topic.replication.factor", replicas.as_str()),
            ("offsets.topic.num.partitions", "3"),
            ("transaction.state.log.num.partitions", "3"),
            ("transaction.state.log.replication.factor", &replicas),
            ("transaction.state.log.min.isr", &min_isr),
            ("share.coordinator.state.topic.replication.factor", &replicas),
            ("share.coordinator.state.topic.min.isr", &min_isr),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let settings = settings
            .into_iter()
            .chain(apart.iter().copied())
            .chain(settings_of_all.iter().map(|(key, value)| (*key, &**value)));
        let lines: String = settings.map(|(key, value)| format!("{key}={value}\n")).collect();
        std::fs::write(home.join("server.properties"), lines).unwrap();
        let with_file = ["-c", "server.properties"];
        let format = ["storage", "format", "-t", CLUSTER_ID];
        let format = command(&home, &[&format[..], &with_file, format_options].concat()).run();
        assert!(format.status.success(), "{}{}", format.stdout, format.stderr);
        let controller_port = role.contains("controller").then_some(ports.controller.shown);
        let is_broker = role.contains("broker");
        let launch = command(&home, &with_file);
        Node { launch, is_broker, controller_port, process: None }
    }
}

/// Asks on a connection of its own; none if it can't be had or is closed.
pub(super) fn ask<R: Request>(address: &str, request: &R, version: i16) -> Option<R::Response> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&encode_request(1, Some("test"), request, version).unwrap().bytes).ok()?;
    let mut length = [0; FRAME_LENGTH_BYTES];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(decode_response::<R::Response>(Bytes::from(frame), version).unwrap().1)
}

pub(super) fn quorum(address: &str) -> DescribeQuorumResponse {
    let topic = describe_quorum_request::Topic {
        topic_name: "__cluster_metadata".to_owned(),
        partitions: vec![Default::default()],
        ..Default::default()
    };
    let request = DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
    ask(address, &request, 2).unwrap_or_default()
}

pub(super) fn metadata(address: &str, topic: &str) -> Option<MetadataResponse> {
    let topic = metadata_request::Topic { name: Some(topic.to_owned()), ..Default::default() };
    ask(address, &MetadataRequest { topics: Some(vec![topic]), ..Default::default() }, 12)
}

/// What the controllers say of themselves, on their own listeners.
fn check_controllers(cluster: &Cluster, leader: i32) {
    let expected = cluster.controllers();
    for id in &expected {
        let address = cluster.controller_address(*id);
        let described = quorum(&address);
        let partition = &described.topics[0].partitions[0];
        let request = BrokerHeartbeatRequest { broker_id: 77, ..Default::default() };
        let heard = ask(&address, &request, 1).expect("it answers");
        if *id == leader {
            let mut voters: Vec<i32> = partition.current_voters.iter().map(|v| v.replica_id).collect();
            voters.sort_unstable();
            assert_eq!((partition.error_code, voters), (0, expected.clone()));
            assert_ne!(heard.error_code, ErrorCode::NotController.code());
        } else {
            assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
            assert_eq!(heard.error_code, ErrorCode::NotController.code());
        }
        // Each has registered with the leader, and hears of the others.
        cluster.until(|| {
            let request = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
            let described = ask(&address, &request, 1)?;
            let mut known: Vec<i32> = described.brokers.iter().map(|node| node.broker_id).collect();
            known.sort_unstable();
            (known == expected && described.controller_id == leader).then_some(())
        });
    }
}

#[test]
fn three_nodes_go_on_without_the_one_that_leads() {
    let mut cluster = Cluster::start(&["broker,controller"; 3]);
    for id in [1, 2, 3] {
        cluster.create(id, &format!("through-{id}"));
    }
    cluster.use_topic("through-1");
    let leader = cluster.leader(1);
    assert_eq!([2, 3].map(|id| cluster.leader(id)), [leader; 2]);
    check_controllers(&cluster, leader);

    cluster.kill(leader);
    let left = cluster.brokers();
    let next = cluster.until(|| Some(cluster.leader(left[0])).filter(|next| *next != leader));
    assert!(left.contains(&next));
    cluster.create(left[0], "without-one");
    cluster.use_topic("without-one");

    cluster.begin(&[leader]);
    cluster.create(leader, "with-all");
    cluster.use_topic("with-all");
    assert_eq!(cluster.first(leader, "through-1", leader - 1), "value");
}

#[test]
fn brokers_go_on_when_another_controller_takes_over() {
    let roles = ["controller", "controller", "controller", "broker", "broker"];
    let mut cluster = Cluster::start(&roles);
    cluster.create(4, "before");
    cluster.use_topic("before");
    let leader = cluster.leader(4);
    assert_eq!(cluster.leader(5), leader);
    check_controllers(&cluster, leader);

    cluster.kill(leader);
    cluster.use_topic("before");
    let next = cluster.until(|| Some(cluster.leader(5)).filter(|next| *next != leader));
    assert!(cluster.controllers().contains(&next));
    cluster.create(5, "after");
    cluster.use_topic("after");
}
