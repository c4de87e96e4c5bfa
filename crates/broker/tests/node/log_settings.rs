//! Each setting of logs changes what the node does: set in its file, at run time for all topics, for one topic when it
//! is made, and for one topic at run time.

use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::node_settings;
use ottla_config::{Config, Table, UpdateMode};
use ottla_log::disk::{Disk, Open, SimDisk};
use ottla_log::log_manager::{LoadProgress, LogManager};
use ottla_log::{LogConfig, UnifiedLog};
use ottla_record::{BatchBuilder, BatchOptions, Batches, NewRecord};
use ottla_types::{Now, Timestamp, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{self, ProduceRequest};
use parking_lot::{Condvar, Mutex};

use crate::configs::{BROKER, TOPIC, alter_well};
use crate::harness::SteppedNode;
use crate::topics::create;

const NAME: &str = "t";

/// Produces one record; its batch's time of append, or why it was refused.
pub fn produce(
    node: &mut SteppedNode,
    topic: Uuid,
    key: &str,
    value: Option<&[u8]>,
    timestamp: Timestamp,
) -> Result<i64, ErrorCode> {
    produce_to(node, topic, 0, key, value, timestamp)
}

fn produce_to(
    node: &mut SteppedNode,
    topic: Uuid,
    index: i32,
    key: &str,
    value: Option<&[u8]>,
    timestamp: Timestamp,
) -> Result<i64, ErrorCode> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(&NewRecord { timestamp, key: Some(key.as_bytes()), value, headers: &[] }).unwrap();
    let records = Some(Bytes::from(builder.build().unwrap()));
    let partition = produce_request::PartitionData { index, records, ..Default::default() };
    let topic_data =
        produce_request::TopicData { topic_id: topic, partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic_data],
        ..ProduceRequest::default()
    };
    let answer = node.ask(&request, 13).responses.remove(0).partition_responses.remove(0);
    match ErrorCode::from_code(answer.error_code).unwrap() {
        ErrorCode::None => Ok(answer.log_append_time_ms),
        error => Err(error),
    }
}

/// Produces one record that is fine.
pub fn put(node: &mut SteppedNode, topic: Uuid, key: &str) {
    let now = node.now().wall;
    produce(node, topic, key, Some(&[b'v'; 100]), now).unwrap();
}

pub fn log_of(node: &SteppedNode, topic: &str) -> Arc<UnifiedLog> {
    node.node.logs().log(&TopicPartition::new(topic, 0)).unwrap()
}

fn log(node: &SteppedNode) -> Arc<UnifiedLog> {
    log_of(node, NAME)
}

/// All batches' bytes as they lie on disk.
fn stored(log: &UnifiedLog) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for segment in log.segments().iter() {
        let mut bytes = vec![0; segment.size() as usize];
        segment.file().unwrap().read_at(&mut bytes, 0).unwrap();
        all.push(bytes);
    }
    all
}

pub fn records(log: &UnifiedLog) -> i64 {
    let count = |bytes: &Vec<u8>| -> i64 {
        Batches::new(bytes).map(|batch| i64::from(batch.unwrap().header().record_count)).sum()
    };
    stored(log).iter().map(count).sum()
}

/// What a node with some settings does with a topic, as a number.
type Observe = fn(&mut SteppedNode, Uuid) -> i64;

/// One setting of topics.
struct Case {
    key: &'static str,
    value: &'static str,
    /// The keys of the broker that say the same.
    broker: &'static [(&'static str, &'static str)],
    /// What else the node and the topic need for it to show.
    node: &'static [(&'static str, &'static str)],
    topic: &'static [(&'static str, &'static str)],
    observe: Observe,
}

/// Old segments are looked for every second.
const OFTEN: &[(&str, &str)] =
    &[("log.retention.check.interval.ms", "1000"), ("log.initial.task.delay.ms", "0")];
const ROLLING: &[(&str, &str)] = &[("segment.ms", "1000")];
const COMPACTED: &[(&str, &str)] = &[("segment.ms", "1000"), ("cleanup.policy", "compact")];

/// Ten records of one key, each in a segment of its own.
fn put_ten(node: &mut SteppedNode, topic: Uuid) {
    for _ in 0..10 {
        put(node, topic, "key");
        node.pass_ms(2000);
    }
}

fn after_cleaning(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    node.clean();
    records(&log(node))
}

fn tombstones_after_cleaning(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put(node, topic, "gone");
    let now = node.now().wall;
    produce(node, topic, "gone", None, now).unwrap();
    for _ in 0..3 {
        node.pass_ms(20_000);
        put(node, topic, "other");
        node.pass_ms(2000);
        put(node, topic, "other");
        node.clean();
    }
    stored(&log(node)).iter().filter(|bytes| bytes.windows(4).any(|at| at == b"gone")).count() as i64
}

fn segments_after_retention(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    node.pass_ms(7_200_000);
    node.maintain().unwrap();
    log(node).segments().len() as i64
}

fn files_of_deleted_segments(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    node.pass_ms(2000);
    node.maintain().unwrap();
    node.pass_ms(10_000);
    node.maintain().unwrap();
    let files = node.disk.read_dir(&log(node).dir()).unwrap();
    files.iter().filter(|file| file.name.ends_with(".deleted")).count() as i64
}

fn unflushed(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put(node, topic, "key");
    node.pass_ms(5000);
    node.maintain().unwrap();
    log(node).unflushed_records()
}

fn stored_bytes(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let mut seed = 7_u32;
    let mut letters = String::new();
    while letters.len() < 20_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        letters.push_str(["alpha ", "beta ", "gamma ", "delta, "][(seed >> 30) as usize]);
        letters.push(char::from(b'a' + (seed >> 24) as u8 % 16));
    }
    let now = node.now().wall;
    produce(node, topic, "key", Some(letters.as_bytes()), now).unwrap();
    log(node).segments().size_bytes() as i64
}

fn index_entries(node: &mut SteppedNode, topic: Uuid) -> i64 {
    (0..20).for_each(|_| put(node, topic, "key"));
    i64::from(log(node).segments().last().unwrap().offset_index().len().unwrap())
}

fn segments_after_twenty(node: &mut SteppedNode, topic: Uuid) -> i64 {
    (0..20).for_each(|_| put(node, topic, "key"));
    log(node).segments().len() as i64
}

fn segments_after_megabytes(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let now = node.now().wall;
    for _ in 0..3 {
        produce(node, topic, "key", Some(&[b'v'; 600_000]), now).unwrap();
    }
    log(node).segments().len() as i64
}

fn segments_after_hours(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put(node, topic, "key");
    node.pass_ms(2 * 3_600_000);
    put(node, topic, "key");
    log(node).segments().len() as i64
}

/// Jitter goes by the log's name: of many logs some are rolled early. A segment keeps the jitter it was made with, so
/// that it shows after each log has been rolled once.
fn segments_of_many_logs(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let mut segments = 0;
    for wait_ms in [4_100_000, 2_000_000, 0] {
        for index in 0..8 {
            let now = node.now().wall;
            produce_to(node, topic, index, "key", Some(b"v"), now).unwrap();
        }
        node.pass_ms(wait_ms);
    }
    for log in node.node.logs().logs() {
        segments += log.segments().len() as i64;
    }
    segments
}

fn refused(result: Result<i64, ErrorCode>) -> i64 {
    result.map_or_else(|error| i64::from(error.code()), |_| 0)
}

fn refusal_of_the_future(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let at = Timestamp(node.now().wall.0 + 60_000);
    refused(produce(node, topic, "key", Some(b"v"), at))
}

fn refusal_of_the_past(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let at = Timestamp(node.now().wall.0 - 60_000);
    refused(produce(node, topic, "key", Some(b"v"), at))
}

fn refusal_of_much(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let now = node.now().wall;
    refused(produce(node, topic, "key", Some(&[0; 1000]), now))
}

fn has_append_time(node: &mut SteppedNode, topic: Uuid) -> i64 {
    let now = node.now().wall;
    i64::from(produce(node, topic, "key", Some(b"v"), now).unwrap() >= 0)
}

fn file_bytes(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put(node, topic, "key");
    node.pass_ms(2000);
    put(node, topic, "key");
    let path = log(node).segments().last().unwrap().path();
    node.disk.open(&path, Open::Read).unwrap().len().unwrap() as i64
}

const CASES: &[Case] = &[
    Case {
        key: "cleanup.policy",
        value: "compact",
        broker: &[("log.cleanup.policy", "compact")],
        node: &[],
        topic: ROLLING,
        observe: after_cleaning,
    },
    Case {
        key: "compression.type",
        value: "zstd",
        broker: &[("compression.type", "zstd")],
        node: &[],
        topic: &[],
        observe: stored_bytes,
    },
    Case {
        key: "compression.gzip.level",
        value: "1",
        broker: &[("compression.gzip.level", "1")],
        node: &[],
        topic: &[("compression.type", "gzip")],
        observe: stored_bytes,
    },
    Case {
        key: "compression.lz4.level",
        value: "1",
        broker: &[("compression.lz4.level", "1")],
        node: &[],
        topic: &[("compression.type", "lz4")],
        observe: stored_bytes,
    },
    Case {
        key: "compression.zstd.level",
        value: "19",
        broker: &[("compression.zstd.level", "19")],
        node: &[],
        topic: &[("compression.type", "zstd")],
        observe: stored_bytes,
    },
    Case {
        key: "delete.retention.ms",
        value: "1000",
        broker: &[("log.cleaner.delete.retention.ms", "1000")],
        node: &[],
        topic: &[("segment.ms", "1000"), ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")],
        observe: tombstones_after_cleaning,
    },
    Case {
        key: "file.delete.delay.ms",
        value: "5000",
        broker: &[("log.segment.delete.delay.ms", "5000")],
        node: OFTEN,
        topic: &[("segment.ms", "1000"), ("retention.ms", "1000")],
        observe: files_of_deleted_segments,
    },
    Case {
        key: "flush.messages",
        value: "1",
        broker: &[("log.flush.interval.messages", "1")],
        node: &[],
        topic: &[],
        observe: unflushed,
    },
    Case {
        key: "flush.ms",
        value: "1000",
        broker: &[("log.flush.interval.ms", "1000")],
        node: &[("log.flush.scheduler.interval.ms", "100000"), ("log.initial.task.delay.ms", "4000")],
        topic: &[],
        observe: unflushed,
    },
    Case {
        key: "index.interval.bytes",
        value: "100",
        broker: &[("log.index.interval.bytes", "100")],
        node: &[],
        topic: &[],
        observe: index_entries,
    },
    Case {
        key: "internal.segment.bytes",
        value: "1000",
        broker: &[],
        node: &[],
        topic: &[],
        observe: segments_after_twenty,
    },
    Case {
        key: "max.compaction.lag.ms",
        value: "5000",
        broker: &[("log.cleaner.max.compaction.lag.ms", "5000")],
        node: &[],
        topic: &[("segment.ms", "1000"), ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")],
        observe: after_cleaning,
    },
    Case {
        key: "max.message.bytes",
        value: "500",
        broker: &[("message.max.bytes", "500")],
        node: &[],
        topic: &[],
        observe: refusal_of_much,
    },
    Case {
        key: "message.timestamp.after.max.ms",
        value: "1000",
        broker: &[("log.message.timestamp.after.max.ms", "1000")],
        node: &[],
        topic: &[],
        observe: refusal_of_the_future,
    },
    Case {
        key: "message.timestamp.before.max.ms",
        value: "1000",
        broker: &[("log.message.timestamp.before.max.ms", "1000")],
        node: &[],
        topic: &[],
        observe: refusal_of_the_past,
    },
    Case {
        key: "message.timestamp.type",
        value: "LogAppendTime",
        broker: &[("log.message.timestamp.type", "LogAppendTime")],
        node: &[],
        topic: &[],
        observe: has_append_time,
    },
    Case {
        key: "min.cleanable.dirty.ratio",
        value: "1",
        broker: &[("log.cleaner.min.cleanable.ratio", "1")],
        node: &[],
        topic: COMPACTED,
        observe: after_cleaning,
    },
    Case {
        key: "min.compaction.lag.ms",
        value: "1000000",
        broker: &[("log.cleaner.min.compaction.lag.ms", "1000000")],
        node: &[],
        topic: COMPACTED,
        observe: after_cleaning,
    },
    Case {
        key: "preallocate",
        value: "true",
        broker: &[("log.preallocate", "true")],
        node: &[],
        topic: &[("segment.ms", "1000"), ("segment.bytes", "1048576")],
        observe: file_bytes,
    },
    Case {
        key: "retention.bytes",
        value: "500",
        broker: &[("log.retention.bytes", "500")],
        node: OFTEN,
        topic: ROLLING,
        observe: segments_after_retention,
    },
    Case {
        key: "retention.ms",
        value: "3600000",
        broker: &[
            ("log.retention.ms", "3600000"),
            ("log.retention.minutes", "60"),
            ("log.retention.hours", "1"),
        ],
        node: OFTEN,
        topic: ROLLING,
        observe: segments_after_retention,
    },
    Case {
        key: "segment.bytes",
        value: "1048576",
        broker: &[("log.segment.bytes", "1048576")],
        node: &[],
        topic: &[],
        observe: segments_after_megabytes,
    },
    Case {
        key: "segment.index.bytes",
        value: "30",
        broker: &[("log.index.size.max.bytes", "30")],
        node: &[],
        topic: &[("index.interval.bytes", "0")],
        observe: segments_after_twenty,
    },
    Case {
        key: "segment.jitter.ms",
        value: "3600000",
        broker: &[("log.roll.jitter.ms", "3600000"), ("log.roll.jitter.hours", "1")],
        node: &[],
        topic: &[("segment.ms", "4000000")],
        observe: segments_of_many_logs,
    },
    Case {
        key: "segment.ms",
        value: "3600000",
        broker: &[("log.roll.ms", "3600000"), ("log.roll.hours", "1")],
        node: &[],
        topic: &[],
        observe: segments_after_hours,
    },
];

type Settings<'a> = &'a [(&'a str, &'a str)];

/// What shows on a new node with a new topic, after changes at run time.
fn observe(
    case: &Case,
    node: Settings<'_>,
    topic: Settings<'_>,
    changes: &[(i8, &str, &str, Option<&str>)],
) -> i64 {
    let mut stepped = SteppedNode::start(&[case.node, node].concat());
    let id = create(&mut stepped, NAME, 8, &[case.topic, topic].concat());
    for (kind, name, key, value) in changes {
        alter_well(&mut stepped, *kind, name, &[(key, *value)]);
    }
    (case.observe)(&mut stepped, id)
}

fn may_be_dynamic(key: &str) -> bool {
    Table::Broker.find(key).is_some_and(|row| row.update_mode != UpdateMode::ReadOnly)
}

#[test]
fn each_setting_of_topics_acts_however_it_is_set() {
    for case in CASES {
        let key = case.key;
        let without = observe(case, &[], &[], &[]);
        let with = observe(case, &[], &[(key, case.value)], &[]);
        assert_ne!(without, with, "{key} of a new topic");
        let set = (TOPIC, NAME, key, Some(case.value));
        assert_eq!(observe(case, &[], &[], &[set]), with, "{key} at run time");
        let deleted = [set, (TOPIC, NAME, key, None)];
        assert_eq!(observe(case, &[], &[], &deleted), without, "{key} deleted");
        for (broker, value) in case.broker {
            assert_eq!(observe(case, &[(broker, value)], &[], &[]), with, "{broker} in the file");
            if may_be_dynamic(broker) {
                let set = (BROKER, "", *broker, Some(*value));
                assert_eq!(observe(case, &[], &[], &[set]), with, "{broker} of all brokers");
            }
        }
    }
}

/// One setting of the node for all its logs.
struct NodeCase {
    key: &'static str,
    value: &'static str,
    node: &'static [(&'static str, &'static str)],
    observe: Observe,
}

fn first_pause(node: &mut SteppedNode, _: Uuid) -> i64 {
    let mut worker = node.node.cleaner_worker();
    loop {
        let wait_ms = node.node.clean_step(&mut worker, node.now());
        if wait_ms > 0 {
            return wait_ms as i64;
        }
    }
}

fn pauses_while_cleaning(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    i64::from(node.clean() > 1000)
}

fn steps_of_a_cleaning(node: &mut SteppedNode, topic: Uuid) -> i64 {
    (0..20).for_each(|_| put(node, topic, "key"));
    node.pass_ms(2000);
    put(node, topic, "key");
    let mut worker = node.node.cleaner_worker();
    let mut steps = 0;
    while node.node.clean_step(&mut worker, node.now()) == 0 {
        steps += 1;
    }
    node.node.stop_cleaning(worker);
    steps
}

fn cleaner_threads(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.node.cleaner_threads() as i64
}

fn dedupe_buffer(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.node.logs().cleaner_settings().dedupe_buffer_bytes as i64
}

fn load_factor_percent(node: &mut SteppedNode, _: Uuid) -> i64 {
    (node.node.logs().cleaner_settings().dedupe_buffer_load_factor * 100.0) as i64
}

/// Milliseconds until a checkpoint has what was flushed or deleted.
fn checkpointed(node: &mut SteppedNode, topic: Uuid, name: &str) -> i64 {
    put(node, topic, "key");
    node.maintain().unwrap();
    put_ten(node, topic);
    log(node).flush(node.now()).unwrap();
    log(node).maybe_increment_log_start_offset(ottla_types::Offset(5), "test").unwrap();
    let path = std::path::Path::new(crate::harness::DIR).join(name);
    for seconds in 0..100 {
        node.maintain().unwrap();
        let file = node.disk.open(&path, Open::Read).unwrap();
        let mut text = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut text, 0).unwrap();
        let text = String::from_utf8(text).unwrap();
        if text.contains("t 0 11") || text.contains("t 0 5") {
            return seconds;
        }
        node.pass_ms(1000);
    }
    -1
}

fn recovery_point_checkpoint(node: &mut SteppedNode, topic: Uuid) -> i64 {
    checkpointed(node, topic, "recovery-point-offset-checkpoint")
}

fn log_start_checkpoint(node: &mut SteppedNode, topic: Uuid) -> i64 {
    checkpointed(node, topic, "log-start-offset-checkpoint")
}

fn first_retention_after_s(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    retention_after_s(node)
}

fn second_retention_after_s(node: &mut SteppedNode, topic: Uuid) -> i64 {
    node.maintain().unwrap();
    put_ten(node, topic);
    retention_after_s(node)
}

fn retention_after_s(node: &mut SteppedNode) -> i64 {
    for seconds in 0..400 {
        node.maintain().unwrap();
        if log(node).log_start_offset().0 > 0 {
            return seconds;
        }
        node.pass_ms(1000);
    }
    -1
}

fn directories(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.node.logs().online_dirs().len() as i64
}

/// Whether the node goes on while the controller can't hear that a directory has failed.
fn goes_on_untold(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.disk.fail_dir(std::path::Path::new("/second"));
    node.node.logs().checkpoint_recovery_points();
    node.maintain().unwrap();
    node.move_clock(2000);
    i64::from(node.maintain().is_ok())
}

const NODE_CASES: &[NodeCase] = &[
    NodeCase { key: "log.cleaner.backoff.ms", value: "777", node: &[], observe: first_pause },
    NodeCase { key: "log.cleaner.dedupe.buffer.size", value: "2000000", node: &[], observe: dedupe_buffer },
    NodeCase { key: "log.cleaner.enable", value: "false", node: &[], observe: cleaner_threads },
    NodeCase {
        key: "log.cleaner.io.buffer.load.factor",
        value: "0.5",
        node: &[],
        observe: load_factor_percent,
    },
    NodeCase {
        key: "log.cleaner.io.buffer.size",
        value: "512",
        node: &[("log.cleanup.policy", "compact"), ("log.roll.ms", "1000")],
        observe: steps_of_a_cleaning,
    },
    NodeCase {
        key: "log.cleaner.io.max.bytes.per.second",
        value: "100",
        node: &[("log.cleanup.policy", "compact"), ("log.roll.ms", "1000")],
        observe: pauses_while_cleaning,
    },
    NodeCase { key: "log.cleaner.threads", value: "2", node: &[], observe: cleaner_threads },
    NodeCase {
        key: "log.dir.failure.timeout.ms",
        value: "1000",
        node: &[("log.dirs", "/data,/second")],
        observe: goes_on_untold,
    },
    NodeCase { key: "log.dirs", value: "/data,/second", node: &[], observe: directories },
    NodeCase {
        key: "log.flush.offset.checkpoint.interval.ms",
        value: "3000",
        node: &[("log.initial.task.delay.ms", "0")],
        observe: recovery_point_checkpoint,
    },
    NodeCase {
        key: "log.flush.start.offset.checkpoint.interval.ms",
        value: "3000",
        node: &[("log.initial.task.delay.ms", "0")],
        observe: log_start_checkpoint,
    },
    NodeCase {
        key: "log.flush.scheduler.interval.ms",
        value: "1000",
        node: &[("log.initial.task.delay.ms", "0")],
        observe: |node, topic| {
            node.maintain().unwrap();
            unflushed(node, topic)
        },
    },
    NodeCase {
        key: "log.initial.task.delay.ms",
        value: "60000",
        node: &[("log.retention.ms", "1000"), ("log.roll.ms", "1000")],
        observe: first_retention_after_s,
    },
    NodeCase {
        key: "log.retention.check.interval.ms",
        value: "40000",
        node: &[("log.retention.ms", "1000"), ("log.roll.ms", "1000"), ("log.initial.task.delay.ms", "0")],
        observe: second_retention_after_s,
    },
];

#[test]
fn each_setting_of_the_node_for_its_logs_acts_however_it_is_set() {
    for case in NODE_CASES {
        let key = case.key;
        let observe = |settings: Settings<'_>, dynamic: Option<&str>| {
            let mut node = SteppedNode::start(&[case.node, settings].concat());
            let id = create(&mut node, NAME, 1, &[]);
            if let Some(name) = dynamic {
                alter_well(&mut node, BROKER, name, &[(key, Some(case.value))]);
            }
            (case.observe)(&mut node, id)
        };
        let with = observe(&[(key, case.value)], None);
        assert_ne!(observe(&[], None), with, "{key} in the file");
        if may_be_dynamic(key) {
            for name in ["", "1"] {
                assert_eq!(observe(&[], Some(name)), with, "{key} of broker {name:?}");
            }
        }
    }
}

/// How many threads open logs at the same time when a node starts.
fn loading_threads(settings: Settings<'_>) -> usize {
    let config = Config::of_pairs([&[("log.dirs", "/data")], settings].concat()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    for number in 0..4 {
        disk.create_dir_all(&std::path::Path::new("/data").join(format!("t-{number}"))).unwrap();
    }
    let now = Now::default();
    let logs = LogManager::new(node_settings::log_manager(&config), disk, now);
    // Each thread waits a moment for others to come.
    let (together, most, arrived) = (Mutex::new(0_usize), Mutex::new(0_usize), Condvar::new());
    let configs = |_: &str| {
        let mut here = together.lock();
        *here += 1;
        let mut most = most.lock();
        *most = (*most).max(*here);
        drop(most);
        arrived.notify_all();
        while *here < 4 && !arrived.wait_for(&mut here, std::time::Duration::from_millis(500)).timed_out() {}
        *here -= 1;
        Arc::new(LogConfig::default())
    };
    logs.load(&configs, &LoadProgress::default(), now).unwrap();
    most.into_inner()
}

#[test]
fn logs_are_loaded_by_as_many_threads_as_are_set() {
    assert_eq!(loading_threads(&[("num.recovery.threads.per.data.dir", "1")]), 1);
    assert_eq!(loading_threads(&[]), 2);
    assert_eq!(loading_threads(&[("num.recovery.threads.per.data.dir", "4")]), 4);
}
