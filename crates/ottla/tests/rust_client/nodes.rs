//! Several nodes that make one cluster, of Ottla or of Apache Kafka.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ottla_client::admin::{Admin, ElectionType, NewTopic};
use ottla_client::types::{NodeId, TopicPartition};
use ottla_client::{Client, ClientSettings, Topics};
use tempfile::TempDir;

use super::subject::{Broker, Launch, free_ports, is_kafka, kafka};

const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";
const PATIENCE: Duration = Duration::from_secs(180);

/// Nodes by their ids, from 1; one that is down has no process.
pub struct Nodes {
    launches: BTreeMap<i32, Launch>,
    running: BTreeMap<i32, Broker>,
    pub bootstrap: String,
    _dir: TempDir,
}

impl Nodes {
    /// Three of them, each broker and controller.
    pub async fn start() -> Nodes {
        tokio::task::spawn_blocking(Nodes::start_now).await.unwrap()
    }

    fn start_now() -> Nodes {
        let dir = tempfile::tempdir().unwrap();
        let ports: BTreeMap<i32, u16> = (1..=3).map(|id| (id, free_ports())).collect();
        let voters: Vec<String> =
            ports.iter().map(|(id, port)| format!("{id}@127.0.0.1:{}", port + 1)).collect();
        let launch = |(id, port): (&i32, &u16)| {
            let home = dir.path().join(id.to_string());
            format(&home, *id, *port, &voters.join(","));
            (*id, Launch::of_properties(&home, *port))
        };
        let launches: BTreeMap<i32, Launch> = ports.iter().map(launch).collect();
        let addresses: Vec<String> = ports.values().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut nodes =
            Nodes { launches, running: BTreeMap::new(), bootstrap: addresses.join(","), _dir: dir };
        nodes.begin_all(&[1, 2, 3]);
        nodes
    }

    /// At the same time: alone none of them would serve.
    fn begin_all(&mut self, ids: &[i32]) {
        let starting: Vec<_> = ids
            .iter()
            .map(|id| {
                let launch = self.launches[id].clone();
                (*id, std::thread::spawn(move || launch.start()))
            })
            .collect();
        for (id, node) in starting {
            self.running.insert(id, node.join().unwrap());
        }
    }

    /// Starts a node again.
    pub async fn begin(self, id: i32) -> Nodes {
        self.blocking(move |nodes| nodes.begin_all(&[id])).await
    }

    /// Ends a node as a crash would.
    pub async fn kill(self, id: i32) -> Nodes {
        self.blocking(move |nodes| nodes.running.remove(&id).expect("it runs").kill()).await
    }

    async fn blocking(mut self, act: impl FnOnce(&mut Nodes) + Send + 'static) -> Nodes {
        let acting = tokio::task::spawn_blocking(move || {
            act(&mut self);
            self
        });
        acting.await.unwrap()
    }

    pub async fn client(&self) -> Client {
        Client::connect(ClientSettings::new(&self.bootstrap)).await.unwrap()
    }
}

fn format(home: &Path, id: i32, port: u16, voters: &str) {
    std::fs::create_dir(home).unwrap();
    let data = home.join("data").display().to_string();
    let (controller_port, id) = (port + 1, id.to_string());
    let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
    let settings = [
        ("process.roles", "broker,controller"),
        ("node.id", &id),
        ("controller.quorum.voters", voters),
        ("listeners", &listeners),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", &data),
        // A broker that was killed can come back only when its session is over.
        ("broker.session.timeout.ms", "6000"),
        ("min.insync.replicas", "2"),
        ("offsets.topic.num.partitions", "3"),
        ("offsets.topic.replication.factor", "3"),
        ("transaction.state.log.num.partitions", "3"),
        ("transaction.state.log.replication.factor", "3"),
        ("transaction.state.log.min.isr", "2"),
        ("share.coordinator.state.topic.num.partitions", "3"),
        ("share.coordinator.state.topic.replication.factor", "3"),
        ("share.coordinator.state.topic.min.isr", "2"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "200"),
        ("group.share.min.heartbeat.interval.ms", "100"),
        ("group.share.heartbeat.interval.ms", "200"),
    ];
    let lines: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let properties = home.join("server.properties");
    std::fs::write(&properties, lines).unwrap();
    let done = if is_kafka() {
        kafka().arg("format").arg(home).args(["--cluster-id", CLUSTER_ID]).output().unwrap()
    } else {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["storage", "format", "-t", CLUSTER_ID, "-c"]).arg(&properties).output().unwrap()
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A topic whose partitions all nodes have, led by each in turn; returns when every node is in sync.
pub async fn create(client: &Client, name: &str, partitions: i32) {
    let topic = NewTopic::new(name).partitions(partitions).replication_factor(3);
    Admin::new(client.clone()).create_topic(&topic).await.unwrap();
    until_in_sync(client, name, 3).await;
}

/// Waits until each partition has so many replicas in sync, and a leader.
pub async fn until_in_sync(client: &Client, name: &str, replicas: usize) {
    patiently(&format!("{replicas} replicas of {name} are in sync"), async {
        loop {
            let metadata = client.refresh(Topics::Named(vec![name.into()])).await;
            let metadata = metadata.unwrap_or_else(|_| client.metadata());
            let is_whole = |partition: &ottla_client::Partition| {
                partition.leader.is_some() && partition.isr.len() >= replicas
            };
            if metadata.topic(name).is_some_and(|topic| topic.partitions.iter().all(is_whole)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Has each partition led by another one of its replicas.
pub async fn move_leaders(client: &Client, name: &str) {
    let metadata = client.refresh(Topics::Named(vec![name.into()])).await.unwrap();
    let topic = metadata.topic(name).unwrap();
    let (mut moves, mut wanted) = (BTreeMap::new(), BTreeMap::new());
    for partition in &topic.partitions {
        let mut replicas: Vec<i32> = partition.replicas.iter().map(|node| node.0).collect();
        let leader = partition.leader.unwrap();
        let place = replicas.iter().position(|node| *node == leader.0).unwrap();
        replicas.rotate_left(place + 1);
        let name = TopicPartition::new(name, partition.index);
        wanted.insert(name.clone(), NodeId(replicas[0]));
        moves.insert(name, Some(replicas));
    }
    let admin = Admin::new(client.clone());
    let all: Vec<TopicPartition> = wanted.keys().cloned().collect();
    admin.alter_reassignments(&moves, true).await.unwrap().into_values().for_each(|result| result.unwrap());
    patiently("all leaders have moved", async {
        loop {
            // Those that lead already say so.
            let _ = admin.elect_leaders(ElectionType::Preferred, Some(&all)).await;
            let metadata = client.refresh(Topics::Named(vec![name.into()])).await.unwrap();
            let leads = |(partition, node): (&TopicPartition, &NodeId)| {
                metadata.leader(name, partition.partition).is_some_and(|leader| leader.node == *node)
            };
            if wanted.iter().all(leads) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

pub async fn patiently<T>(what: &str, until: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, until).await;
    done.unwrap_or_else(|_| panic!("{what}: not after three minutes"))
}
