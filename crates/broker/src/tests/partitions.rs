//! What administrators and followers ask of partitions.

use ottla_log::log_manager::DirFailed;
use ottla_record::BatchOptions;
use ottla_types::{ProducerEpoch, ProducerId, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_records_request as delete;
use ottla_wire::messages::describe_log_dirs_request as log_dirs;
use ottla_wire::messages::describe_producers_request as producers;
use ottla_wire::messages::offset_for_leader_epoch_request as epochs;
use ottla_wire::messages::{
    DeleteRecordsRequest, DescribeLogDirsRequest, DescribeProducersRequest, InitProducerIdRequest,
    OffsetForLeaderEpochRequest,
};

use super::fetch::{append, append_batch};
use super::harness::{Harness, at, batch_with};

#[test]
fn epochs_end_where_the_log_says() {
    let harness = Harness::new();
    append(&harness, 0, &["a", "b"], 0);
    for version in 2..=4 {
        let ask = |topic: &str, partition, leader_epoch, current_leader_epoch| {
            let asked = epochs::Partition {
                partition,
                leader_epoch,
                current_leader_epoch,
                ..epochs::Partition::default()
            };
            let topic = epochs::Topic {
                topic: topic.to_owned(),
                partitions: vec![asked],
                ..epochs::Topic::default()
            };
            let request =
                OffsetForLeaderEpochRequest { topics: vec![topic], ..OffsetForLeaderEpochRequest::default() };
            let response = harness.call(version, &request, at(0));
            let found = &response.topics[0].partitions[0];
            (found.error_code, found.leader_epoch, found.end_offset)
        };
        assert_eq!(ask("t", 0, 3, -1), (0, 3, 2));
        assert_eq!(ask("t", 0, 3, 3), (0, 3, 2));
        assert_eq!(ask("t", 0, 9, -1), (0, -1, -1));
        assert_eq!(ask("t", 0, 3, 2), (ErrorCode::FencedLeaderEpoch.code(), -1, -1));
        assert_eq!(ask("t", 0, 3, 4), (ErrorCode::UnknownLeaderEpoch.code(), -1, -1));
        assert_eq!(ask("t", 7, 3, -1), (ErrorCode::UnknownTopicOrPartition.code(), -1, -1));
        assert_eq!(ask("elsewhere", 0, 3, -1), (ErrorCode::NotLeaderOrFollower.code(), -1, -1));
    }
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let harness = Harness::new();
    append(&harness, 0, &["a", "b", "c"], 0);
    let delete = |version, topic: &str, partition_index, offset| {
        let asked = delete::Partition { partition_index, offset, ..delete::Partition::default() };
        let topic =
            delete::Topic { name: topic.to_owned(), partitions: vec![asked], ..delete::Topic::default() };
        let request = DeleteRecordsRequest { topics: vec![topic], ..DeleteRecordsRequest::default() };
        let response = harness.call(version, &request, at(0));
        let result = &response.topics[0].partitions[0];
        (result.low_watermark, result.error_code)
    };
    for version in 0..=2 {
        assert_eq!(delete(version, "t", 0, i64::from(version)), (i64::from(version), 0));
    }
    assert_eq!(delete(2, "t", 0, -1), (3, 0));
    assert_eq!(delete(2, "t", 0, 4), (-1, ErrorCode::OffsetOutOfRange.code()));
    assert_eq!(delete(2, "t", 5, 0), (-1, ErrorCode::UnknownTopicOrPartition.code()));
    assert_eq!(delete(2, "elsewhere", 0, 0), (-1, ErrorCode::NotLeaderOrFollower.code()));
    assert_eq!(delete(2, "__consumer_offsets", 0, 0), (-1, ErrorCode::InvalidTopicException.code()));
}

#[test]
fn a_partition_tells_of_its_producers() {
    let harness = Harness::new();
    let options = BatchOptions {
        producer_id: ProducerId(70),
        producer_epoch: ProducerEpoch(2),
        base_sequence: 0,
        ..BatchOptions::default()
    };
    append_batch(&harness, 0, batch_with(options, &["a", "b"]), 0);
    let describe = |name: &str| {
        let topic = producers::Topic {
            name: name.to_owned(),
            partition_indexes: vec![0, 7],
            ..producers::Topic::default()
        };
        let request = DescribeProducersRequest { topics: vec![topic], ..DescribeProducersRequest::default() };
        harness.call(0, &request, at(0)).topics[0].partitions.clone()
    };
    let [found, missing] = &describe("t")[..] else { panic!("two partitions were asked for") };
    let producer = &found.active_producers[0];
    assert_eq!((found.error_code, found.active_producers.len()), (0, 1));
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (70, 2, 1));
    assert_eq!((producer.last_timestamp, producer.current_txn_start_offset), (at(0).wall.0, -1));
    assert_eq!(missing.error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!((found.error_message.is_some(), missing.error_message.is_some()), (false, false));
    let invalid = &describe("a/b")[0];
    assert_eq!(invalid.error_code, ErrorCode::InvalidTopicException.code());
    assert!(invalid.error_message.is_some());
}

#[test]
fn log_dirs_are_described_with_their_logs() {
    let harness = Harness::with_settings(&[("cordoned.log.dirs", "/data")]);
    append(&harness, 1, &["a"], 0);
    for version in 1..=5 {
        let all = harness.call(version, &DescribeLogDirsRequest::default(), at(0));
        let [dir] = &all.results[..] else { panic!("there is one directory: {all:?}") };
        assert_eq!((dir.error_code, dir.log_dir.as_str()), (0, "/data"));
        assert_eq!(dir.total_bytes > 0 && dir.usable_bytes > 0, version >= 4);
        assert_eq!(dir.is_cordoned, version >= 5);
    }
    let of = |topics| {
        let request = DescribeLogDirsRequest { topics, ..DescribeLogDirsRequest::default() };
        let response = harness.call(5, &request, at(0));
        let describe = |topic: &ottla_wire::messages::describe_log_dirs_response::Topic| {
            let sizes =
                topic.partitions.iter().map(|p| (p.partition_index, p.partition_size > 0, p.offset_lag));
            (topic.name.clone(), sizes.collect::<Vec<_>>())
        };
        response.results[0].topics.iter().map(describe).collect::<Vec<_>>()
    };
    let t = "t".to_owned();
    let offsets = "__consumer_offsets".to_owned();
    let both = vec![(0, false, 0), (1, true, 0)];
    assert_eq!(of(None), [(offsets, vec![(0, false, 0)]), (t.clone(), both)]);
    let wanted = log_dirs::Topic { topic: t.clone(), partitions: vec![1, 9], ..log_dirs::Topic::default() };
    assert_eq!(of(Some(vec![wanted])), [(t, vec![(1, true, 0)])]);
    assert_eq!(of(Some(vec![])), []);
}

#[test]
fn requests_for_transactional_ids_are_checked_first() {
    let harness = Harness::new();
    let check = |request: &InitProducerIdRequest, expected: ErrorCode| {
        let response = harness.call(5, request, at(0));
        assert_eq!(ErrorCode::from_code(response.error_code), Some(expected));
        assert_eq!((response.producer_id, response.producer_epoch), (-1, -1));
    };
    let of = |transactional_id: &str, transaction_timeout_ms| InitProducerIdRequest {
        transactional_id: Some(transactional_id.to_owned()),
        transaction_timeout_ms,
        ..InitProducerIdRequest::default()
    };
    check(&of("x", 60_000), ErrorCode::CoordinatorNotAvailable);
    check(&of("", 60_000), ErrorCode::InvalidRequest);
    for timeout_ms in [0, -1, 900_001] {
        check(&of("x", timeout_ms), ErrorCode::InvalidTransactionTimeout);
    }
    let half = InitProducerIdRequest { producer_id: 5, producer_epoch: -1, ..of("x", 60_000) };
    check(&half, ErrorCode::InvalidRequest);
}

#[test]
fn producers_are_told_to_try_again_without_a_controller() {
    let harness = Harness::new();
    let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    let first = harness.send(5, &request, at(0));
    let second = harness.send(5, &request, at(0));
    assert!(harness.reply(&first).is_none());
    harness.refuse_controller_requests();
    for sent in [first, second] {
        let response = harness.response(&sent).expect("it is answered");
        assert_eq!(response.error_code, ErrorCode::CoordinatorLoadInProgress.code());
    }
}

#[test]
fn a_directory_that_fails_takes_no_replica_with_it_that_is_in_another_one() {
    let harness = Harness::new();
    let partitions = vec![TopicPartition::new("t", 0)];
    let failed = |dir: &str| DirFailed {
        dir: dir.into(),
        dir_id: None,
        partitions: partitions.clone(),
        future_partitions: Vec::new(),
        why: "it was in use".to_owned(),
    };
    // It was made anew in between.
    harness.node.dir_failed(&failed("/other"), at(0));
    append(&harness, 0, &["a"], 0);
    harness.node.dir_failed(&failed("/data"), at(0));
    assert!(harness.node.replicas.is_offline(&"t".into(), 0));
}
