//! Settings of replication: changing one changes what a node asks the leaders that it follows for, and when, and who is taken for dead.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_broker::peers::{Channel, PeerAddress, PeerError, PeerRequest, Peers};
use ottla_log::disk::SimDisk;
use ottla_metadata::Feature;
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{MonoMs, NodeId, Now, Timestamp, Uuid};
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, FetchRequest, FetchResponse,
    broker_registration_request, create_topics_request, fetch_request, fetch_response,
};
use ottla_wire::{
    ApiKey, Decoder, ErrorCode, FRAME_LENGTH_BYTES, Message, Records, decode_request_header, encode_response,
};
use parking_lot::Mutex;

use crate::configs::{BROKER, TOPIC, alter_well};
use crate::harness::{CLUSTER, NODE, NodeSetup, SteppedNode, connection_on};
use crate::node_settings::{Case, Settings, check};
use crate::records::{log_of, produce};
use crate::topics::{metadata, new_topic};

const OTHER: NodeId = NodeId(2);

/// What the node sends to the other broker, which never answers by itself.
#[derive(Debug, Default)]
struct Sent {
    requests: Mutex<Vec<(Channel, PeerRequest)>>,
    /// Under which the other broker is registered.
    epoch: AtomicI64,
}

impl Peers for Sent {
    fn send(&self, _: &PeerAddress, channel: Channel, request: PeerRequest) {
        self.requests.lock().push((channel, request));
    }
}

impl Sent {
    fn take_fetches(&self) -> Vec<(Channel, PeerRequest)> {
        let is_fetch = |sent: &mut (Channel, PeerRequest)| sent.1.api_key() == ApiKey::Fetch;
        self.requests.lock().extract_if(.., is_fetch).collect()
    }
}

/// A node beside another broker, which is registered and does nothing.
fn beside_another(settings: Settings<'_>) -> (SteppedNode, Arc<Sent>) {
    let sent = Arc::new(Sent::default());
    let patience = [("broker.session.timeout.ms", "600000")];
    let settings = [&patience, settings].concat();
    let setup = NodeSetup { peers: Arc::clone(&sent) as _, ..NodeSetup::alone(&settings) };
    let start = Now { wall: Timestamp(1_700_000_000_000), mono: MonoMs(1000) };
    let mut node = SteppedNode::try_start_as(setup, Arc::new(SimDisk::new(7)), start).unwrap();
    node.run_until(|node| node.node.lifecycle_state() == ottla_broker::lifecycle::LifecycleState::Running);
    sent.epoch.store(register(&mut node), Ordering::Relaxed);
    (node, sent)
}

fn register(node: &mut SteppedNode) -> i64 {
    let features = Feature::all().map(|facts| broker_registration_request::Feature {
        name: facts.name.to_owned(),
        min_supported_version: facts.min_level,
        max_supported_version: facts.max_level,
        ..Default::default()
    });
    let listener = broker_registration_request::Listener {
        name: "PLAINTEXT".to_owned(),
        host: "other".to_owned(),
        port: 9092,
        ..Default::default()
    };
    let registration = BrokerRegistrationRequest {
        broker_id: OTHER.0,
        cluster_id: CLUSTER.to_owned(),
        incarnation_id: Uuid([2; 16]),
        listeners: vec![listener],
        features: features.collect(),
        rack: Some(RACK.to_owned()),
        log_dirs: vec![Uuid([77; 16])],
        previous_broker_epoch: -1,
        ..BrokerRegistrationRequest::default()
    };
    let controllers = connection_on(9, true);
    let registered = node.send_on(&controllers, &registration, 4);
    node.step();
    let registered = registered.take::<BrokerRegistrationRequest>(4).unwrap();
    assert_eq!(registered.error_code, 0);
    let heartbeat = BrokerHeartbeatRequest {
        broker_id: OTHER.0,
        broker_epoch: registered.broker_epoch,
        current_metadata_offset: i64::MAX,
        ..BrokerHeartbeatRequest::default()
    };
    let heard = node.send_on(&controllers, &heartbeat, 1);
    node.step();
    assert!(!heard.take::<BrokerHeartbeatRequest>(1).unwrap().is_fenced);
    registered.broker_epoch
}

/// Creates a topic with partitions that the first of `replicas` leads.
fn create(node: &mut SteppedNode, partitions: i32, replicas: [NodeId; 2]) {
    let mut request = new_topic("a", -1, &[]);
    let assignments = (0..partitions).map(|partition_index| create_topics_request::Assignment {
        partition_index,
        broker_ids: replicas.map(|id| id.0).to_vec(),
        ..Default::default()
    });
    request.topics[0].replication_factor = -1;
    request.topics[0].assignments = assignments.collect();
    let created = node.ask(&request, 7);
    assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0].error_message);
    node.step();
}

/// Who leads what another broker led that has been silent for 20 s.
fn silence(settings: Settings<'_>) -> String {
    let (mut node, _) = beside_another(settings);
    create(&mut node, 1, [OTHER, NODE]);
    (0..20).for_each(|_| node.pass_ms(1000));
    let leader = metadata(&mut node, &["a"], false).topics[0].partitions[0].leader_id;
    (if leader == OTHER.0 { "it leads all the time" } else { "it is fenced" }).to_owned()
}

/// What a follower's first fetch is.
fn first_fetch(settings: Settings<'_>) -> (FetchRequest, PeerRequest) {
    let (mut node, sent) = beside_another(settings);
    create(&mut node, 1, [OTHER, NODE]);
    let (_, mut request) = sent.take_fetches().remove(0);
    (decoded(&mut request), request)
}

fn fetch_version(request: &PeerRequest) -> i16 {
    request.choose_version(ApiKey::Fetch.facts().broker_versions).unwrap()
}

fn decoded(request: &mut PeerRequest) -> FetchRequest {
    let version = fetch_version(request);
    let mut d = Decoder::new(request.encode(1, "node", version).unwrap().slice(FRAME_LENGTH_BYTES..));
    decode_request_header(&mut d).unwrap();
    FetchRequest::decode(&mut d, version).unwrap()
}

/// What a follower fetches when it has a session, and waits.
fn fetch_in_session(settings: Settings<'_>) -> FetchRequest {
    let (mut node, sent) = beside_another(settings);
    create(&mut node, 1, [OTHER, NODE]);
    let (_, mut first) = sent.take_fetches().remove(0);
    assert_eq!(decoded(&mut first).max_wait_ms, 0);
    let response = FetchResponse { session_id: 7, ..FetchResponse::default() };
    let frame = encode_response(1, &response, fetch_version(&first)).unwrap();
    first.answered(frame.bytes.slice(FRAME_LENGTH_BYTES..), node.now());
    decoded(&mut sent.take_fetches().remove(0).1)
}

/// How long after a fetch that failed the next one is sent.
fn after_a_failure(settings: Settings<'_>) -> String {
    let (mut node, sent) = beside_another(settings);
    create(&mut node, 1, [OTHER, NODE]);
    let (_, request) = sent.take_fetches().remove(0);
    let failed_at = node.now();
    request.failed(PeerError::TimedOut, failed_at);
    while sent.take_fetches().is_empty() {
        node.pass_ms(10);
    }
    format!("{} ms", node.now().mono.since_ms(failed_at.mono))
}

/// Over how many conversations a broker's partitions are fetched.
fn fetchers(settings: Settings<'_>) -> String {
    let (mut node, sent) = beside_another(settings);
    create(&mut node, 12, [OTHER, NODE]);
    channels(&sent).len().to_string()
}

fn channels(sent: &Sent) -> BTreeSet<Channel> {
    sent.take_fetches().into_iter().map(|(channel, _)| channel).collect()
}

/// Who is in sync after twenty seconds in which the follower has not fetched.
fn in_sync(settings: Settings<'_>) -> String {
    let (mut node, _sent) = beside_another(settings);
    create(&mut node, 1, [NODE, OTHER]);
    for _ in 0..40 {
        node.pass_ms(500);
    }
    let isr = &metadata(&mut node, &["a"], false).topics[0].partitions[0].isr_nodes;
    format!("{isr:?}")
}

/// The other broker as a replica asks for the first partition, with room for one of the large records.
fn follower_fetch(epoch: i64, topic: Uuid, offset: i64) -> FetchRequest {
    FetchRequest {
        replica_state: fetch_request::ReplicaState {
            replica_id: OTHER.0,
            replica_epoch: epoch,
            ..Default::default()
        },
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![fetch_request::Topic {
            topic_id: topic,
            partitions: vec![fetch_request::Partition {
                fetch_offset: offset,
                partition_max_bytes: LARGE as i32 + 500,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..FetchRequest::default()
    }
}

/// Bytes of the records that are large.
const LARGE: usize = 10_000;

fn id_of(node: &mut SteppedNode) -> Uuid {
    metadata(node, &["a"], false).topics[0].topic_id
}

/// Three large records that this node leads, and a follower that is out of sync, with its broker epoch.
fn with_a_follower_behind(settings: Settings<'_>) -> (SteppedNode, Uuid, i64) {
    let (mut node, sent) = beside_another(&[settings, &[("replica.lag.time.max.ms", "5000")]].concat());
    create(&mut node, 1, [NODE, OTHER]);
    let topic = id_of(&mut node);
    for _ in 0..20 {
        node.pass_ms(500);
    }
    assert_eq!(metadata(&mut node, &["a"], false).topics[0].partitions[0].isr_nodes, [NODE.0]);
    for key in ["a", "b", "c"] {
        let now = node.now().wall;
        produce(&mut node, topic, key, Some(&[7; LARGE]), now).unwrap();
    }
    (node, topic, sent.epoch.load(Ordering::Relaxed))
}

const RATE: &str = "1000";
const LEADERS_RATE: &str = "leader.replication.throttled.rate";
const LEADERS_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS_RATE: &str = "follower.replication.throttled.rate";
const FOLLOWERS_REPLICAS: &str = "follower.replication.throttled.replicas";

/// For how long a leader holds back the second record from a follower that has fetched 10,500 bytes, at 1,000 a second.
fn held_back(settings: Settings<'_>) -> String {
    held_back_with(settings, &[(LEADERS_RATE, Some(RATE))], &[(LEADERS_REPLICAS, Some("0:1"))])
}

fn held_back_with(settings: Settings<'_>, of_broker: Changes<'_>, of_topic: Changes<'_>) -> String {
    let (mut node, topic, epoch) = with_a_follower_behind(settings);
    alter_well(&mut node, BROKER, "1", of_broker);
    alter_well(&mut node, TOPIC, "a", of_topic);
    node.step();
    let bytes = |node: &mut SteppedNode, offset| {
        let answer = node.ask(&follower_fetch(epoch, topic, offset), 17);
        assert_eq!(answer.responses[0].partitions[0].error_code, 0);
        answer.responses[0].partitions[0].records.len()
    };
    assert!(bytes(&mut node, 0) > LARGE);
    let sent_at = node.now();
    while bytes(&mut node, 1) == 0 {
        node.pass_ms(100);
    }
    format!("{} ms", node.now().mono.since_ms(sent_at.mono))
}

/// For how long a follower leaves its leader alone after one record.
fn holds_back(of_broker: Changes<'_>, of_topic: Changes<'_>) -> String {
    let (mut node, sent) = beside_another(&[]);
    create(&mut node, 1, [OTHER, NODE]);
    alter_well(&mut node, BROKER, "1", of_broker);
    alter_well(&mut node, TOPIC, "a", of_topic);
    let topic = id_of(&mut node);
    let mut request = sent.take_fetches().remove(0).1;
    let version = request.choose_version(ApiKey::Fetch.facts().broker_versions).unwrap();
    request.encode(1, "node", version).unwrap();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let record = NewRecord { timestamp: node.now().wall, key: None, value: Some(&[7; LARGE]), headers: &[] };
    builder.append(&record).unwrap();
    let partition = fetch_response::Partition {
        high_watermark: 5,
        records: Records::Bytes(builder.build().unwrap().into()),
        ..Default::default()
    };
    let answer = FetchResponse {
        session_id: 7,
        responses: vec![fetch_response::Response {
            topic_id: topic,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..FetchResponse::default()
    };
    let frame = encode_response(1, &answer, version).unwrap();
    let answered_at = node.now();
    request.answered(frame.bytes.slice(FRAME_LENGTH_BYTES..), answered_at);
    while sent.take_fetches().is_empty() {
        node.pass_ms(100);
    }
    format!("{} ms", node.now().mono.since_ms(answered_at.mono))
}

type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

#[test]
fn throttled_replicas_are_held_to_the_rates_that_are_set() {
    let (rate, replicas) = (Some(RATE), Some("0:1"));
    for all in [replicas, Some("*")] {
        assert_eq!(held_back_with(&[], &[(LEADERS_RATE, rate)], &[(LEADERS_REPLICAS, all)]), "10500 ms");
        assert_eq!(holds_back(&[(FOLLOWERS_RATE, rate)], &[(FOLLOWERS_REPLICAS, all)]), "10100 ms");
    }
    assert_eq!(held_back_with(&[], &[], &[(LEADERS_REPLICAS, replicas)]), "0 ms");
    assert_eq!(held_back_with(&[], &[(LEADERS_RATE, rate)], &[]), "0 ms");
    assert_eq!(held_back_with(&[], &[(LEADERS_RATE, rate)], &[(LEADERS_REPLICAS, Some("0:2"))]), "0 ms");
    assert_eq!(held_back_with(&[], &[(LEADERS_RATE, rate)], &[(FOLLOWERS_REPLICAS, replicas)]), "0 ms");
    assert_eq!(holds_back(&[], &[(FOLLOWERS_REPLICAS, replicas)]), "0 ms");
    assert_eq!(holds_back(&[(FOLLOWERS_RATE, rate)], &[]), "0 ms");
    assert_eq!(holds_back(&[(FOLLOWERS_RATE, rate)], &[(FOLLOWERS_REPLICAS, Some("1:1"))]), "0 ms");
}

/// Where a consumer in the other broker's rack is sent.
fn preferred_replica(settings: Settings<'_>) -> String {
    let (mut node, sent) = beside_another(settings);
    create(&mut node, 1, [NODE, OTHER]);
    let topic = id_of(&mut node);
    let epoch = sent.epoch.load(Ordering::Relaxed);
    assert_eq!(node.ask(&follower_fetch(epoch, topic, 0), 17).responses[0].partitions[0].error_code, 0);
    let consumer = FetchRequest { rack_id: RACK.to_owned(), ..follower_fetch(-1, topic, 0) };
    let consumer = FetchRequest { replica_state: Default::default(), ..consumer };
    let partition = node.ask(&consumer, 17).responses.remove(0).partitions.remove(0);
    assert_eq!((partition.error_code, partition.records.len()), (0, 0));
    partition.preferred_read_replica.to_string()
}

const RACK: &str = "east";

/// How many of three moves are worked on at once.
fn moves_at_once(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let topics = ["x", "y", "z"].map(|name| (name, crate::topics::create(&mut node, name, 1, &[])));
    let now = node.now();
    for (name, _) in topics {
        let partition = node.node.replicas().partition(name, 0).unwrap();
        let dir = partition.log().log_dir();
        let to = if dir == Path::new("/data") { "/second" } else { "/data" };
        assert_eq!(
            node.node.replicas().move_to_dir(&partition, Path::new(to), Uuid([9; 16]), now),
            Ok(false)
        );
    }
    std::iter::from_fn(|| node.node.replicas().next_move(now.mono)).count().to_string()
}

const TWO_DIRS: Settings<'_> = &[("log.dirs", "/data,/second")];
const MOVES_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// How long a replica takes to another directory: a MiB is read at first, then the second record, at 60,000 bytes a second.
fn moves_for(settings: Settings<'_>) -> String {
    moves_for_with(settings, Some("60000"))
}

fn moves_for_with(settings: Settings<'_>, rate: Option<&str>) -> String {
    let mut node = SteppedNode::start(settings);
    alter_well(&mut node, BROKER, "1", &[(MOVES_RATE, rate)]);
    let topic = crate::topics::create(&mut node, "a", 1, &[]);
    for key in ["a", "b"] {
        let now = node.now().wall;
        produce(&mut node, topic, key, Some(&[7; 600_000]), now).unwrap();
    }
    let from = log_of(&node, "a").log_dir();
    let to = if from == Path::new("/data") { "/second" } else { "/data" };
    let began_at = node.now();
    assert_eq!(crate::log_dir_moves::alter(&mut node, "a", to), ErrorCode::None);
    node.step();
    while log_of(&node, "a").log_dir() == from {
        node.pass_ms(100);
    }
    // The second record, and what the controller is told.
    format!("{} s", node.now().mono.since_ms(began_at.mono) / 1000)
}

#[test]
fn moves_are_held_to_the_rate_that_is_set() {
    assert_eq!(moves_for_with(TWO_DIRS, None), "0 s");
    assert_eq!(moves_for_with(TWO_DIRS, Some("600000000")), "0 s");
    assert_ne!(moves_for_with(TWO_DIRS, Some("60000")), "0 s");
}

const CASES: &[Case] = &[
    Case {
        key: "broker.session.timeout.ms",
        value: "60000",
        node: &[("broker.session.timeout.ms", "9000")],
        observe: silence,
        expected: ("it is fenced", "it leads all the time"),
    },
    Case {
        key: "replica.fetch.wait.max.ms",
        value: "250",
        node: &[],
        observe: |settings| fetch_in_session(settings).max_wait_ms.to_string(),
        expected: ("500", "250"),
    },
    Case {
        key: "replica.fetch.min.bytes",
        value: "10",
        node: &[],
        observe: |settings| first_fetch(settings).0.min_bytes.to_string(),
        expected: ("1", "10"),
    },
    Case {
        key: "replica.fetch.max.bytes",
        value: "2000",
        node: &[],
        observe: |settings| first_fetch(settings).0.topics[0].partitions[0].partition_max_bytes.to_string(),
        expected: ("1048576", "2000"),
    },
    Case {
        key: "replica.fetch.response.max.bytes",
        value: "20000",
        node: &[],
        observe: |settings| first_fetch(settings).0.max_bytes.to_string(),
        expected: ("10485760", "20000"),
    },
    Case {
        key: "replica.socket.timeout.ms",
        value: "4000",
        node: &[],
        observe: |settings| first_fetch(settings).1.timeout_ms.to_string(),
        expected: ("30000", "4000"),
    },
    Case {
        key: "replica.fetch.backoff.ms",
        value: "70",
        node: &[],
        observe: after_a_failure,
        expected: ("1000 ms", "70 ms"),
    },
    Case { key: "num.replica.fetchers", value: "3", node: &[], observe: fetchers, expected: ("1", "3") },
    Case {
        key: "replica.lag.time.max.ms",
        value: "5000",
        node: &[],
        observe: in_sync,
        expected: ("[1, 2]", "[1]"),
    },
    Case {
        key: "replica.selector.class",
        value: "org.apache.kafka.common.replica.RackAwareReplicaSelector",
        node: &[],
        observe: preferred_replica,
        expected: ("-1", "2"),
    },
    Case {
        key: "replication.quota.window.num",
        value: "3",
        node: &[],
        observe: held_back,
        expected: ("10500 ms", "3000 ms"),
    },
    Case {
        key: "replication.quota.window.size.seconds",
        value: "30",
        node: &[],
        observe: held_back,
        expected: ("10500 ms", "0 ms"),
    },
    Case {
        key: "num.replica.alter.log.dirs.threads",
        value: "1",
        node: TWO_DIRS,
        observe: moves_at_once,
        expected: ("2", "1"),
    },
    Case {
        key: "alter.log.dirs.replication.quota.window.num",
        value: "3",
        node: TWO_DIRS,
        observe: moves_for,
        expected: ("21 s", "6 s"),
    },
    Case {
        key: "alter.log.dirs.replication.quota.window.size.seconds",
        value: "40",
        node: TWO_DIRS,
        observe: moves_for,
        expected: ("21 s", "0 s"),
    },
];

#[test]
fn each_setting_of_replication_changes_what_a_node_asks_for_and_when() {
    check(CASES);
}

#[test]
fn the_number_of_fetchers_can_be_changed_while_they_fetch() {
    let (mut node, sent) = beside_another(&[]);
    create(&mut node, 12, [OTHER, NODE]);
    let first = channels(&sent);
    alter_well(&mut node, BROKER, "", &[("num.replica.fetchers", Some("2"))]);
    node.step();
    // The first one still waits for its answer.
    let second = channels(&sent);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}
