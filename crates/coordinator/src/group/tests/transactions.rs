//! Offsets that are committed as part of a transaction.

use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::messages::txn_offset_commit_request::{Partition, Topic};
use ottla_wire::messages::{
    DeleteGroupsRequest, OffsetFetchRequest, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    offset_fetch_request,
};

use super::offsets::{commit, commit_request, fetch, send_fetch};
use super::*;
use crate::runtime::{Producer, TransactionMarker};

const PRODUCER: Producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(0) };

fn request(offsets: &[(i32, i64)]) -> TxnOffsetCommitRequest {
    let partition = |(partition_index, committed_offset): &(i32, i64)| Partition {
        partition_index: *partition_index,
        committed_offset: *committed_offset,
        ..Partition::default()
    };
    let topic = Topic {
        name: "t".to_owned(),
        partitions: offsets.iter().map(partition).collect(),
        ..Topic::default()
    };
    TxnOffsetCommitRequest {
        group_id: GROUP.to_owned(),
        producer_id: PRODUCER.id.0,
        producer_epoch: PRODUCER.epoch.0,
        topics: vec![topic],
        ..TxnOffsetCommitRequest::default()
    }
}

fn send(rig: &Rig, request: TxnOffsetCommitRequest) -> Answer<TxnOffsetCommitResponse> {
    Answer::of(|reply| rig.coordinator.txn_offset_commit(rig.context(4), request, Some(1), reply))
}

fn txn_commit(rig: &Rig, request: TxnOffsetCommitRequest) -> ErrorCode {
    error(send(rig, request).now().topics[0].partitions[0].error_code)
}

fn end(rig: &Rig, committed: bool) -> Answer<Result<(), ErrorCode>> {
    let marker =
        TransactionMarker { producer: PRODUCER, committed, coordinator_epoch: 0, transaction_version: 2 };
    Answer::of(|reply| rig.coordinator.end_transaction(0, marker, rig.now(), reply))
}

/// Of partition 0.
fn is_stable(rig: &Rig) -> bool {
    let topic = offset_fetch_request::GroupTopic {
        name: "t".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = offset_fetch_request::Group {
        group_id: GROUP.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { groups: vec![group], require_stable: true, ..OffsetFetchRequest::default() };
    let partition = send_fetch(rig, 9, request).now().groups[0].topics[0].partitions[0].clone();
    match error(partition.error_code) {
        ErrorCode::None => true,
        code => {
            assert_eq!(code, ErrorCode::UnstableOffsetCommit);
            false
        }
    }
}

#[test]
fn nobody_hears_of_them_before_the_transaction_is_committed() {
    for committed in [true, false] {
        let rig = Rig::new();
        assert_eq!(commit(&rig, commit_request(&[("t", 0, 1)])), ErrorCode::None);
        assert_eq!(txn_commit(&rig, request(&[(0, 10), (1, 11)])), ErrorCode::None);
        assert_eq!((fetch(&rig, GROUP, 0), fetch(&rig, GROUP, 1), is_stable(&rig)), (1, -1, false));
        assert_eq!(end(&rig, committed).now(), Ok(()));
        let expected = if committed { (10, 11) } else { (1, -1) };
        for rig in [&rig, &rig.taken_over()] {
            assert_eq!((fetch(rig, GROUP, 0), fetch(rig, GROUP, 1)), expected);
            assert!(is_stable(rig));
        }
    }
}

#[test]
fn a_refused_append_or_marker_changes_nothing() {
    let rig = Rig::new();
    rig.fail_next_append(ErrorCode::InvalidProducerEpoch);
    assert_eq!(txn_commit(&rig, request(&[(0, 10)])), ErrorCode::InvalidProducerEpoch);
    assert!(is_stable(&rig));
    assert_eq!(txn_commit(&rig, request(&[(0, 10)])), ErrorCode::None);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(end(&rig, true).now(), Err(ErrorCode::NotEnoughReplicas));
    assert!(!is_stable(&rig));
    assert_eq!(end(&rig, true).now(), Ok(()));
    assert_eq!(fetch(&rig, GROUP, 0), 10);
}

#[test]
fn a_marker_is_answered_when_it_is_committed() {
    let rig = Rig::new();
    assert_eq!(txn_commit(&rig, request(&[(0, 10)])), ErrorCode::None);
    rig.hold_commits();
    let answer = end(&rig, true);
    answer.is_parked();
    assert_eq!(fetch(&rig, GROUP, 0), -1);
    rig.commit();
    assert_eq!((answer.now(), fetch(&rig, GROUP, 0)), (Ok(()), 10));
}

#[test]
fn members_must_be_who_they_say_and_others_need_not_say() {
    let rig = Rig::new();
    let unknown_generation = TxnOffsetCommitRequest { generation_id: 1, ..request(&[(0, 1)]) };
    assert_eq!(txn_commit(&rig, unknown_generation), ErrorCode::IllegalGeneration);
    let members = rig.stable_group(1);
    let of_member = TxnOffsetCommitRequest {
        generation_id: members[0].generation_id,
        member_id: members[0].member_id.clone(),
        ..request(&[(0, 1)])
    };
    let cases = [
        (of_member.clone(), ErrorCode::None),
        (request(&[(0, 1)]), ErrorCode::None),
        (TxnOffsetCommitRequest { generation_id: 9, ..of_member.clone() }, ErrorCode::IllegalGeneration),
        (
            TxnOffsetCommitRequest { member_id: "another".to_owned(), ..of_member.clone() },
            ErrorCode::UnknownMemberId,
        ),
        (TxnOffsetCommitRequest { group_id: String::new(), ..of_member }, ErrorCode::InvalidGroupId),
    ];
    for (request, expected) in cases {
        assert_eq!(txn_commit(&rig, request), expected);
    }
}

#[test]
fn metadata_is_bounded() {
    let rig = Rig::new();
    let mut too_large = request(&[(0, 1), (1, 2)]);
    too_large.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    let partitions = send(&rig, too_large).now().topics.remove(0).partitions;
    let codes: Vec<_> = partitions.iter().map(|partition| error(partition.error_code)).collect();
    assert_eq!(codes, [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None]);
}

#[test]
fn an_open_transaction_keeps_its_group_and_deletion_ends_both() {
    let rig = Rig::with_config(GroupCoordinatorConfig {
        offsets_retention_ms: 60_000,
        offsets_retention_check_interval_ms: 1_000,
        ..config()
    });
    assert_eq!(commit(&rig, commit_request(&[("t", 0, 1)])), ErrorCode::None);
    assert_eq!(txn_commit(&rig, request(&[(0, 10)])), ErrorCode::None);
    rig.pass(120_000);
    assert_eq!(fetch(&rig, GROUP, 0), 1, "an offset that a transaction may replace does not expire");
    assert_eq!(end(&rig, false).now(), Ok(()));
    rig.pass(1_000);
    assert_eq!(fetch(&rig, GROUP, 0), -1);

    assert_eq!(txn_commit(&rig, request(&[(0, 10)])), ErrorCode::None);
    let request = DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()], ..Default::default() };
    let answer = Answer::of(|reply| rig.coordinator.delete_groups(rig.context(2), request, reply));
    assert_eq!(answer.now().results[0].error_code, 0);
    assert!(is_stable(&rig));
    assert_eq!(end(&rig, true).now(), Ok(()));
    assert_eq!(fetch(&rig, GROUP, 0), -1, "what is deleted does not come back with the transaction");
}
