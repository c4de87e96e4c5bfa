//! Requests for the controller, where the controller is slow or gone.

use ottla_types::MonoMs;
use ottla_wire::messages::create_topics_request::{CreateTopicsRequest, Topic};
use ottla_wire::messages::metadata_request::{self, MetadataRequest};
use ottla_wire::messages::{
    AddRaftVoterRequest, DescribeQuorumRequest, EnvelopeRequest, RemoveRaftVoterRequest,
};
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, Request, encode_request};

use super::harness::{Harness, at};
use crate::principal;

fn request() -> CreateTopicsRequest {
    let topic = Topic { name: "a".into(), num_partitions: 1, replication_factor: 1, ..Topic::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 500, ..CreateTopicsRequest::default() }
}

#[test]
fn who_waits_when_the_node_ends_is_told_to_try_again() {
    let harness = Harness::new();
    let sent = harness.send(7, &request(), at(0));
    assert!(harness.response(&sent).is_none());
    harness.refuse_controller_requests();
    let refused = harness.response(&sent).expect("it is answered");
    assert_eq!(refused.topics[0].error_code, ErrorCode::RequestTimedOut.code());
    assert_eq!(harness.node.deadlines.next(), MonoMs::NEVER);
}

#[test]
fn a_request_waits_for_the_controller_no_longer_than_it_says() {
    let harness = Harness::new();
    let sent = harness.send(7, &request(), at(1000));
    harness.node.deadlines.expire(at(1499));
    assert!(harness.response(&sent).is_none());
    assert_eq!(harness.node.deadlines.next(), at(1500).mono);
    harness.node.deadlines.expire(at(1500));
    let late = harness.response(&sent).expect("it is answered");
    assert_eq!(late.topics[0].error_code, ErrorCode::RequestTimedOut.code());
    // What the controller says later goes nowhere.
    harness.refuse_controller_requests();
    assert!(harness.reply(&sent).is_none());
}

#[test]
fn a_missing_topic_is_asked_for_once_at_a_time() {
    let harness = Harness::new();
    let topic = metadata_request::Topic { name: Some("missing".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() };
    harness.call(12, &request, at(0));
    harness.call(12, &request, at(0));
    assert_eq!(harness.node.controller.take(MonoMs(0)).len(), 1);
    // The answer to the first was lost with the operation: its time runs out.
    harness.call(12, &request, at(10));
    assert_eq!(harness.controller_requests(), 0);
    harness.node.deadlines.expire(at(100_000));
    harness.call(12, &request, at(100_000));
    assert_eq!(harness.controller_requests(), 1);
}

#[test]
fn what_was_asked_for_is_asked_for_again_when_its_time_is_over() {
    let asked_after = |settings: &[(&str, &str)], ms: u64| {
        let harness = Harness::with_settings(settings);
        let topic = metadata_request::Topic { name: Some("missing".into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() };
        harness.call(12, &request, at(0));
        let lost = harness.node.controller.take(MonoMs(0));
        harness.node.deadlines.expire(at(ms));
        harness.call(12, &request, at(ms));
        drop(lost);
        harness.controller_requests()
    };
    assert_eq!((asked_after(&[], 29_000), asked_after(&[], 31_000)), (0, 1));
    let short = [("request.timeout.ms", "1000")];
    assert_eq!((asked_after(&short, 900), asked_after(&short, 1100)), (0, 1));
}

/// Of a client of another broker, as that passes it on.
fn envelope<R: Request>(request: &R, version: i16) -> EnvelopeRequest {
    let frame = encode_request(1, Some("client"), request, version).expect("the version can carry it");
    EnvelopeRequest {
        request_data: frame.bytes.slice(FRAME_LENGTH_BYTES..),
        request_principal: Some(principal::anonymous().expect("it can be encoded")),
        client_host_address: vec![127, 0, 0, 1].into(),
        ..EnvelopeRequest::default()
    }
}

#[test]
fn who_passes_on_what_only_the_leader_of_the_quorum_knows_hears_that_it_is_elsewhere() {
    fn check<R: Request + Default>(version: i16) {
        let harness = Harness::new().of_controllers();
        let sent = harness.send(0, &envelope(&R::default(), version), at(0));
        harness.refuse_quorum_requests();
        harness.refuse_controller_requests();
        let response = harness.response(&sent).expect("it is answered");
        assert_eq!(response.error_code, ErrorCode::NotController.code(), "{}", R::NAME);
        assert_eq!(response.response_data, None);
    }
    check::<DescribeQuorumRequest>(2);
    check::<AddRaftVoterRequest>(1);
    check::<RemoveRaftVoterRequest>(0);
}
