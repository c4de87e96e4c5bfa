//! When this node coordinates groups, and when it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_log::producer_state::VerificationGuard;
use ottla_types::{CONSUMER_OFFSETS_TOPIC, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::OffsetCommitRequest;
use ottla_wire::messages::offset_commit_request::{Partition, Topic};
use ottla_wire::records::{MetadataRecord, PartitionChangeRecord, RemoveTopicRecord, UnregisterBrokerRecord};

use super::harness::{Harness, LOCAL, OFFSETS_ID, OTHER, at, batch, broker_as, partition, topic};
use crate::node::Hooks;

/// What is told who commits an offset.
fn commit(harness: &Harness) -> ErrorCode {
    let committed = Partition { partition_index: 0, committed_offset: 7, ..Partition::default() };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        topics: vec![Topic { name: "t".to_owned(), partitions: vec![committed], ..Topic::default() }],
        ..OffsetCommitRequest::default()
    };
    let code = harness.call(8, &request, at(1)).topics[0].partitions[0].error_code;
    ErrorCode::from_code(code).expect("it is known")
}

fn registered() -> Harness {
    let harness = Harness::new();
    harness.publish(&[broker_as(LOCAL, harness.node.registration.incarnation_id)]);
    assert_eq!(commit(&harness), ErrorCode::None);
    harness
}

fn led_elsewhere() -> MetadataRecord {
    MetadataRecord::PartitionChange(PartitionChangeRecord {
        topic_id: OFFSETS_ID,
        partition_id: 0,
        replicas: Some(vec![OTHER]),
        isr: Some(vec![OTHER]),
        leader: OTHER,
        ..PartitionChangeRecord::default()
    })
}

fn removed() -> MetadataRecord {
    MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: OFFSETS_ID, ..Default::default() })
}

/// After these records nothing is coordinated here that was before; returns what is told who commits an offset.
fn after(records: &[MetadataRecord]) -> ErrorCode {
    let harness = registered();
    harness.publish(records);
    commit(&harness)
}

#[test]
fn who_does_not_lead_the_partition_of_a_group_does_not_coordinate_it() {
    assert_eq!(after(&[led_elsewhere()]), ErrorCode::NotCoordinator);
}

#[test]
fn a_process_that_the_metadata_do_not_know_coordinates_nothing() {
    let unregistered = MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
        broker_id: LOCAL,
        broker_epoch: 1,
        ..UnregisterBrokerRecord::default()
    });
    assert_eq!(after(&[unregistered, led_elsewhere()]), ErrorCode::NotCoordinator);
    let another = broker_as(LOCAL, Uuid([1; 16]));
    assert_eq!(after(&[another.clone(), led_elsewhere()]), ErrorCode::NotCoordinator);
    // What the other process leads is none of this one's.
    assert_eq!(after(&[another]), ErrorCode::NotCoordinator);
}

#[test]
fn a_topic_that_is_gone_takes_its_groups_with_it() {
    assert_eq!(after(&[removed()]), ErrorCode::NotCoordinator);
    let another = Uuid([77; 16]);
    let again = [topic(CONSUMER_OFFSETS_TOPIC, another), partition(another, 0, LOCAL)];
    let in_one = [&[removed()], &again[..]].concat();
    assert_eq!(after(&in_one), ErrorCode::CoordinatorLoadInProgress);
    let harness = registered();
    harness.publish(&[removed()]);
    harness.publish(&again);
    assert_eq!(commit(&harness), ErrorCode::CoordinatorLoadInProgress);
}

#[test]
fn a_log_that_others_have_written_to_is_read_again() {
    let rung = Arc::new(AtomicUsize::new(0));
    let of_hook = Arc::clone(&rung);
    let ring = Box::new(move || {
        of_hook.fetch_add(1, Ordering::Relaxed);
    });
    let harness = Harness::with_transactions(&[], OTHER, Hooks { shards_to_load: ring, ..Hooks::default() });
    let replica = harness.node.replicas.partition(CONSUMER_OFFSETS_TOPIC, 0).expect("it is here");
    let foreign = batch(&["of another"]);
    harness
        .node
        .replicas
        .append(replica, &foreign, VerificationGuard::NotNeeded, 0, at(1))
        .expect("it is led here");
    assert_eq!(commit(&harness), ErrorCode::NotCoordinator);
    let before = rung.load(Ordering::Relaxed);
    harness.node.tick(at(3));
    assert_eq!(rung.load(Ordering::Relaxed), before + 1, "whoever reads logs is told that there is one");
    assert_eq!(commit(&harness), ErrorCode::CoordinatorLoadInProgress);
    assert!(harness.node.load_next_shard(|| at(4)));
    assert_eq!(commit(&harness), ErrorCode::None);
}
