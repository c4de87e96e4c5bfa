//! Settings of a node that are no settings of logs: changing one changes what the node does.

use bytes::Bytes;
use ottla_broker::log_maintenance::Halt;
use ottla_log::disk::{Disk, Open};
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{ProducerEpoch, ProducerId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_producers_request::{self, DescribeProducersRequest};
use ottla_wire::messages::describe_topic_partitions_request::{self, DescribeTopicPartitionsRequest};
use ottla_wire::messages::fetch_request::{self, FetchRequest};
use ottla_wire::messages::produce_request::{self, ProduceRequest};
use ottla_wire::messages::{
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest, describe_quorum_request,
};

use crate::configs::{BROKER, alter_well};
use crate::harness::{DIR, SteppedNode};
use crate::records::put;
use crate::topics::{create, delete, metadata, new_topic};

pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// One setting, what else has to be set for it to show, and what a node with such settings does, in words.
pub struct Case {
    pub key: &'static str,
    pub value: &'static str,
    pub node: Settings<'static>,
    pub observe: fn(Settings<'_>) -> String,
    /// What is observed without the setting, and with it.
    pub expected: (&'static str, &'static str),
}

pub fn check(cases: &[Case]) {
    for Case { key, value, node, observe, expected } in cases {
        assert_eq!(observe(node), expected.0, "without {key}");
        assert_eq!(observe(&[*node, &[(*key, *value)]].concat()), expected.1, "{key}={value}");
    }
}

fn name_of(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

/// A topic that a client asks for, a moment later.
fn missing_topic(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    metadata(&mut node, &["wanted"], true);
    node.pass_ms(100);
    name_of(metadata(&mut node, &["wanted"], false).topics[0].error_code)
}

/// A topic whose creator leaves the numbers to the node.
fn default_numbers(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let mut request = new_topic("a", -1, &[]);
    request.topics[0].replication_factor = -1;
    let topic = node.ask(&request, 7).topics.remove(0);
    format!("{} with {} partitions", name_of(topic.error_code), topic.num_partitions)
}

fn deletion(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    create(&mut node, "a", 1, &[]);
    name_of(delete(&mut node, "a"))
}

/// How long a node that has nothing to do sleeps.
fn heartbeat(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    node.run_until(|node| node.node.next_deadline() > node.now().mono);
    format!("{} ms", node.node.next_deadline().0 - node.now().mono.0)
}

/// A broker whose registration nobody answers.
fn never_registered(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start_unregistered(settings);
    node.move_clock(30_000);
    match node.node.maintain(node.now()) {
        Err(Halt::NotRegistered) => "ends".to_owned(),
        other => format!("{other:?}"),
    }
}

fn rack(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let cluster = node.ask(&DescribeClusterRequest { endpoint_type: 1, ..Default::default() }, 1);
    format!("{:?}", cluster.brokers[0].rack)
}

fn cordoned(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let dirs = node.ask(&DescribeLogDirsRequest::default(), 5);
    format!("{}", dirs.results[0].is_cordoned)
}

/// Two records that are larger than the least that an answer may be.
fn fetched(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let id = create(&mut node, "a", 1, &[]);
    for _ in 0..20 {
        put(&mut node, id, "key");
    }
    let partition =
        fetch_request::Partition { partition_max_bytes: 1 << 20, ..fetch_request::Partition::default() };
    let topic = fetch_request::Topic { topic_id: id, partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        min_bytes: 1,
        session_id: 0,
        session_epoch: 0,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let answer = node.ask(&request, 17);
    let records = answer.responses[0].partitions[0].records.len();
    let session = if answer.session_id == 0 { "no session" } else { "a session" };
    format!("{} KB and {session}", records / 1000)
}

fn described_partitions(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    create(&mut node, "a", 5, &[]);
    let topic = describe_topic_partitions_request::Topic { name: "a".to_owned(), ..Default::default() };
    let request = DescribeTopicPartitionsRequest {
        topics: vec![topic],
        response_partition_limit: 2000,
        ..DescribeTopicPartitionsRequest::default()
    };
    format!("{}", node.ask(&request, 0).topics[0].partitions.len())
}

/// Whether an idempotent producer is remembered a while after its last record.
fn remembered_producer(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let id = create(&mut node, "a", 1, &[]);
    producer_after(&mut node, id, 700_000)
}

fn producer_after(node: &mut SteppedNode, id: Uuid, ms: u64) -> String {
    let options = BatchOptions {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    let value: Option<&[u8]> = Some(b"v");
    builder.append(&NewRecord { timestamp: node.now().wall, key: None, value, headers: &[] }).unwrap();
    let records = Some(Bytes::from(builder.build().unwrap()));
    let partition = produce_request::PartitionData { index: 0, records, ..Default::default() };
    let topic =
        produce_request::TopicData { topic_id: id, partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() };
    assert_eq!(node.ask(&request, 13).responses[0].partition_responses[0].error_code, 0);
    node.pass_ms(ms);
    node.maintain().unwrap();
    let topic = describe_producers_request::Topic {
        name: "a".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let request = DescribeProducersRequest { topics: vec![topic], ..DescribeProducersRequest::default() };
    let producers = node.ask(&request, 0).topics[0].partitions[0].active_producers.len();
    (if producers == 0 { "forgotten" } else { "remembered" }).to_owned()
}

/// Whether the high watermark is on disk a second after it moved.
fn high_watermark_on_disk(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let id = create(&mut node, "a", 1, &[]);
    node.pass_ms(10_000);
    node.maintain().unwrap();
    put(&mut node, id, "key");
    node.pass_ms(1000);
    node.maintain().unwrap();
    let path = std::path::Path::new(DIR).join("replication-offset-checkpoint");
    let file = node.disk.open(&path, Open::Read).unwrap();
    let mut text = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut text, 0).unwrap();
    String::from_utf8(text).unwrap().lines().last().unwrap_or_default().to_owned()
}

/// Records of the metadata log that come by themselves in ten seconds.
fn idle_records(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let before = metadata_end(&mut node);
    for _ in 0..100 {
        node.pass_ms(100);
    }
    format!("{}", (metadata_end(&mut node) - before) / 5 * 5)
}

fn metadata_end(node: &mut SteppedNode) -> i64 {
    let topic = describe_quorum_request::Topic {
        topic_name: "__cluster_metadata".to_owned(),
        partitions: vec![Default::default()],
        ..Default::default()
    };
    let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
    node.ask(&request, 2).topics[0].partitions[0].high_watermark
}

const CASES: &[Case] = &[
    Case {
        key: "auto.create.topics.enable",
        value: "false",
        node: &[],
        observe: missing_topic,
        expected: ("NONE", "UNKNOWN_TOPIC_OR_PARTITION"),
    },
    Case {
        key: "num.partitions",
        value: "4",
        node: &[],
        observe: default_numbers,
        expected: ("NONE with 1 partitions", "NONE with 4 partitions"),
    },
    Case {
        key: "default.replication.factor",
        value: "2",
        node: &[],
        observe: default_numbers,
        expected: ("NONE with 1 partitions", "INVALID_REPLICATION_FACTOR with -1 partitions"),
    },
    Case {
        key: "delete.topic.enable",
        value: "false",
        node: &[],
        observe: deletion,
        expected: ("NONE", "TOPIC_DELETION_DISABLED"),
    },
    Case {
        key: "broker.heartbeat.interval.ms",
        value: "500",
        node: &[],
        observe: heartbeat,
        expected: ("2000 ms", "500 ms"),
    },
    Case {
        key: "initial.broker.registration.timeout.ms",
        value: "20000",
        node: &[],
        observe: never_registered,
        expected: ("Ok(())", "ends"),
    },
    Case { key: "broker.rack", value: "r1", node: &[], observe: rack, expected: ("None", "Some(\"r1\")") },
    Case { key: "cordoned.log.dirs", value: DIR, node: &[], observe: cordoned, expected: ("false", "true") },
    Case {
        key: "fetch.max.bytes",
        value: "1024",
        node: &[],
        observe: fetched,
        expected: ("3 KB and a session", "1 KB and a session"),
    },
    Case {
        key: "max.incremental.fetch.session.cache.slots",
        value: "0",
        node: &[],
        observe: fetched,
        expected: ("3 KB and a session", "3 KB and no session"),
    },
    Case {
        key: "max.request.partition.size.limit",
        value: "2",
        node: &[],
        observe: described_partitions,
        expected: ("5", "2"),
    },
    Case {
        key: "producer.id.expiration.ms",
        value: "60000",
        node: &[],
        observe: remembered_producer,
        expected: ("remembered", "forgotten"),
    },
    Case {
        key: "producer.id.expiration.check.interval.ms",
        value: "6000000",
        node: &[("producer.id.expiration.ms", "60000")],
        observe: remembered_producer,
        expected: ("forgotten", "remembered"),
    },
    Case {
        key: "replica.high.watermark.checkpoint.interval.ms",
        value: "500",
        node: &[],
        observe: high_watermark_on_disk,
        expected: ("a 0 0", "a 0 1"),
    },
    Case {
        key: "metadata.max.idle.interval.ms",
        value: "2000",
        node: &[],
        observe: idle_records,
        expected: ("20", "5"),
    },
];

#[test]
fn each_setting_of_a_node_changes_what_it_does() {
    check(CASES);
}

#[test]
fn how_long_producers_are_remembered_changes_while_the_node_runs() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    alter_well(&mut node, BROKER, "", &[("producer.id.expiration.ms", Some("60000"))]);
    assert_eq!(producer_after(&mut node, id, 700_000), "forgotten");
}
