//! A cluster of three nodes and one to spare, its clients, and what is done to it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_record::Compression;
use ottla_wire::messages::{
    CreateTopicsRequest, ProduceRequest, ProduceResponse, create_topics_request, metadata_response,
    produce_request,
};
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, decode_response, encode_request};
use rustix::process::{Pid, Signal, kill_process};

use super::super::bad_input::batch;
use super::super::cluster::{Cluster, Ports, ask, metadata};
use super::super::quorum;
use super::disks::{self, Disks};
use super::lines;
use super::links::{Links, Quality};
use super::load::{Load, PARTITIONS, TOPICS};
use super::moves::{all_partitions, move_all, unregister};
use super::report::Report;

/// Where what is told to a leader that stands still is written.
const ASIDE: &str = "aside";
const PRODUCE_VERSION: i16 = 9;
const IDS: [i32; 4] = [1, 2, 3, 4];
const DIRECTORY_IDS: [&str; 3] =
    ["ZGlyZWN0b3J5LW9mLW9uQQ", "ZGlyZWN0b3J5LW9mLW9uQg", "ZGlyZWN0b3J5LW9mLW9uQw"];
const SLOWED_BY: Duration = Duration::from_millis(150);
const PROGRESS: usize = 30;

/// What is done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KilledLeader,
    KilledFollower,
    KilledController,
    StandingStill,
    CutOff,
    OnlyHearing,
    SlowNode,
    RollingRestart,
    Moves,
    Replacement,
    FullDisk,
}

impl Fault {
    pub const ALL: [Fault; 11] = [
        Fault::KilledLeader,
        Fault::KilledFollower,
        Fault::KilledController,
        Fault::StandingStill,
        Fault::CutOff,
        Fault::OnlyHearing,
        Fault::SlowNode,
        Fault::RollingRestart,
        Fault::Moves,
        Fault::Replacement,
        Fault::FullDisk,
    ];
    /// Each kind once, in an order that lets later ones meet what earlier ones have left.
    pub const BRIEFLY: [Fault; 10] = [
        Fault::KilledLeader,
        Fault::Replacement,
        Fault::KilledController,
        Fault::StandingStill,
        Fault::Moves,
        Fault::CutOff,
        Fault::FullDisk,
        Fault::OnlyHearing,
        Fault::SlowNode,
        Fault::RollingRestart,
    ];
}

pub struct Battle {
    /// Of all nodes, or none.
    disks: Disks,
    cluster: Cluster,
    links: Links,
    ports: Vec<(i32, Ports)>,
    /// The node that is not there.
    spare: i32,
    load: Option<Load>,
    report: Report,
    began: Instant,
}

impl Battle {
    /// The nodes get disks of their own of so many MiB, where that is possible.
    pub fn start(disk_mib: u32) -> Battle {
        let links = Links::new();
        let ports: Vec<(i32, Ports)> = IDS.iter().map(|id| (*id, links.ports(*id))).collect();
        let mut cluster = Cluster::empty();
        let mut disks = Disks::default();
        IDS.iter().all(|id| disks.mount(&cluster.home(*id).join("data"), disk_mib));
        let voters = DIRECTORY_IDS
            .iter()
            .zip(&ports)
            .map(|(directory, (id, ports))| format!("{id}@127.0.0.1:{}:{directory}", ports.controller.shown));
        let voters = voters.collect::<Vec<_>>().join(",");
        for (id, of_node) in &ports[..3] {
            cluster.format(*id, of_node, &settings(&ports), &["--initial-controllers", &voters]);
        }
        cluster.begin(&[1, 2, 3]);
        TOPICS.iter().chain([&ASIDE]).for_each(|topic| create(&cluster, topic));
        let clients: Vec<String> =
            ports.iter().map(|(_, ports)| format!("127.0.0.1:{}", ports.client)).collect();
        let load = Some(Load::start(&clients.join(",")));
        let (report, began) = (Report::default(), Instant::now());
        let battle = Battle { disks, cluster, links, ports, spare: 4, load, report, began };
        battle.wait_until_in_sync(1);
        battle.go_on(1, PROGRESS);
        battle
    }

    pub fn suffer(&mut self, fault: Fault) {
        let through = self.nodes()[0];
        let (leader, controller) = (self.leader(through), self.cluster.leader(through));
        let known = self.load().known();
        let at = Instant::now();
        let text = match fault {
            Fault::KilledLeader => self.killed("the leader of a partition", leader),
            Fault::KilledFollower => {
                let follower = self.nodes().into_iter().find(|id| ![leader, controller].contains(id));
                let other = self.nodes().into_iter().find(|id| *id != leader);
                self.killed("a follower", follower.or(other).unwrap())
            }
            Fault::KilledController => self.killed("the active controller", controller),
            Fault::StandingStill => self.standing_still(leader),
            Fault::CutOff => self.cut_off(leader),
            Fault::OnlyHearing => self.only_hearing(leader),
            Fault::SlowNode => self.slow(leader),
            Fault::RollingRestart => self.rolling_restart(),
            Fault::Moves => self.moves(through),
            Fault::Replacement => self.replacement(leader),
            Fault::FullDisk if self.disks.count() < IDS.len() => {
                return println!("left out: full disks can't be mounted here");
            }
            Fault::FullDisk => self.full_disk(leader),
        };
        let through = self.nodes()[0];
        self.wait_until_in_sync(through);
        let whole_after = at.elapsed();
        self.go_on(through, PROGRESS);
        let gaps = self.load().longest_gaps(known);
        self.report.add(text, &gaps, whole_after);
    }

    /// Everything that changed hands is told in the logs.
    pub fn check_lines(&self) {
        lines::check(IDS.iter().map(|id| self.cluster.home(*id)));
    }

    /// Looks for all that was acknowledged, and at what the replicas have.
    pub fn end(mut self) {
        let counts = self.load.take().unwrap().finish();
        let through = self.nodes()[0];
        self.wait_until_in_sync(through);
        let partitions = self.cluster.until(|| all_partitions(&self.cluster, through));
        self.nodes().into_iter().for_each(|id| self.cluster.kill(id));
        for ((topic, index), partition) in partitions {
            let log = |id: &i32| {
                let data = self.cluster.home(*id).join("data");
                log_bytes(&data.join(format!("{topic}-{index}")))
            };
            let logs: BTreeSet<Vec<u8>> = partition.replica_nodes.iter().map(log).collect();
            assert_eq!(logs.len(), 1, "the replicas of {topic}-{index} differ");
        }
        self.report.print();
        println!("{counts:?} records in {} s", self.began.elapsed().as_secs());
    }

    fn load(&self) -> &Load {
        self.load.as_ref().expect("it has not ended")
    }

    /// Those that are there.
    fn nodes(&self) -> Vec<i32> {
        IDS.into_iter().filter(|id| *id != self.spare).collect()
    }

    fn others(&self, than: i32) -> Vec<i32> {
        self.nodes().into_iter().filter(|id| *id != than).collect()
    }

    /// Of the partition that is looked at.
    fn leader(&self, through: i32) -> i32 {
        self.cluster.until(|| {
            let found = metadata(self.cluster.address(through), ASIDE)?;
            Some(found.topics.first()?.partitions.first()?.leader_id).filter(|leader| *leader >= 0)
        })
    }

    fn wait_until_in_sync(&self, through: i32) {
        let nodes = self.nodes();
        self.cluster.until(|| {
            let all = all_partitions(&self.cluster, through)?;
            let is_whole = |topic: &str| {
                let mut of_topic = all.iter().filter(|((name, _), _)| name == topic).peekable();
                of_topic.peek().is_some()
                    && of_topic.all(|(_, partition)| {
                        partition.leader_id >= 0
                            && partition.isr_nodes.len() == 3
                            && partition.isr_nodes.iter().all(|id| nodes.contains(id))
                    })
            };
            TOPICS.iter().chain([&ASIDE]).all(|topic| is_whole(topic)).then_some(())
        });
    }

    /// Waits until clients have got on, by way of the nodes that are well.
    fn go_on(&self, through: i32, records: usize) {
        self.load().wait_for_progress(records, || format!("{:?}", all_partitions(&self.cluster, through)));
    }

    fn killed(&mut self, what: &str, victim: i32) -> String {
        let through = self.others(victim)[0];
        self.cluster.kill(victim);
        self.go_on(through, PROGRESS);
        self.cluster.begin(&[victim]);
        format!("kill -9 of {what}")
    }

    /// A leader that sleeps until another leads: what is asked of it meanwhile it refuses when it wakes.
    fn standing_still(&mut self, leader: i32) -> String {
        let through = self.others(leader)[0];
        let mut late = LateProducer::connect(self.cluster.address(leader));
        let pid = i32::try_from(self.cluster.ottla(leader).pid()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        self.wait_for_another_leader(through, leader);
        self.go_on(through, PROGRESS);
        late.send();
        kill_process(pid, Signal::CONT).unwrap();
        let told = late.told();
        assert_ne!(
            told,
            Some(ErrorCode::None),
            "a leader that stood still acknowledges after its successor is there"
        );
        "a leader stands still until another leads".to_owned()
    }

    /// A leader that clients still reach, and nobody else does.
    fn cut_off(&mut self, leader: i32) -> String {
        let others = self.others(leader);
        let mut late = LateProducer::connect(self.cluster.address(leader));
        self.links.set_both_ways(leader, &IDS, Quality::Cut);
        self.wait_for_another_leader(others[0], leader);
        late.send();
        self.go_on(others[0], PROGRESS);
        self.links.mend();
        assert_ne!(late.told(), Some(ErrorCode::None), "a leader that is cut off acknowledges alone");
        "a leader is cut off from the others, not from clients".to_owned()
    }

    /// A leader that is told everything, and that nobody hears.
    fn only_hearing(&mut self, leader: i32) -> String {
        let others = self.others(leader);
        others.iter().for_each(|other| self.links.set(leader, *other, Quality::Cut));
        self.wait_for_another_leader(others[0], leader);
        self.go_on(others[0], PROGRESS);
        self.links.mend();
        "nobody hears a leader any more".to_owned()
    }

    fn slow(&mut self, leader: i32) -> String {
        let others = self.others(leader);
        self.links.set_both_ways(leader, &IDS, Quality::Slow(SLOWED_BY));
        self.go_on(others[0], 4 * PROGRESS);
        self.links.mend();
        format!("a leader's network is slowed by {} ms", SLOWED_BY.as_millis())
    }

    fn rolling_restart(&mut self) -> String {
        for id in self.nodes() {
            let through = self.others(id)[0];
            self.cluster.stop(id);
            self.go_on(through, PROGRESS / 3);
            self.cluster.begin(&[id]);
            self.wait_until_in_sync(through);
        }
        "a rolling restart".to_owned()
    }

    /// Every partition's leadership goes to the next of its replicas, by a move that changes their order and an election.
    fn moves(&mut self, through: i32) -> String {
        let rotated = |replicas: &[i32]| replicas.iter().skip(1).chain(replicas.first()).copied().collect();
        move_all(&self.cluster, through, rotated);
        "the replicas of all partitions change their order".to_owned()
    }

    /// A node is added and filled, then an old one is drained and retired.
    fn replacement(&mut self, old: i32) -> String {
        let (new, through) = (self.spare, self.others(old)[0]);
        let (_, ports) = *self.ports.iter().find(|(id, _)| *id == new).unwrap();
        self.cluster.format(new, &ports, &settings(&self.ports), &["--no-initial-controllers"]);
        self.cluster.begin(&[new]);
        quorum::add(&self.cluster, through, new);
        let in_its_place = |replicas: &[i32]| {
            replicas.iter().map(|replica| if *replica == old { new } else { *replica }).collect()
        };
        move_all(&self.cluster, through, in_its_place);
        quorum::remove(&self.cluster, through, old);
        self.cluster.stop(old);
        unregister(&self.cluster, through, old);
        self.spare = old;
        "a node is added and filled, and another drained and retired".to_owned()
    }

    /// The others go on without the node: it is no longer in sync and leads nothing, nor is it the active controller if it was that.
    fn full_disk(&mut self, victim: i32) -> String {
        let through = self.others(victim)[0];
        let data = self.cluster.home(victim).join("data");
        disks::fill(&data);
        self.cluster.until(|| {
            let all = all_partitions(&self.cluster, through)?;
            let is_left_behind = |partition: &metadata_response::Partition| {
                ![victim, -1].contains(&partition.leader_id) && !partition.isr_nodes.contains(&victim)
            };
            let mut of_clients = all.iter().filter(|((topic, _), _)| TOPICS.contains(&topic.as_str()));
            of_clients.all(|(_, partition)| is_left_behind(partition)).then_some(())
        });
        disks::relieve(&data);
        "the disk of a node is full until the others leave it behind".to_owned()
    }

    fn wait_for_another_leader(&self, through: i32, former: i32) {
        self.cluster.until(|| {
            let all = all_partitions(&self.cluster, through)?;
            let is_led = all.values().all(|partition| ![former, -1].contains(&partition.leader_id));
            is_led.then_some(())
        });
    }
}

fn settings(ports: &[(i32, Ports)]) -> Vec<(&'static str, String)> {
    let controllers = ports.iter().map(|(_, ports)| format!("127.0.0.1:{}", ports.controller.shown));
    let controllers = controllers.collect::<Vec<_>>().join(",");
    vec![
        ("controller.quorum.bootstrap.servers", controllers),
        ("auto.create.topics.enable", "false".to_owned()),
        ("min.insync.replicas", "2".to_owned()),
        // Who is away for a moment comes back at once; and leaders are where they should be.
        ("leader.imbalance.check.interval.seconds", "5".to_owned()),
        ("replica.lag.time.max.ms", "5000".to_owned()),
        ("log.segment.bytes", "1048576".to_owned()),
    ]
}

/// With all brokers as replicas.
fn create(cluster: &Cluster, name: &str) {
    let topic = create_topics_request::Topic {
        name: name.to_owned(),
        num_partitions: PARTITIONS,
        replication_factor: 3,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    cluster.until(|| {
        let response = ask(cluster.address(1), &request, 7)?;
        let code = ErrorCode::from_code(response.topics[0].error_code).unwrap();
        matches!(code, ErrorCode::None | ErrorCode::TopicAlreadyExists).then_some(())
    });
}

/// Speaks to one node by hand, which no client does that knows of another leader.
struct LateProducer(TcpStream);

impl LateProducer {
    fn connect(address: &str) -> LateProducer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(super::load::PATIENCE)).unwrap();
        LateProducer(stream)
    }

    /// A record that all in-sync replicas are to have.
    fn send(&mut self) {
        let records = batch(Compression::NONE, &[b"late"]).into();
        let partition = produce_request::PartitionData { records: Some(records), ..Default::default() };
        let topic = produce_request::TopicData {
            name: ASIDE.to_owned(),
            partition_data: vec![partition],
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() };
        let frame = encode_request(1, Some("late"), &request, PRODUCE_VERSION).unwrap();
        self.0.write_all(&frame.bytes).unwrap();
    }

    /// None where the node has closed the connection.
    fn told(&mut self) -> Option<ErrorCode> {
        let mut length = [0; FRAME_LENGTH_BYTES];
        self.0.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).ok()?;
        let (_, response): (_, ProduceResponse) =
            decode_response(Bytes::from(frame), PRODUCE_VERSION).unwrap();
        ErrorCode::from_code(response.responses[0].partition_responses[0].error_code)
    }
}

/// Its segments, one after the other.
fn log_bytes(dir: &std::path::Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let logs: BTreeSet<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    logs.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}
