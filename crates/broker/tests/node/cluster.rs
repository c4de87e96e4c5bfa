//! What clients do with the cluster as a whole, and with partitions.

use std::sync::Arc;

use ottla_broker::exchange::{Connection, Held, Reply, ReplySink, ReplySlot};
use ottla_types::NodeId;
use ottla_wire::messages::*;
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, Request, decode_response, encode_request};
use parking_lot::Mutex;

use crate::harness::{self, NODE, SteppedNode};
use crate::topics::{create, metadata};

#[test]
fn partitions_are_added_and_stay() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let to = |count| CreatePartitionsRequest {
        topics: vec![create_partitions_request::Topic {
            name: "a".into(),
            count,
            assignments: None,
            ..Default::default()
        }],
        timeout_ms: 1000,
        ..CreatePartitionsRequest::default()
    };
    assert_eq!(node.ask(&to(3), 3).results[0].error_code, 0);
    assert_eq!(node.node.logs().logs().len(), 3);
    let fewer = node.ask(&to(2), 3);
    assert_eq!(fewer.results[0].error_code, ErrorCode::InvalidPartitions.code());
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    let found = metadata(&mut node, &["a"], false);
    let led = found.topics[0].partitions.iter().filter(|partition| partition.leader_id == NODE.0);
    assert_eq!(led.count(), 3);
}

fn feature_level(node: &mut SteppedNode, name: &str) -> Option<i16> {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let versions = node.ask(&request, 4);
    versions.finalized_features.iter().find(|f| f.name == name).map(|f| f.max_version_level)
}

#[test]
fn features_are_updated_for_good() {
    let mut node = SteppedNode::start(&[]);
    let update = |name: &str, level, upgrade_type| UpdateFeaturesRequest {
        feature_updates: vec![update_features_request::FeatureUpdate {
            feature: name.to_owned(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        }],
        ..UpdateFeaturesRequest::default()
    };
    let before = feature_level(&mut node, "group.version");
    let level = i16::from(before != Some(1));
    let kind = if level == 1 { 1 } else { 2 };
    let updated = node.ask(&update("group.version", level, kind), 2);
    assert_eq!(updated.error_code, 0, "{:?}", updated.error_message);
    assert_eq!(feature_level(&mut node, "group.version").unwrap_or(0), level);
    let refused = node.ask(&update("no.such.feature", 1, 1), 2);
    assert_ne!(refused.error_code, 0);
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!(feature_level(&mut node, "group.version").unwrap_or(0), level);
}

#[test]
fn the_quorum_is_described_by_its_leader() {
    let mut node = SteppedNode::start(&[]);
    let asked = |topic: &str| DescribeQuorumRequest {
        topics: vec![describe_quorum_request::Topic {
            topic_name: topic.to_owned(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..DescribeQuorumRequest::default()
    };
    let described = node.ask(&asked("__cluster_metadata"), 2);
    let partition = &described.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (0, NODE.0));
    assert_eq!((partition.current_voters.len(), partition.observers.len()), (1, 0));
    assert!(partition.high_watermark > 0);
    let unknown = node.ask(&asked("a"), 2);
    let code = unknown.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn an_election_that_is_not_needed_is_not_held() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let request = ElectLeadersRequest {
        topic_partitions: Some(vec![elect_leaders_request::TopicPartition {
            topic: "a".into(),
            partitions: vec![0, 1],
            ..Default::default()
        }]),
        ..ElectLeadersRequest::default()
    };
    let elected = node.ask(&request, 2);
    let results = &elected.replica_election_results[0].partition_result;
    let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
    let expected = [ErrorCode::ElectionNotNeeded, ErrorCode::UnknownTopicOrPartition];
    assert_eq!(codes, expected.map(ErrorCode::code));
}

#[test]
fn a_broker_that_is_not_there_cannot_be_unregistered() {
    let mut node = SteppedNode::start(&[]);
    let request = UnregisterBrokerRequest { broker_id: 9, ..UnregisterBrokerRequest::default() };
    assert_eq!(node.ask(&request, 0).error_code, ErrorCode::BrokerIdNotRegistered.code());
}

#[test]
fn replicas_stay_where_no_other_broker_is() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let to = |replicas: Vec<i32>| AlterPartitionReassignmentsRequest {
        topics: vec![alter_partition_reassignments_request::Topic {
            name: "a".into(),
            partitions: vec![alter_partition_reassignments_request::Partition {
                partition_index: 0,
                replicas: Some(replicas),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    assert_ne!(node.ask(&to(vec![2]), 0).responses[0].partitions[0].error_code, 0);
    assert_eq!(node.ask(&to(vec![1]), 0).responses[0].partitions[0].error_code, 0);
    let all = ListPartitionReassignmentsRequest { topics: None, timeout_ms: 1000, ..Default::default() };
    let listed = node.ask(&all, 0);
    assert_eq!((listed.error_code, listed.topics.len()), (0, 0));
}

#[test]
fn every_version_of_an_empty_request_is_answered() {
    fn check<R: Request + Default>(node: &mut SteppedNode) {
        let facts = R::API_KEY.facts();
        for version in facts.schema_versions.expect("it is served").iter() {
            node.ask(&R::default(), version);
        }
    }
    let node = &mut SteppedNode::start(&[]);
    create(node, "a", 1, &[("retention.ms", "5")]);
    check::<MetadataRequest>(node);
    check::<CreateTopicsRequest>(node);
    check::<DeleteTopicsRequest>(node);
    check::<CreatePartitionsRequest>(node);
    check::<DescribeConfigsRequest>(node);
    check::<AlterConfigsRequest>(node);
    check::<IncrementalAlterConfigsRequest>(node);
    check::<ListConfigResourcesRequest>(node);
    check::<ElectLeadersRequest>(node);
    check::<AlterPartitionReassignmentsRequest>(node);
    check::<ListPartitionReassignmentsRequest>(node);
    check::<DescribeQuorumRequest>(node);
    check::<UpdateFeaturesRequest>(node);
    check::<UnregisterBrokerRequest>(node);
    check::<DescribeClusterRequest>(node);
    check::<DescribeTopicPartitionsRequest>(node);
}

#[derive(Debug, Default)]
struct Sink(Mutex<Option<Reply>>);

impl ReplySink for Sink {
    fn reply(&self, _: u64, reply: Reply) {
        *self.0.lock() = Some(reply);
    }
}

/// Asks on the controller's listener.
fn ask_controller<R: Request>(node: &mut SteppedNode, request: &R, version: i16) -> R::Response {
    let connection = Arc::new(Connection {
        id: 2,
        listener: "CONTROLLER".into(),
        is_controller_listener: true,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        host: "/127.0.0.1".into(),
        software: Default::default(),
        held: Held::default(),
    });
    let frame = encode_request(1, Some("test"), request, version).unwrap().bytes;
    let sink = Arc::new(Sink::default());
    let slot = ReplySlot::new(Arc::clone(&sink) as _, 0);
    node.deliver(&connection, frame.slice(FRAME_LENGTH_BYTES..), slot);
    for _ in 0..10 {
        node.pass_ms(10);
    }
    let Some(Reply::Send(frame)) = sink.0.lock().take() else { panic!("no response") };
    let bytes = harness::collect(&frame).unwrap();
    decode_response::<R::Response>(bytes.slice(FRAME_LENGTH_BYTES..), version).unwrap().1
}

#[test]
fn controllers_answer_on_their_own_listener() {
    let mut node = SteppedNode::start(&[]);
    let about = |endpoint_type| DescribeClusterRequest { endpoint_type, ..Default::default() };
    let described = ask_controller(&mut node, &about(2), 2);
    assert_eq!((described.error_code, described.controller_id), (0, NODE.0));
    let mismatched = ask_controller(&mut node, &about(1), 2);
    assert_eq!(mismatched.error_code, ErrorCode::MismatchedEndpointType.code());
    let created = ask_controller(&mut node, &crate::topics::new_topic("a", 1, &[]), 7);
    assert_eq!(created.topics[0].error_code, 0);
    assert_eq!(NodeId(metadata(&mut node, &["a"], false).topics[0].partitions[0].leader_id), NODE);
}
