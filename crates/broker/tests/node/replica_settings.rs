//! Settings of replication: changing one changes what a node asks the leaders that it follows for, and when.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_broker::peers::{Channel, PeerAddress, PeerError, PeerRequest, Peers};
use ottla_log::disk::SimDisk;
use ottla_metadata::Feature;
use ottla_types::{MonoMs, NodeId, Now, Timestamp, Uuid};
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerRegistrationRequest, FetchRequest, broker_registration_request,
    create_topics_request,
};
use ottla_wire::{ApiKey, Decoder, FRAME_LENGTH_BYTES, Message, decode_request_header};
use parking_lot::Mutex;

use crate::configs::{BROKER, alter_well};
use crate::harness::{CLUSTER, NODE, NodeSetup, SteppedNode, connection_on};
use crate::node_settings::{Case, Settings, check};
use crate::topics::{metadata, new_topic};

const OTHER: NodeId = NodeId(2);

/// What the node sends to the other broker, which never answers by itself.
#[derive(Debug, Default)]
struct Sent(Mutex<Vec<(Channel, PeerRequest)>>);

impl Peers for Sent {
    fn send(&self, _: &PeerAddress, channel: Channel, request: PeerRequest) {
        self.0.lock().push((channel, request));
    }
}

impl Sent {
    fn take_fetches(&self) -> Vec<(Channel, PeerRequest)> {
        let is_fetch = |sent: &mut (Channel, PeerRequest)| sent.1.api_key() == ApiKey::Fetch;
        self.0.lock().extract_if(.., is_fetch).collect()
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
    register(&mut node);
    (node, sent)
}

fn register(node: &mut SteppedNode) {
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

/// What a follower's first fetch is.
fn first_fetch(settings: Settings<'_>) -> (FetchRequest, PeerRequest) {
    let (mut node, sent) = beside_another(settings);
    create(&mut node, 1, [OTHER, NODE]);
    let (_, mut request) = sent.take_fetches().remove(0);
    let version = request.choose_version(ApiKey::Fetch.facts().broker_versions).unwrap();
    let mut d = Decoder::new(request.encode(1, "node", version).unwrap().slice(FRAME_LENGTH_BYTES..));
    decode_request_header(&mut d).unwrap();
    (FetchRequest::decode(&mut d, version).unwrap(), request)
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

const CASES: &[Case] = &[
    Case {
        key: "replica.fetch.wait.max.ms",
        value: "250",
        node: &[],
        observe: |settings| first_fetch(settings).0.max_wait_ms.to_string(),
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
