//! States of share groups that another broker keeps, which the test plays.

use std::sync::Arc;

use ottla_coordinator::share_state::{Outcome, SharePartitionKey, ShareStateError, StateSummary};
use ottla_metadata::Feature;
use ottla_types::{NodeId, Now, SHARE_GROUP_STATE_TOPIC};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, FetchRequest, InitializeShareGroupStateRequest,
    ListOffsetsRequest, ListOffsetsResponse, ReadShareGroupStateSummaryResponse, ShareFetchRequest,
    ShareFetchResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse, fetch_request as fetch,
    initialize_share_group_state_request as initialize, list_offsets_response as list,
    read_share_group_state_summary_response as summary, share_fetch_request as share_fetch_parts,
};
use parking_lot::Mutex;

use super::fetch::append;
use super::harness::{
    ELSEWHERE_ID, Harness, LOCAL, OTHER, SHARE_STATES_ID, TOPIC_ID, UNKNOWN_ID, at, feature,
};
use crate::node::Hooks;
use crate::transactions::{Answered, OtherBrokers, ShareStateRequest, ShareStateResponse};

/// An outcome, and when it came.
type Told = (Outcome<StateSummary>, Now);

/// Requests to other brokers, until the test answers them.
#[derive(Default)]
struct Brokers {
    states: Mutex<Vec<(NodeId, ShareStateRequest, Answered<ShareStateResponse>)>>,
    ends: Mutex<Vec<(NodeId, ListOffsetsRequest, Answered<ListOffsetsResponse>)>>,
}

impl OtherBrokers for Brokers {
    fn write_txn_markers(&self, _: NodeId, _: WriteTxnMarkersRequest, _: Answered<WriteTxnMarkersResponse>) {
        panic!("there are no transactions");
    }

    fn add_partitions_to_txn(
        &self,
        _: NodeId,
        _: AddPartitionsToTxnRequest,
        _: Answered<AddPartitionsToTxnResponse>,
    ) {
        panic!("there are no transactions");
    }

    fn share_state(&self, broker: NodeId, request: ShareStateRequest, done: Answered<ShareStateResponse>) {
        self.states.lock().push((broker, request, done));
    }

    fn list_offsets(&self, broker: NodeId, request: ListOffsetsRequest, done: Answered<ListOffsetsResponse>) {
        self.ends.lock().push((broker, request, done));
    }
}

impl Brokers {
    /// Answers the one request that waits, which asks where a group stands.
    fn answer(&self, answer: Result<(ErrorCode, i64), ErrorCode>) {
        let (broker, request, done) = self.states.lock().remove(0);
        assert_eq!(broker, NodeId(OTHER));
        let ShareStateRequest::Summarize(request) = request else { panic!("{request:?}") };
        assert_eq!((request.group_id.as_str(), request.topics[0].partitions[0].partition), ("g", 0));
        done(answer.map(|(code, start_offset)| {
            let partition =
                summary::Partition { error_code: code.code(), start_offset, ..summary::Partition::default() };
            let result = summary::Result { partitions: vec![partition], ..summary::Result::default() };
            let response = ReadShareGroupStateSummaryResponse { results: vec![result], ..Default::default() };
            ShareStateResponse::Summarize(response)
        }));
    }
}

#[test]
fn what_another_broker_keeps_is_asked_of_it_until_it_can_answer() {
    let brokers = Arc::new(Brokers::default());
    let hooks = Hooks { brokers: Arc::clone(&brokers) as _, ..Hooks::default() };
    let harness = Harness::with_share_states(&[], OTHER, hooks);
    let outcomes: Arc<Mutex<Vec<Told>>> = Arc::default();
    let ask = || {
        let into = Arc::clone(&outcomes);
        let key = SharePartitionKey::new("g", TOPIC_ID, 0);
        let done = Box::new(move |outcome, now| into.lock().push((outcome, now)));
        harness.node.share_groups().states.summarize(key, at(0), done);
    };
    ask();
    brokers.answer(Err(ErrorCode::NetworkException));
    harness.node.tick(at(30_000));
    assert!(brokers.states.lock().is_empty(), "not before a while after the answer, which took long");
    harness.node.tick(at(31_000));
    brokers.answer(Ok((ErrorCode::NotCoordinator, -1)));
    harness.node.tick(at(31_000));
    harness.node.tick(at(32_000));
    brokers.answer(Ok((ErrorCode::None, 7)));
    assert!(outcomes.lock().is_empty(), "not before it is known what time it is");
    harness.node.tick(at(40_000));
    let (summary, told_at) = outcomes.lock().remove(0);
    assert_eq!((summary.map(|summary| summary.start_offset), told_at), (Ok(7), at(40_000)));
    ask();
    brokers.answer(Ok((ErrorCode::UnknownTopicOrPartition, -1)));
    harness.node.tick(at(40_000));
    let refused = ShareStateError::of(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(outcomes.lock().remove(0).0, Err(refused), "that is final");
    ask();
    for tick in 3..20 {
        if !outcomes.lock().is_empty() {
            break;
        }
        brokers.answer(Err(ErrorCode::NetworkException));
        harness.node.tick(at(tick * 40_000));
        harness.node.tick(at(tick * 40_000 + 20_000));
    }
    let lost = ShareStateError::of(ErrorCode::NetworkException);
    assert_eq!(outcomes.lock().remove(0).0, Err(lost), "nobody waits for ever");
}

#[test]
fn the_end_of_a_partition_is_asked_of_its_leader() {
    let brokers = Arc::new(Brokers::default());
    let hooks = Hooks { brokers: Arc::clone(&brokers) as _, ..Hooks::default() };
    let harness = Harness::with_share_states(&[], OTHER, hooks);
    let ends: Arc<Mutex<Vec<Option<i64>>>> = Arc::default();
    let ask = |topic_id| {
        let into = Arc::clone(&ends);
        let done = Box::new(move |end| into.lock().push(end));
        harness.node.share_groups().states.latest_offset(topic_id, 0, done);
    };
    let answer = |answer: Result<(ErrorCode, i64), ErrorCode>| {
        let (broker, request, done) = brokers.ends.lock().remove(0);
        assert_eq!((broker, request.topics[0].name.as_str()), (NodeId(OTHER), "elsewhere"));
        done(answer.map(|(code, offset)| {
            let partition = list::Partition { error_code: code.code(), offset, ..list::Partition::default() };
            let topic = list::Topic { partitions: vec![partition], ..list::Topic::default() };
            ListOffsetsResponse { topics: vec![topic], ..ListOffsetsResponse::default() }
        }));
    };
    ask(ELSEWHERE_ID);
    answer(Ok((ErrorCode::None, 12)));
    ask(ELSEWHERE_ID);
    answer(Ok((ErrorCode::NotLeaderOrFollower, -1)));
    ask(ELSEWHERE_ID);
    answer(Err(ErrorCode::NetworkException));
    ask(UNKNOWN_ID);
    assert_eq!(*ends.lock(), [Some(12), None, None, None]);
    assert!(brokers.ends.lock().is_empty());
}

/// What is told of a state's begin, so many milliseconds after it, that another replica does not take over.
fn begin_in_vain(settings: &[(&str, &str)], ms: u64) -> Option<i16> {
    let harness = Harness::with_share_states(settings, LOCAL, Hooks::default());
    harness.widen_isr(SHARE_STATES_ID, SHARE_GROUP_STATE_TOPIC);
    let partition = initialize::Partition { start_offset: 1, ..initialize::Partition::default() };
    let topic =
        initialize::Topic { topic_id: TOPIC_ID, partitions: vec![partition], ..initialize::Topic::default() };
    let request = InitializeShareGroupStateRequest {
        group_id: "g".to_owned(),
        topics: vec![topic],
        ..InitializeShareGroupStateRequest::default()
    };
    let sent = harness.send(0, &request, at(0));
    harness.node.share.tick(at(ms));
    Some(harness.response(&sent)?.results[0].partitions[0].error_code)
}

#[test]
fn states_wait_for_replicas_as_long_as_the_setting_says() {
    let late = Some(ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!((begin_in_vain(&[], 4999), begin_in_vain(&[], 5001)), (None, late));
    let short = [("share.coordinator.write.timeout.ms", "1000")];
    assert_eq!((begin_in_vain(&short, 999), begin_in_vain(&short, 1001)), (None, late));
}

/// What a member of the group `g` is given of the one partition that it fetches.
fn acquired(response: &ShareFetchResponse) -> Vec<(i64, i64, i16)> {
    assert_eq!(response.error_code, 0);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let acquired = partitions.flat_map(|partition| {
        assert_eq!(partition.error_code, 0);
        &partition.acquired_records
    });
    acquired.map(|of| (of.first_offset, of.last_offset, of.delivery_count)).collect()
}

fn share_fetch(member_id: &str, share_session_epoch: i32, max_wait_ms: i32) -> ShareFetchRequest {
    let topic = share_fetch_parts::Topic {
        topic_id: TOPIC_ID,
        partitions: vec![share_fetch_parts::Partition::default()],
        ..share_fetch_parts::Topic::default()
    };
    ShareFetchRequest {
        group_id: Some("g".to_owned()),
        member_id: Some(member_id.to_owned()),
        share_session_epoch,
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 500,
        batch_size: 500,
        topics: vec![topic],
        ..ShareFetchRequest::default()
    }
}

/// What the replica of share groups' states that lags behind asks for when it has all that there is.
fn caught_up(harness: &Harness) -> FetchRequest {
    let states = harness.node.replicas.partition(SHARE_GROUP_STATE_TOPIC, 0).expect("it is here");
    let partition = fetch::Partition {
        fetch_offset: states.log().log_end_offset().value(),
        current_leader_epoch: -1,
        ..fetch::Partition::default()
    };
    let topic =
        fetch::Topic { topic_id: SHARE_STATES_ID, partitions: vec![partition], ..fetch::Topic::default() };
    let replica_state = fetch::ReplicaState { replica_id: OTHER, ..fetch::ReplicaState::default() };
    FetchRequest { replica_state, session_epoch: -1, topics: vec![topic], ..FetchRequest::default() }
}

/// The share coordinator is in this node, and what a new leader reads is answered when the other replica has it: as late here as
/// a lock lasts.
#[test]
fn locks_begin_when_records_are_given_however_long_the_state_was_waited_for() {
    const LOCK_MS: u64 = 30_000;
    let harness = Harness::with_share_states(
        &[("share.coordinator.write.timeout.ms", "60000")],
        LOCAL,
        Hooks::default(),
    );
    harness.replay(&[feature(Feature::ShareVersion)]);
    append(&harness, 0, &["a"], 0);
    let key = SharePartitionKey::new("g", TOPIC_ID, 0);
    harness.node.share_groups().states.initialize(
        key,
        0,
        0,
        at(0),
        Box::new(|began, _| began.expect("it begins")),
    );
    harness.widen_isr(SHARE_STATES_ID, SHARE_GROUP_STATE_TOPIC);

    let given = LOCK_MS + 1_000;
    let waiting = harness.send(2, &share_fetch("a", 0, 60_000), at(0));
    harness.node.tick(at(given - 1));
    assert!(harness.reply(&waiting).is_none(), "the state is not committed");
    harness.call(18, &caught_up(&harness), at(given));
    harness.node.tick(at(given));
    assert_eq!(acquired(&harness.response(&waiting).expect("there is a record")), [(0, 0, 1)]);

    let other = |epoch, ms| {
        harness.node.tick(at(ms));
        acquired(&harness.call(2, &share_fetch("b", epoch, 0), at(ms)))
    };
    assert_eq!(other(0, given), []);
    assert_eq!(other(1, given + LOCK_MS - 1), []);
    assert_eq!(other(2, given + LOCK_MS + 1), [(0, 0, 2)]);
}
