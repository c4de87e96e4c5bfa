use std::sync::Arc;

use bytes::Bytes;
use ottla_log::LogConfig;
use ottla_record::{Batches, Codec, Compression};
use ottla_types::{TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::FetchRequest;
use ottla_wire::messages::ProduceRequest;
use ottla_wire::messages::fetch_request::{ForgottenTopicsData, Partition as Asked, ReplicaState, Topic};
use ottla_wire::messages::fetch_response::{FetchResponse, Partition};
use ottla_wire::messages::produce_request::{PartitionData, TopicData};

use super::harness::{ELSEWHERE_ID, Harness, LOCAL, OTHER, TOPIC_ID, UNKNOWN_ID, at, batch};
use crate::exchange::{Part, Reply};

const LATEST: i16 = 18;

pub(super) fn append(harness: &Harness, index: i32, values: &[&str], ms: u64) {
    append_batch(harness, index, batch(values), ms);
}

pub(super) fn append_batch(harness: &Harness, index: i32, records: Bytes, ms: u64) {
    let data = PartitionData { index, records: Some(records), ..PartitionData::default() };
    let topic = TopicData { topic_id: TOPIC_ID, partition_data: vec![data], ..TopicData::default() };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
    let response = harness.call(13, &request, at(ms));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

fn asked(partition: i32, fetch_offset: i64) -> Asked {
    Asked { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Asked::default() }
}

/// Asks for partitions of one topic, named as the version names topics.
fn request(version: i16, topic: (&str, Uuid), partitions: Vec<Asked>) -> FetchRequest {
    let (name, topic_id) = if version >= 13 { ("", topic.1) } else { (topic.0, Uuid::ZERO) };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        topics: vec![Topic { topic: name.to_owned(), topic_id, partitions, ..Topic::default() }],
        ..FetchRequest::default()
    }
}

fn partitions(response: &FetchResponse) -> Vec<&Partition> {
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

fn values(records: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    for batch in Batches::new(records) {
        let batch = batch.expect("records are batches");
        let mut records = batch.records(1 << 20).expect("the batch can be read");
        while let Some(record) = records.next().expect("the batch can be read") {
            values.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
        }
    }
    values
}

fn bytes(partition: &Partition) -> &Bytes {
    partition.records.bytes().expect("records that were read are in memory, and not null")
}

#[test]
fn records_are_read_in_every_version() {
    let harness = Harness::new();
    append(&harness, 0, &["a", "b"], 0);
    append(&harness, 0, &["c"], 0);
    for version in 4..=LATEST {
        let response = harness.call(version, &request(version, ("t", TOPIC_ID), vec![asked(0, 0)]), at(1));
        let [partition] = partitions(&response)[..] else { panic!("{response:?}") };
        assert_eq!((partition.error_code, partition.high_watermark, partition.last_stable_offset), (0, 3, 3));
        assert_eq!(partition.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(values(bytes(partition)), ["a", "b", "c"]);
        assert_eq!(partition.aborted_transactions, None);
    }
}

#[test]
fn records_leave_as_a_slice_of_the_file() {
    let harness = Harness::new();
    append(&harness, 0, &["a"], 0);
    append(&harness, 1, &["b"], 0);
    let request = request(LATEST, ("t", TOPIC_ID), vec![asked(0, 0), asked(1, 0)]);
    let sent = harness.send(LATEST, &request, at(1));
    let Some(Reply::Send(frame)) = harness.reply(&sent) else { panic!("no response") };
    let kinds: Vec<_> = frame.parts.iter().map(|part| matches!(part, Part::File(_))).collect();
    assert_eq!(kinds, [false, true, false, true, false]);
}

#[test]
fn readers_of_committed_data_are_told_of_aborted_transactions() {
    let harness = Harness::new();
    append(&harness, 0, &["a"], 0);
    let mut request = request(LATEST, ("t", TOPIC_ID), vec![asked(0, 0)]);
    request.isolation_level = 1;
    let response = harness.call(LATEST, &request, at(1));
    assert_eq!(partitions(&response)[0].aborted_transactions, Some(vec![]));
    request.isolation_level = 2;
    assert_eq!(harness.call(LATEST, &request, at(1)).error_code, ErrorCode::UnknownServerError.code());
}

#[test]
fn each_error_has_its_code() {
    let harness = Harness::new();
    append(&harness, 0, &["a"], 0);
    let check = |version, topic, asked: Asked, expected: ErrorCode| {
        let response = harness.call(version, &request(version, topic, vec![asked]), at(0));
        let [partition] = partitions(&response)[..] else { panic!("{response:?}") };
        assert_eq!(ErrorCode::from_code(partition.error_code), Some(expected));
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (-1, -1));
        assert!(bytes(partition).is_empty());
    };
    let of_epoch = |current_leader_epoch| Asked { current_leader_epoch, ..asked(0, 0) };
    check(12, ("nowhere", UNKNOWN_ID), asked(0, 0), ErrorCode::UnknownTopicOrPartition);
    check(13, ("nowhere", UNKNOWN_ID), asked(0, 0), ErrorCode::UnknownTopicId);
    check(13, ("t", TOPIC_ID), asked(7, 0), ErrorCode::UnknownTopicOrPartition);
    check(LATEST, ("elsewhere", ELSEWHERE_ID), asked(0, 0), ErrorCode::NotLeaderOrFollower);
    check(LATEST, ("t", TOPIC_ID), asked(0, 2), ErrorCode::OffsetOutOfRange);
    check(LATEST, ("t", TOPIC_ID), asked(0, -1), ErrorCode::OffsetOutOfRange);
    check(LATEST, ("t", TOPIC_ID), of_epoch(2), ErrorCode::FencedLeaderEpoch);
    check(LATEST, ("t", TOPIC_ID), of_epoch(4), ErrorCode::UnknownLeaderEpoch);
}

#[test]
fn a_leader_elsewhere_is_told_from_version_16_on() {
    let harness = Harness::new();
    for version in [15, 16, LATEST] {
        let request = request(version, ("elsewhere", ELSEWHERE_ID), vec![asked(0, 0)]);
        let response = harness.call(version, &request, at(0));
        let leader = &partitions(&response)[0].current_leader;
        let endpoints: Vec<_> = response.node_endpoints.iter().map(|e| (e.node_id, e.port)).collect();
        let expected = if version < 16 { ((-1, -1), vec![]) } else { ((OTHER, 3), vec![(OTHER, 9092)]) };
        assert_eq!(((leader.leader_id, leader.leader_epoch), endpoints), expected);
    }
}

#[test]
fn nodes_that_are_no_replicas_are_refused() {
    let harness = Harness::new();
    let of_epoch = |current_leader_epoch| Asked { current_leader_epoch, ..asked(0, 0) };
    for (version, epoch, expected) in [
        (14, 3, ErrorCode::UnknownLeaderEpoch),
        (15, 3, ErrorCode::UnknownLeaderEpoch),
        (15, -1, ErrorCode::NotLeaderOrFollower),
    ] {
        let mut request = request(version, ("t", TOPIC_ID), vec![of_epoch(epoch)]);
        if version >= 15 {
            request.replica_state = ReplicaState { replica_id: OTHER, ..ReplicaState::default() };
        } else {
            request.replica_id = OTHER;
        }
        let response = harness.call(version, &request, at(0));
        assert_eq!(partitions(&response)[0].error_code, expected.code());
    }
    let mut request = request(LATEST, ("t", TOPIC_ID), vec![of_epoch(-1)]);
    request.replica_state = ReplicaState { replica_id: OTHER, ..ReplicaState::default() };
    let response = harness.call(LATEST, &request, at(0));
    assert_eq!(
        (partitions(&response)[0].current_leader.leader_id, response.node_endpoints.len()),
        (LOCAL, 0)
    );
}

#[test]
fn a_log_that_parts_from_the_leaders_is_told_where() {
    const EPOCH: i32 = 3;
    let harness = Harness::new();
    append(&harness, 0, &["a", "b"], 0);
    let check = |last_fetched_epoch, fetch_offset, expected: (ErrorCode, i32, i64)| {
        let asked = Asked { last_fetched_epoch, ..asked(0, fetch_offset) };
        let response = harness.call(LATEST, &request(LATEST, ("t", TOPIC_ID), vec![asked]), at(1));
        let [partition] = partitions(&response)[..] else { panic!("{response:?}") };
        let diverging = &partition.diverging_epoch;
        let told = (partition.error_code, diverging.epoch, diverging.end_offset);
        assert_eq!(told, (expected.0.code(), expected.1, expected.2), "{last_fetched_epoch} {fetch_offset}");
    };
    check(EPOCH, 0, (ErrorCode::None, -1, -1));
    check(EPOCH, 3, (ErrorCode::None, EPOCH, 2));
    check(EPOCH + 1, 0, (ErrorCode::OffsetOutOfRange, -1, -1));
}

#[test]
fn a_fetch_waits_for_records() {
    let harness = Harness::new();
    let sent = harness.send(LATEST, &request(LATEST, ("t", TOPIC_ID), vec![asked(0, 0)]), at(0));
    assert!(harness.reply(&sent).is_none());
    append(&harness, 1, &["of another partition"], 100);
    assert!(harness.reply(&sent).is_none());
    append(&harness, 0, &["a"], 200);
    let response = harness.response(&sent).expect("there are records");
    assert_eq!(values(bytes(partitions(&response)[0])), ["a"]);
}

#[test]
fn a_fetch_waits_no_longer_than_it_may() {
    let harness = Harness::new();
    let sent = harness.send(LATEST, &request(LATEST, ("t", TOPIC_ID), vec![asked(0, 0)]), at(0));
    harness.node.replicas.tick(at(499));
    assert!(harness.reply(&sent).is_none());
    harness.node.replicas.tick(at(500));
    let response = harness.response(&sent).expect("the time is over");
    assert!(bytes(partitions(&response)[0]).is_empty());
}

#[test]
fn what_is_read_keeps_to_the_bounds() {
    let harness = Harness::with_settings(&[("fetch.max.bytes", "1024")]);
    let value = "v".repeat(500);
    for partition in [0, 1] {
        for _ in 0..4 {
            append(&harness, partition, &[&value], 0);
        }
    }
    let batch_bytes = batch(&[&value]).len();
    let lens = |request: &FetchRequest| {
        let response = harness.call(LATEST, request, at(0));
        partitions(&response).iter().map(|partition| bytes(partition).len()).collect::<Vec<_>>()
    };
    let both = || request(LATEST, ("t", TOPIC_ID), vec![asked(0, 0), asked(1, 0)]);
    // The broker's bound.
    assert_eq!(lens(&both()), [1024, 0]);
    // The client's: the first batch comes whole, and less than a batch never comes alone.
    let mut small = both();
    small.max_bytes = 10;
    assert_eq!(lens(&small), [batch_bytes, 0]);
    let mut some = both();
    some.topics[0].partitions[0].partition_max_bytes = 600;
    some.topics[0].partitions[1].partition_max_bytes = 100;
    assert_eq!(lens(&some), [600, 0]);
}

#[test]
fn a_session_remembers_what_is_fetched() {
    let harness = Harness::new();
    append(&harness, 0, &["a"], 0);
    for version in [12, LATEST] {
        let harness = &harness;
        let mut first = request(version, ("t", TOPIC_ID), vec![asked(0, 0), asked(1, 0)]);
        first.session_epoch = 0;
        let response = harness.call(version, &first, at(1));
        assert!(response.session_id > 0);
        assert_eq!(partitions(&response).len(), 2);
        let incremental = |session_epoch, partitions: Vec<Asked>| {
            let mut request = request(version, ("t", TOPIC_ID), partitions);
            request.topics.retain(|topic| !topic.partitions.is_empty());
            FetchRequest { session_id: response.session_id, session_epoch, max_wait_ms: 0, ..request }
        };
        // Nothing is new but what the client moves on to.
        let second = harness.call(version, &incremental(1, vec![asked(0, 1)]), at(2));
        assert_eq!((second.session_id, partitions(&second).len()), (response.session_id, 0));
        let wrong = harness.call(version, &incremental(1, vec![]), at(3));
        assert_eq!(wrong.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
        let mut forget = incremental(2, vec![asked(0, 0)]);
        forget.forgotten_topics_data = vec![ForgottenTopicsData {
            topic: if version >= 13 { String::new() } else { "t".to_owned() },
            topic_id: if version >= 13 { TOPIC_ID } else { Uuid::ZERO },
            partitions: vec![1],
            ..ForgottenTopicsData::default()
        }];
        let third = harness.call(version, &forget, at(4));
        let [only] = partitions(&third)[..] else { panic!("{third:?}") };
        assert_eq!((only.partition_index, values(bytes(only))), (0, vec!["a".to_owned()]));
    }
    let mut unknown = request(LATEST, ("t", TOPIC_ID), vec![asked(0, 0)]);
    (unknown.session_id, unknown.session_epoch) = (77, 1);
    let response = harness.call(LATEST, &unknown, at(5));
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[test]
fn topics_compressed_with_zstd_need_version_10() {
    let harness = Harness::new();
    append(&harness, 0, &["a"], 0);
    let log = harness.node.replicas.partition("t", 0).expect("it is here").log();
    let compression = Some(Compression::new(Codec::Zstd));
    log.update_config(Arc::new(LogConfig { compression, ..LogConfig::default() }));
    for (version, expected) in [(9, ErrorCode::UnsupportedCompressionType), (10, ErrorCode::None)] {
        let response = harness.call(version, &request(version, ("t", TOPIC_ID), vec![asked(0, 0)]), at(0));
        assert_eq!(partitions(&response)[0].error_code, expected.code());
    }
}

#[test]
fn who_waits_for_a_directory_that_fails_is_told_as_the_version_can() {
    for (version, expected) in [(5, ErrorCode::NotLeaderOrFollower), (6, ErrorCode::KafkaStorageError)] {
        let harness = Harness::new();
        let sent = harness.send(version, &request(version, ("t", TOPIC_ID), vec![asked(0, 0)]), at(0));
        harness.node.replicas.remove(&TopicPartition::new("t", 0), ErrorCode::KafkaStorageError, at(1));
        let response = harness.response(&sent).expect("there is nothing to wait for any more");
        assert_eq!(partitions(&response)[0].error_code, expected.code());
    }
}

#[test]
fn before_sessions_errors_of_a_request_are_its_partitions() {
    let mut request = request(6, ("t", TOPIC_ID), vec![asked(0, 0)]);
    request.isolation_level = 9;
    let response = Harness::new().call(6, &request, at(0));
    assert_eq!(partitions(&response)[0].error_code, ErrorCode::UnknownServerError.code());
}
