//! Transactions with a part in other brokers, which the test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_record::BatchOptions;
use ottla_types::{
    CONSUMER_OFFSETS_TOPIC, NodeId, ProducerEpoch, ProducerId, SHARE_GROUP_STATE_TOPIC,
    TRANSACTION_STATE_TOPIC,
};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, DescribeTransactionsRequest, EndTxnRequest,
    InitProducerIdRequest, WriteTxnMarkersRequest, WriteTxnMarkersResponse, add_partitions_to_txn_request,
    add_partitions_to_txn_response, write_txn_markers_request, write_txn_markers_response,
};
use parking_lot::Mutex;

use super::harness::{Harness, LOCAL, OTHER, TOPIC_ID, at, batch_with};
use crate::node::Hooks;
use crate::transactions::{Answered, OtherBrokers};

const ID: &str = "transactional-id";

/// Requests to other brokers, until the test answers them.
#[derive(Default)]
struct Brokers {
    markers: Mutex<Vec<(NodeId, WriteTxnMarkersRequest, Answered<WriteTxnMarkersResponse>)>>,
    partitions: Mutex<Vec<(NodeId, AddPartitionsToTxnRequest, Answered<AddPartitionsToTxnResponse>)>>,
}

impl OtherBrokers for Brokers {
    fn write_txn_markers(
        &self,
        broker: NodeId,
        request: WriteTxnMarkersRequest,
        done: Answered<WriteTxnMarkersResponse>,
    ) {
        self.markers.lock().push((broker, request, done));
    }

    fn add_partitions_to_txn(
        &self,
        broker: NodeId,
        request: AddPartitionsToTxnRequest,
        done: Answered<AddPartitionsToTxnResponse>,
    ) {
        self.partitions.lock().push((broker, request, done));
    }
}

impl Brokers {
    /// Answers the one marker that waits; says which producer epoch it ends.
    fn answer_marker(&self, code: ErrorCode) -> i16 {
        let (broker, request, done) = self.markers.lock().remove(0);
        assert_eq!((broker, request.markers.len()), (NodeId(OTHER), 1));
        let marker = &request.markers[0];
        assert_eq!((marker.topics.len(), marker.topics[0].name.as_str()), (1, "elsewhere"));
        let partition = write_txn_markers_response::Partition {
            partition_index: 0,
            error_code: code.code(),
            ..Default::default()
        };
        let topic = write_txn_markers_response::Topic {
            name: "elsewhere".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let answered = write_txn_markers_response::Marker { topics: vec![topic], ..Default::default() };
        let epoch = marker.producer_epoch;
        done(Ok(WriteTxnMarkersResponse { markers: vec![answered], ..Default::default() }));
        epoch
    }

    /// Answers the one question about `t-0` that waits; says whether the partition may be added.
    fn answer_partition(&self, code: Result<ErrorCode, ErrorCode>) -> bool {
        let (broker, request, done) = self.partitions.lock().remove(0);
        assert_eq!((broker, request.transactions.len()), (NodeId(OTHER), 1));
        let asked = &request.transactions[0];
        assert_eq!((asked.transactional_id.as_str(), asked.topics[0].name.as_str()), (ID, "t"));
        let adds = !asked.verify_only;
        done(code.map(|code| {
            let partition = add_partitions_to_txn_response::TopicResultResultByPartition {
                partition_index: 0,
                partition_error_code: code.code(),
                ..Default::default()
            };
            let topic = add_partitions_to_txn_response::TopicResult {
                name: "t".to_owned(),
                results_by_partition: vec![partition],
                ..Default::default()
            };
            let result = add_partitions_to_txn_response::ResultByTransaction {
                transactional_id: ID.to_owned(),
                topic_results: vec![topic],
                ..Default::default()
            };
            AddPartitionsToTxnResponse { results_by_transaction: vec![result], ..Default::default() }
        }));
        adds
    }
}

fn harness(settings: &[(&str, &str)], coordinator: i32) -> (Harness, Arc<Brokers>) {
    let brokers = Arc::new(Brokers::default());
    let hooks = Hooks { brokers: Arc::clone(&brokers) as _, ..Hooks::default() };
    (Harness::with_transactions(settings, coordinator, hooks), brokers)
}

fn init(harness: &Harness) -> (i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let response = harness.call(5, &request, at(0));
    assert_eq!(response.error_code, 0);
    (response.producer_id, response.producer_epoch)
}

fn add(harness: &Harness, producer: (i64, i16), topic: &str) {
    assert_eq!(codes_of_adding(harness, producer, &[topic]), [ErrorCode::None]);
}

/// As a client asks for it.
fn codes_of_adding(harness: &Harness, (id, epoch): (i64, i16), topics: &[&str]) -> Vec<ErrorCode> {
    let topic = |name: &&str| add_partitions_to_txn_request::V3AndBelowTopic {
        name: (*name).to_owned(),
        partitions: vec![0],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.to_owned(),
        v3_and_below_producer_id: id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: topics.iter().map(topic).collect(),
        ..Default::default()
    };
    let answered = harness.call(3, &request, at(0)).results_by_topic_v3_and_below;
    let codes = answered.iter().flat_map(|topic| &topic.results_by_partition);
    codes.map(|result| ErrorCode::from_code(result.partition_error_code).expect("a known code")).collect()
}

/// As another broker asks for it.
fn code_of_brokers_adding(harness: &Harness, (id, epoch): (i64, i16), topic: &str) -> ErrorCode {
    let topic = add_partitions_to_txn_request::Topic {
        name: topic.to_owned(),
        partitions: vec![0],
        ..Default::default()
    };
    let transaction = add_partitions_to_txn_request::Transaction {
        transactional_id: ID.to_owned(),
        producer_id: id,
        producer_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() };
    let answered = harness.call(5, &request, at(0)).results_by_transaction.remove(0);
    let code = answered.topic_results[0].results_by_partition[0].partition_error_code;
    ErrorCode::from_code(code).expect("a known code")
}

fn end(harness: &Harness, (id, epoch): (i64, i16)) -> (i64, i16) {
    let request = EndTxnRequest {
        transactional_id: ID.to_owned(),
        producer_id: id,
        producer_epoch: epoch,
        committed: true,
        ..EndTxnRequest::default()
    };
    let response = harness.call(5, &request, at(0));
    assert_eq!(response.error_code, 0);
    (response.producer_id, response.producer_epoch)
}

fn status(harness: &Harness) -> String {
    let request =
        DescribeTransactionsRequest { transactional_ids: vec![ID.to_owned()], ..Default::default() };
    harness.call(0, &request, at(0)).transaction_states.remove(0).transaction_state
}

/// A batch for `t-0`.
fn produce(version: i16, producer: (i64, i16)) -> ProduceRequest {
    produce_from(0, version, producer)
}

fn produce_from(base_sequence: i32, version: i16, (id, epoch): (i64, i16)) -> ProduceRequest {
    let options = BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        transactional: true,
        ..BatchOptions::default()
    };
    let data =
        PartitionData { index: 0, records: Some(batch_with(options, &["a"])), ..PartitionData::default() };
    let mut topic = TopicData { partition_data: vec![data], ..TopicData::default() };
    if version < 13 {
        topic.name = "t".to_owned();
    } else {
        topic.topic_id = TOPIC_ID;
    }
    ProduceRequest {
        transactional_id: Some(ID.to_owned()),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    }
}

/// Commits the transaction in `t-0`, as its coordinator does.
fn mark(harness: &Harness, transaction_version: i8, producer: (i64, i16)) {
    assert_eq!(marker_code(harness, marker_in("t", transaction_version, producer)), 0);
}

fn marker_in(
    topic: &str,
    transaction_version: i8,
    (producer_id, producer_epoch): (i64, i16),
) -> write_txn_markers_request::Marker {
    let topic = write_txn_markers_request::Topic {
        name: topic.to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    write_txn_markers_request::Marker {
        producer_id,
        producer_epoch,
        transaction_result: true,
        topics: vec![topic],
        transaction_version,
        ..Default::default()
    }
}

fn marker_code(harness: &Harness, marker: write_txn_markers_request::Marker) -> i16 {
    let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
    let response = harness.call(2, &request, at(0));
    response.markers[0].topics[0].partitions[0].error_code
}

fn code_of(response: &ottla_wire::messages::ProduceResponse) -> ErrorCode {
    ErrorCode::from_code(response.responses[0].partition_responses[0].error_code).expect("a known code")
}

/// A marker among what a coordinator keeps: Apache Kafka would not load that any more.
#[test]
fn no_internal_topic_takes_part_in_a_clients_transaction() {
    use ErrorCode::{None, OperationNotAttempted, TopicAuthorizationFailed};
    let (harness, _) = harness(&[], LOCAL);
    let producer = init(&harness);
    for internal in [TRANSACTION_STATE_TOPIC, SHARE_GROUP_STATE_TOPIC, CONSUMER_OFFSETS_TOPIC] {
        let codes = codes_of_adding(&harness, producer, &["t", internal]);
        assert_eq!(codes, [OperationNotAttempted, TopicAuthorizationFailed], "{internal}");
    }
    assert_eq!(status(&harness), "Empty");
    for internal in [TRANSACTION_STATE_TOPIC, SHARE_GROUP_STATE_TOPIC] {
        assert_eq!(code_of_brokers_adding(&harness, producer, internal), TopicAuthorizationFailed);
    }
    assert_eq!(code_of_brokers_adding(&harness, producer, "t"), None);
    assert_eq!(status(&harness), "Ongoing");
}

#[test]
fn markers_go_to_the_brokers_that_lead_until_all_are_written() {
    let (harness, brokers) = harness(&[], LOCAL);
    let producer = init(&harness);
    add(&harness, producer, "t");
    add(&harness, producer, "elsewhere");
    let next = end(&harness, producer);
    assert_eq!(brokers.answer_marker(ErrorCode::NotLeaderOrFollower), next.1);
    assert_eq!(status(&harness), "PrepareCommit");
    harness.node.tick(at(99));
    assert!(brokers.markers.lock().is_empty());
    harness.node.tick(at(100));
    brokers.answer_marker(ErrorCode::None);
    assert_eq!(status(&harness), "CompleteCommit");
}

/// When a produce is told that the transaction before is still being ended, in milliseconds.
fn given_up_after_ms(settings: &[(&str, &str)]) -> u64 {
    let (harness, brokers) = harness(settings, LOCAL);
    let producer = init(&harness);
    add(&harness, producer, "elsewhere");
    let next = end(&harness, producer);
    let sent = harness.send(13, &produce(13, next), at(0));
    for ms in (0..=1000).step_by(5) {
        // Its markers are written again and again.
        while brokers.markers.lock().pop().is_some() {}
        harness.node.tick(at(ms));
        if let Some(response) = harness.response(&sent) {
            assert_eq!(code_of(&response), ErrorCode::ConcurrentTransactions);
            return ms;
        }
    }
    panic!("no answer");
}

#[test]
fn a_produce_waits_a_while_for_the_end_of_the_transaction_before() {
    let backoff = |ms| ("add.partitions.to.txn.retry.backoff.ms", ms);
    let backoff_max = |ms| ("add.partitions.to.txn.retry.backoff.max.ms", ms);
    assert_eq!(given_up_after_ms(&[]), 100);
    assert_eq!(given_up_after_ms(&[backoff("60")]), 120);
    assert_eq!(given_up_after_ms(&[backoff_max("40")]), 40);
    assert_eq!(given_up_after_ms(&[backoff_max("0")]), 0);
    let (harness, brokers) = harness(&[], LOCAL);
    let producer = init(&harness);
    add(&harness, producer, "elsewhere");
    let next = end(&harness, producer);
    let sent = harness.send(13, &produce(13, next), at(0));
    brokers.answer_marker(ErrorCode::None);
    assert!(harness.response(&sent).is_none(), "nobody has asked again");
    harness.node.tick(at(20));
    assert_eq!(code_of(&harness.response(&sent).expect("it goes on")), ErrorCode::None);
}

#[test]
fn a_coordinator_elsewhere_is_asked_before_a_transaction_begins_in_a_partition() {
    let cases = [
        (11, Ok(ErrorCode::None), ErrorCode::None),
        (13, Ok(ErrorCode::None), ErrorCode::None),
        (10, Ok(ErrorCode::TransactionAbortable), ErrorCode::InvalidTxnState),
        (11, Ok(ErrorCode::TransactionAbortable), ErrorCode::TransactionAbortable),
        (12, Ok(ErrorCode::ProducerFenced), ErrorCode::InvalidProducerEpoch),
        (12, Ok(ErrorCode::NotCoordinator), ErrorCode::NotEnoughReplicas),
        (11, Ok(ErrorCode::ConcurrentTransactions), ErrorCode::NotEnoughReplicas),
        (12, Err(ErrorCode::NetworkException), ErrorCode::NotEnoughReplicas),
    ];
    for (version, answer, expected) in cases {
        let (harness, brokers) = harness(&[], OTHER);
        let sent = harness.send(version, &produce(version, (7, 0)), at(0));
        assert!(harness.response(&sent).is_none(), "nothing is appended unasked");
        assert_eq!(brokers.answer_partition(answer), version >= 12);
        assert_eq!(code_of(&harness.response(&sent).expect("an answer")), expected, "{version} {answer:?}");
    }
}

#[test]
fn a_transaction_begins_though_the_marker_of_the_one_before_comes_meanwhile() {
    // Before version 2, a producer goes on in the same epoch: with a client that adds no partitions any more, so may one that
    // has its level raised.
    for (version, marker_version, next) in [(13, 2, (7, 1)), (11, 0, (7, 0))] {
        let (harness, brokers) = harness(&[], OTHER);
        let first = harness.send(version, &produce(version, (7, 0)), at(0));
        brokers.answer_partition(Ok(ErrorCode::None));
        assert_eq!(code_of(&harness.response(&first).expect("an answer")), ErrorCode::None);
        let sequence = if next.1 == 0 { 1 } else { 0 };
        let sent = harness.send(13, &produce_from(sequence, 13, next), at(0));
        mark(&harness, marker_version, next);
        // Whoever asks for a guard anew asks the coordinator once more.
        while !brokers.partitions.lock().is_empty() {
            assert!(harness.response(&sent).is_none(), "it waits for the coordinator");
            assert!(brokers.answer_partition(Ok(ErrorCode::None)));
        }
        assert_eq!(code_of(&harness.response(&sent).expect("an answer")), ErrorCode::None, "{version}");
    }
}

#[test]
fn a_coordinator_whose_log_holds_what_it_has_not_written_is_brought_back() {
    let rings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rings);
    let shards_to_load = Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let hooks = Hooks { shards_to_load, ..Hooks::default() };
    let harness = Harness::with_transactions(&[], LOCAL, hooks);
    let first = init(&harness);
    let rings_before = rings.load(Ordering::Relaxed);
    // Nothing of a transaction's is there to be ended.
    let marker = marker_in(TRANSACTION_STATE_TOPIC, 2, (4711, 1));
    assert_eq!(marker_code(&harness, marker), 0);
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    assert_eq!(harness.call(5, &request, at(0)).error_code, ErrorCode::NotCoordinator.code());
    harness.node.tick(at(0));
    assert_eq!(rings.load(Ordering::Relaxed), rings_before + 1, "whoever loads logs is told");
    while harness.node.load_next_shard(|| at(0)) {}
    assert!(init(&harness).1 > first.1);
}
