use bytes::Bytes;
use ottla_record::{BatchOptions, Codec, Compression};
use ottla_types::{ProducerEpoch, ProducerId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::ProduceRequest;
use ottla_wire::messages::produce_request::{PartitionData, TopicData};
use ottla_wire::messages::produce_response::{PartitionResponse, ProduceResponse};

use super::harness::{ELSEWHERE_ID, Harness, OTHER, TOPIC_ID, UNKNOWN_ID, at, batch, batch_with, partition};
use crate::exchange::Reply;

const LATEST: i16 = 13;

/// One batch for one partition, named as the version names topics.
fn request(version: i16, acks: i16, topic: (&str, Uuid), index: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionData { index, records: Some(records), ..PartitionData::default() };
    let (name, topic_id) = if version >= 13 { ("", topic.1) } else { (topic.0, Uuid::ZERO) };
    let topic =
        TopicData { name: name.to_owned(), topic_id, partition_data: vec![data], ..TopicData::default() };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn only(response: &ProduceResponse) -> &PartitionResponse {
    match &response.responses[..] {
        [topic] => match &topic.partition_responses[..] {
            [partition] => partition,
            other => panic!("not one partition: {other:?}"),
        },
        other => panic!("not one topic: {other:?}"),
    }
}

fn check(
    harness: &Harness,
    version: i16,
    request: &ProduceRequest,
    expected: ErrorCode,
) -> PartitionResponse {
    let response = harness.call(version, request, at(0));
    let partition = only(&response).clone();
    assert_eq!(ErrorCode::from_code(partition.error_code), Some(expected));
    partition
}

#[test]
fn records_get_offsets_in_every_version() {
    let harness = Harness::new();
    for (n, version) in (3..=LATEST).enumerate() {
        let acks = if n % 2 == 0 { -1 } else { 1 };
        let request = request(version, acks, ("t", TOPIC_ID), 0, batch(&["a", "b"]));
        let partition = check(&harness, version, &request, ErrorCode::None);
        assert_eq!(partition.base_offset, 2 * n as i64);
        assert_eq!(partition.log_append_time_ms, -1);
        assert_eq!(partition.log_start_offset, if version >= 5 { 0 } else { -1 });
    }
}

#[test]
fn unknown_topics_have_the_error_of_the_version() {
    let harness = Harness::new();
    let unknown = |version, index, topic| request(version, 1, topic, index, batch(&["a"]));
    let nowhere = ("nowhere", UNKNOWN_ID);
    check(&harness, 12, &unknown(12, 0, nowhere), ErrorCode::UnknownTopicOrPartition);
    check(&harness, 13, &unknown(13, 0, nowhere), ErrorCode::UnknownTopicId);
    check(&harness, 13, &unknown(13, 0, ("", Uuid::ZERO)), ErrorCode::UnknownTopicId);
    for version in [12, 13] {
        check(&harness, version, &unknown(version, 9, ("t", TOPIC_ID)), ErrorCode::UnknownTopicOrPartition);
        check(&harness, version, &unknown(version, -1, ("t", TOPIC_ID)), ErrorCode::UnknownTopicOrPartition);
    }
}

#[test]
fn a_leader_elsewhere_is_told_from_version_10_on() {
    let harness = Harness::new();
    for version in [9, 10, 13] {
        let request = request(version, 1, ("elsewhere", ELSEWHERE_ID), 0, batch(&["a"]));
        let response = harness.call(version, &request, at(0));
        let partition = only(&response);
        assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
        let leader = (partition.current_leader.leader_id, partition.current_leader.leader_epoch);
        let endpoints: Vec<_> =
            response.node_endpoints.iter().map(|e| (e.node_id, e.host.as_str(), e.port)).collect();
        if version < 10 {
            assert_eq!((leader, endpoints), ((-1, -1), vec![]));
        } else {
            assert_eq!((leader, endpoints), ((OTHER, 3), vec![(OTHER, "host2", 9092)]));
        }
    }
}

#[test]
fn internal_topics_are_the_admin_clients_alone() {
    let offsets = |id| request(12, 1, ("__consumer_offsets", id), 0, batch(&["a"]));
    check(&Harness::new(), 12, &offsets(Uuid::ZERO), ErrorCode::InvalidTopicException);
    // The value does not fit the topic, but it is appended.
    check(&Harness::new().with_client_id("__admin_client"), 12, &offsets(Uuid::ZERO), ErrorCode::None);
}

#[test]
fn only_acks_0_1_and_all_are_known() {
    for acks in [-2, 2, i16::MAX] {
        let request = request(LATEST, acks, ("t", TOPIC_ID), 0, batch(&["a"]));
        check(&Harness::new(), LATEST, &request, ErrorCode::InvalidRequiredAcks);
    }
}

#[test]
fn what_is_not_one_batch_of_magic_2_is_refused() {
    let harness = Harness::new();
    let two = [batch(&["a"]), batch(&["b"])].concat();
    let damaged = {
        let mut bytes = batch(&["a"]).to_vec();
        *bytes.last_mut().expect("a batch has bytes") ^= 1;
        bytes
    };
    let no_magic = {
        let mut bytes = batch(&["a"]).to_vec();
        bytes[16] = 9;
        bytes
    };
    let half = batch(&["a"]).slice(..65);
    for (records, expected) in [
        (Bytes::new(), ErrorCode::InvalidRecord),
        (half, ErrorCode::InvalidRecord),
        (Bytes::from(two), ErrorCode::InvalidRecord),
        (Bytes::from(damaged), ErrorCode::CorruptMessage),
        (Bytes::from(no_magic), ErrorCode::CorruptMessage),
    ] {
        let request = request(LATEST, 1, ("t", TOPIC_ID), 0, records);
        let partition = check(&harness, LATEST, &request, expected);
        assert_eq!((partition.base_offset, partition.log_append_time_ms), (-1, -1));
    }
    let mut request = request(LATEST, 1, ("t", TOPIC_ID), 0, Bytes::new());
    request.topic_data[0].partition_data[0].records = None;
    check(&harness, LATEST, &request, ErrorCode::InvalidRecord);
}

#[test]
fn zstd_needs_version_7() {
    let harness = Harness::new();
    let compression = Compression::new(Codec::Zstd);
    let records = batch_with(BatchOptions { compression, ..BatchOptions::default() }, &["a"]);
    let of = |version| request(version, 1, ("t", TOPIC_ID), 0, records.clone());
    check(&harness, 6, &of(6), ErrorCode::UnsupportedCompressionType);
    check(&harness, 7, &of(7), ErrorCode::None);
}

#[test]
fn transactions_are_refused_until_a_coordinator_confirms_them() {
    let harness = Harness::new();
    let options = BatchOptions {
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    let mut request = request(LATEST, -1, ("t", TOPIC_ID), 0, batch_with(options, &["a"]));
    check(&harness, LATEST, &request, ErrorCode::TransactionalIdAuthorizationFailed);
    request.transactional_id = Some("x".to_owned());
    check(&harness, LATEST, &request, ErrorCode::NotEnoughReplicas);
}

#[test]
fn retries_of_an_idempotent_producer_are_told_their_first_offset() {
    let harness = Harness::new();
    let send = |base_sequence, expected| {
        let options = BatchOptions {
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(0),
            base_sequence,
            ..BatchOptions::default()
        };
        let request = request(LATEST, -1, ("t", TOPIC_ID), 0, batch_with(options, &["a", "b"]));
        check(&harness, LATEST, &request, expected).base_offset
    };
    assert_eq!(send(0, ErrorCode::None), 0);
    assert_eq!(send(2, ErrorCode::None), 2);
    assert_eq!(send(2, ErrorCode::None), 2);
    assert_eq!(send(9, ErrorCode::OutOfOrderSequenceNumber), -1);
}

#[test]
fn without_acks_there_is_no_answer_and_an_error_closes_the_connection() {
    let harness = Harness::new();
    let good = request(LATEST, 0, ("t", TOPIC_ID), 0, batch(&["a"]));
    let sent = harness.send(LATEST, &good, at(0));
    assert!(matches!(harness.reply(&sent), Some(Reply::Nothing)));
    let bad = request(LATEST, 0, ("t", TOPIC_ID), 7, batch(&["a"]));
    let sent = harness.send(LATEST, &bad, at(0));
    assert!(matches!(harness.reply(&sent), Some(Reply::Close(_))));
}

#[test]
fn each_partition_has_its_own_answer() {
    let harness = Harness::new();
    let mut request = request(12, 1, ("t", TOPIC_ID), 1, batch(&["a"]));
    let data = |index, records| PartitionData { index, records: Some(records), ..PartitionData::default() };
    request.topic_data[0].partition_data.push(data(5, batch(&["b"])));
    request.topic_data[0].partition_data.push(data(0, batch(&["c"])));
    request.topic_data.push(TopicData {
        name: "elsewhere".to_owned(),
        partition_data: vec![data(0, batch(&["d"]))],
        ..TopicData::default()
    });
    let response = harness.call(12, &request, at(0));
    let codes: Vec<_> = response
        .responses
        .iter()
        .map(|topic| {
            let codes = topic.partition_responses.iter().map(|p| (p.index, p.error_code)).collect::<Vec<_>>();
            (topic.name.as_str(), codes)
        })
        .collect();
    assert_eq!(codes, [("t", vec![(1, 0), (5, 3), (0, 0)]), ("elsewhere", vec![(0, 6)])]);
}

#[test]
fn records_at_fault_are_named() {
    let harness = Harness::new();
    let mut builder = ottla_record::BatchBuilder::new(BatchOptions::default());
    let far_ahead = ottla_types::Timestamp(at(0).wall.0 + 7_200_000);
    let record = ottla_record::NewRecord { timestamp: far_ahead, key: None, value: None, headers: &[] };
    builder.append(&record).expect("the record fits");
    let records = Bytes::from(builder.build().expect("the batch can be built"));
    for version in [7, 8] {
        let request = request(version, 1, ("t", TOPIC_ID), 0, records.clone());
        let partition = check(&harness, version, &request, ErrorCode::InvalidTimestamp);
        assert_eq!(partition.record_errors.len(), usize::from(version >= 8));
        assert_eq!(partition.error_message.is_some(), version >= 8);
    }
}

#[test]
fn a_partition_that_is_new_in_the_metadata_is_not_led_yet() {
    let harness = Harness::new();
    harness.replay(&[partition(TOPIC_ID, 2, super::harness::LOCAL)]);
    let request = request(LATEST, 1, ("t", TOPIC_ID), 2, batch(&["a"]));
    check(&harness, LATEST, &request, ErrorCode::NotLeaderOrFollower);
}
