//! States of share groups that another broker keeps, which the test plays.

use std::sync::Arc;

use ottla_coordinator::share_state::{Outcome, SharePartitionKey, ShareStateError, StateSummary};
use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ReadShareGroupStateSummaryResponse,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse, read_share_group_state_summary_response as summary,
};
use parking_lot::Mutex;

use super::harness::{Harness, OTHER, TOPIC_ID, at};
use crate::node::Hooks;
use crate::transactions::{Answered, OtherBrokers, ShareStateRequest, ShareStateResponse};

/// Requests to other brokers, until the test answers them.
#[derive(Default)]
struct Brokers(Mutex<Vec<(NodeId, ShareStateRequest, Answered<ShareStateResponse>)>>);

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
        self.0.lock().push((broker, request, done));
    }
}

impl Brokers {
    /// Answers the one request that waits, which asks where a group stands.
    fn answer(&self, answer: Result<(ErrorCode, i64), ErrorCode>) {
        let (broker, request, done) = self.0.lock().remove(0);
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
    let harness = Harness::with_share_states(OTHER, hooks);
    let outcomes: Arc<Mutex<Vec<Outcome<StateSummary>>>> = Arc::default();
    let ask = || {
        let into = Arc::clone(&outcomes);
        let key = SharePartitionKey::new("g", TOPIC_ID, 0);
        let done = Box::new(move |outcome, _| into.lock().push(outcome));
        harness.node.share_groups().states.summarize(key, at(0), done);
    };
    ask();
    brokers.answer(Err(ErrorCode::NetworkException));
    assert!(brokers.0.lock().is_empty(), "not before a while");
    harness.node.tick(at(1_000));
    brokers.answer(Ok((ErrorCode::NotCoordinator, -1)));
    harness.node.tick(at(2_000));
    brokers.answer(Ok((ErrorCode::None, 7)));
    assert_eq!(outcomes.lock().remove(0).map(|summary| summary.start_offset), Ok(7));
    ask();
    brokers.answer(Ok((ErrorCode::UnknownTopicOrPartition, -1)));
    let refused = ShareStateError::of(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(outcomes.lock().remove(0), Err(refused), "that is final");
    ask();
    for tick in 3..20 {
        if !outcomes.lock().is_empty() {
            break;
        }
        brokers.answer(Err(ErrorCode::NetworkException));
        harness.node.tick(at(tick * 20_000));
    }
    let lost = ShareStateError::of(ErrorCode::NetworkException);
    assert_eq!(outcomes.lock().remove(0), Err(lost), "nobody waits for ever");
}
