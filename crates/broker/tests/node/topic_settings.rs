//! Each setting of topics changes what the node does: set in its file, at run time for all topics, for one topic when it is
//! made, and for one topic at run time.

use ottla_log::disk::{Disk, Open};
use ottla_types::{Timestamp, Uuid};
use ottla_wire::ErrorCode;

use crate::configs::{BROKER, TOPIC, alter_well};
use crate::harness::SteppedNode;
use crate::log_settings::{NAME, OFTEN, Observe, Settings, log, may_be_dynamic, put_ten, unflushed};
use crate::records::{produce, produce_to, put, records, stored};
use crate::topics::create;

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

const ROLLING: &[(&str, &str)] = &[("segment.ms", "1000")];
const COMPACTED: &[(&str, &str)] = &[("segment.ms", "1000"), ("cleanup.policy", "compact")];

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
