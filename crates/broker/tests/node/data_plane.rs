//! What clients do with a node whose topics, ids and groups come from a controller.

use std::collections::BTreeSet;

use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_commit_request as commit;
use ottla_wire::messages::offset_fetch_request as fetch;
use ottla_wire::messages::{
    FindCoordinatorRequest, InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use crate::harness::{NODE, SteppedNode};

const OFFSETS: &str = "__consumer_offsets";

fn producer_id(node: &mut SteppedNode) -> i64 {
    let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    let response = node.ask(&request, 5);
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    response.producer_id
}

#[test]
fn no_two_producers_have_the_same_id() {
    let mut node = SteppedNode::start(&[]);
    let mut ids: BTreeSet<_> = (0..2500).map(|_| producer_id(&mut node)).collect();
    assert_eq!(ids.len(), 2500);
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert!(ids.insert(producer_id(&mut node)), "a restarted node begins a new block");
}

/// Asks until the coordinator is there, as clients do.
pub fn find_coordinator(node: &mut SteppedNode) {
    for _ in 0..100 {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec!["g".to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let response = node.ask(&request, 6);
        let found = &response.coordinators[0];
        if found.error_code == 0 {
            assert_eq!((found.node_id, found.port), (NODE.0, 9092));
            return;
        }
        assert_eq!(found.error_code, ErrorCode::CoordinatorNotAvailable.code());
        node.pass_ms(100);
    }
    panic!("no coordinator was found");
}

pub fn commit(node: &mut SteppedNode, committed_offset: i64) -> i16 {
    let partition = commit::Partition { committed_offset, ..commit::Partition::default() };
    let topic =
        commit::Topic { name: OFFSETS.to_owned(), partitions: vec![partition], ..commit::Topic::default() };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    node.ask(&request, 9).topics[0].partitions[0].error_code
}

/// The first partition's offset, once the coordinator has read its log.
pub fn committed(node: &mut SteppedNode) -> i64 {
    let topic = fetch::GroupTopic {
        name: OFFSETS.to_owned(),
        partition_indexes: vec![0],
        ..fetch::GroupTopic::default()
    };
    let group =
        fetch::Group { group_id: "g".to_owned(), topics: Some(vec![topic]), ..fetch::Group::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let response = node.ask(&request, 9);
    assert_eq!(response.groups[0].error_code, 0);
    response.groups[0].topics[0].partitions[0].committed_offset
}

#[test]
fn the_first_group_brings_the_topic_of_offsets_and_a_restart_keeps_them() {
    let mut node = SteppedNode::start(&[]);
    find_coordinator(&mut node);
    assert_eq!(commit(&mut node, 41), 0);
    assert_eq!(commit(&mut node, 42), 0);
    assert_eq!(committed(&mut node), 42);
    let (disk, now) = node.stop();
    let mut node = SteppedNode::start_on(disk, &[], now);
    find_coordinator(&mut node);
    assert_eq!(committed(&mut node), 42);
}
