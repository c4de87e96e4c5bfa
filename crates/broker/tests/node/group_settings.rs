//! Settings of classic groups and of committed offsets: changing one changes what the coordinator does.

use bytes::Bytes;
use ottla_log::disk::sim::Call;
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::offset_commit_request as offsets;
use ottla_wire::messages::{FindCoordinatorRequest, JoinGroupRequest, OffsetCommitRequest};

use crate::data_plane::{commit, committed, find_coordinator};
use crate::harness::{Answer, SteppedNode};
use crate::node_settings::{Case, Settings, check};
use crate::topics::metadata;

const OFFSETS: &str = "__consumer_offsets";

fn with_coordinator(settings: Settings<'_>) -> SteppedNode {
    let mut node = SteppedNode::start(settings);
    find_coordinator(&mut node);
    node
}

fn join(node: &mut SteppedNode) -> Answer {
    let protocol =
        Protocol { name: "range".to_owned(), metadata: Bytes::from_static(b"m"), ..Protocol::default() };
    let request = JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    node.send(&request, 3)
}

fn name_of(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

fn answered(answer: &Answer) -> Option<String> {
    answer.take::<JoinGroupRequest>(3).map(|response| name_of(response.error_code))
}

/// What the first member is told, and after how long.
fn first_join(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    let answer = join(&mut node);
    for waited_ms in (0..10_000).step_by(500) {
        if let Some(code) = answered(&answer) {
            return format!("{code} after {waited_ms} ms");
        }
        node.pass_ms(500);
    }
    "nothing".to_owned()
}

/// What the second member is told before the first has come again.
fn second_join(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    join(&mut node);
    node.step();
    let answer = join(&mut node);
    node.step();
    answered(&answer).unwrap_or_else(|| "waits".to_owned())
}

/// What becomes of a commit with so much metadata, and after how long.
fn commit_with_metadata(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    let partition = offsets::Partition {
        committed_metadata: Some("12345678".to_owned()),
        ..offsets::Partition::default()
    };
    let topic =
        offsets::Topic { name: OFFSETS.to_owned(), partitions: vec![partition], ..offsets::Topic::default() };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let answer = node.send(&request, 9);
    for waited_ms in (0..10_000).step_by(100) {
        if let Some(response) = answer.take::<OffsetCommitRequest>(9) {
            return format!("{} after {waited_ms} ms", name_of(response.topics[0].partitions[0].error_code));
        }
        node.pass_ms(100);
    }
    "nothing".to_owned()
}

/// A group's offset, so many seconds after it was committed.
fn offset_after_s(settings: Settings<'_>, seconds: u64) -> String {
    let mut node = with_coordinator(settings);
    assert_eq!(commit(&mut node, 42), 0);
    // Who is silent for long has to register again, and reads the log again.
    (0..seconds / 5).for_each(|_| node.pass_ms(5000));
    committed(&mut node).to_string()
}

/// How the coordinator's log is read when the node starts again.
fn reads_of_a_start(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    for offset in 0..50 {
        assert_eq!(commit(&mut node, offset), 0);
    }
    let (disk, now) = node.stop();
    let before = disk.calls(Call::Read);
    let mut node = SteppedNode::start_on(disk, settings, now);
    find_coordinator(&mut node);
    let reads = node.disk.calls(Call::Read) - before;
    assert_eq!(committed(&mut node), 49);
    (if reads > 50 { "bit by bit" } else { "at once" }).to_owned()
}

/// The codec of a batch in the coordinator's log, as its attributes have it.
fn codec(settings: Settings<'_>) -> String {
    let mut node = with_coordinator(settings);
    assert_eq!(commit(&mut node, 42), 0);
    for log in node.node.logs().logs() {
        if let Some(segment) = log.segments().iter().find(|segment| segment.size() > 0) {
            let mut head = [0; 23];
            segment.file().unwrap().read_at(&mut head, 0).unwrap();
            return (head[22] & 7).to_string();
        }
    }
    "no batch".to_owned()
}

/// The topic of offsets, once a coordinator was asked for.
fn offsets_topic(settings: Settings<'_>) -> String {
    let mut node = SteppedNode::start(settings);
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["g".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    node.ask(&request, 6);
    node.pass_ms(100);
    let topic = metadata(&mut node, &[OFFSETS], false).topics.remove(0);
    let bytes = node.node.logs().logs().first().map_or(0, |log| log.config().segment_bytes);
    format!("{}, {} partitions, {bytes} bytes", name_of(topic.error_code), topic.partitions.len())
}

const CASES: &[Case] = &[
    Case {
        key: "group.initial.rebalance.delay.ms",
        value: "3000",
        node: &[],
        observe: first_join,
        expected: ("NONE after 0 ms", "NONE after 3000 ms"),
    },
    Case {
        key: "group.max.session.timeout.ms",
        value: "9000",
        node: &[],
        observe: first_join,
        expected: ("NONE after 0 ms", "INVALID_SESSION_TIMEOUT after 0 ms"),
    },
    Case {
        key: "group.min.session.timeout.ms",
        value: "11000",
        node: &[],
        observe: first_join,
        expected: ("NONE after 0 ms", "INVALID_SESSION_TIMEOUT after 0 ms"),
    },
    Case {
        key: "group.max.size",
        value: "1",
        node: &[],
        observe: second_join,
        expected: ("waits", "GROUP_MAX_SIZE_REACHED"),
    },
    Case {
        key: "group.coordinator.append.linger.ms",
        value: "500",
        node: &[],
        observe: commit_with_metadata,
        expected: ("NONE after 0 ms", "NONE after 500 ms"),
    },
    Case {
        key: "offset.metadata.max.bytes",
        value: "7",
        node: &[],
        observe: commit_with_metadata,
        expected: ("NONE after 0 ms", "OFFSET_METADATA_TOO_LARGE after 0 ms"),
    },
    Case {
        key: "offsets.load.buffer.size",
        value: "100",
        node: &[],
        observe: reads_of_a_start,
        expected: ("at once", "bit by bit"),
    },
    Case {
        key: "offsets.retention.minutes",
        value: "1",
        node: &[],
        observe: |settings| offset_after_s(settings, 700),
        expected: ("42", "-1"),
    },
    Case {
        key: "offsets.retention.check.interval.ms",
        value: "1000",
        node: &[("offsets.retention.minutes", "1")],
        observe: |settings| offset_after_s(settings, 65),
        expected: ("42", "-1"),
    },
    Case {
        key: "offsets.topic.compression.codec",
        value: "1",
        node: &[],
        observe: codec,
        expected: ("0", "1"),
    },
    Case {
        key: "offsets.topic.num.partitions",
        value: "5",
        node: &[],
        observe: offsets_topic,
        expected: ("NONE, 3 partitions, 104857600 bytes", "NONE, 5 partitions, 104857600 bytes"),
    },
    Case {
        key: "offsets.topic.replication.factor",
        value: "2",
        node: &[],
        observe: offsets_topic,
        expected: (
            "NONE, 3 partitions, 104857600 bytes",
            "UNKNOWN_TOPIC_OR_PARTITION, 0 partitions, 0 bytes",
        ),
    },
    Case {
        key: "offsets.topic.segment.bytes",
        value: "2000000",
        node: &[],
        observe: offsets_topic,
        expected: ("NONE, 3 partitions, 104857600 bytes", "NONE, 3 partitions, 2000000 bytes"),
    },
];

#[test]
fn each_setting_of_groups_and_offsets_changes_what_the_coordinator_does() {
    check(CASES);
}
