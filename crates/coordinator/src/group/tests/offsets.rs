use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::messages::offset_commit_request::{Partition, Topic};
use ottla_wire::messages::offset_delete_request::{Partition as DeletePartition, Topic as DeleteTopic};
use ottla_wire::messages::offset_fetch_request::{Group, GroupTopic, Topic as FetchTopic};
use ottla_wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse,
};

use super::*;
use crate::runtime::Producer;
use crate::testing::Content;

pub(super) fn commit_request(offsets: &[(&str, i32, i64)]) -> OffsetCommitRequest {
    let topics = offsets.iter().map(|(topic, partition, offset)| Topic {
        name: (*topic).to_owned(),
        partitions: vec![Partition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_leader_epoch: 3,
            committed_metadata: Some("note".to_owned()),
            ..Partition::default()
        }],
        ..Topic::default()
    });
    OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    }
}

pub(super) fn send_commit(
    rig: &Rig,
    version: i16,
    request: OffsetCommitRequest,
) -> Answer<OffsetCommitResponse> {
    Answer::of(|reply| rig.coordinator.offset_commit(rig.context(version), request, reply))
}

pub(super) fn commit(rig: &Rig, request: OffsetCommitRequest) -> ErrorCode {
    error(send_commit(rig, 9, request).now().topics[0].partitions[0].error_code)
}

pub(super) fn send_fetch(
    rig: &Rig,
    version: i16,
    request: OffsetFetchRequest,
) -> Answer<OffsetFetchResponse> {
    Answer::of(|reply| rig.coordinator.offset_fetch(rig.context(version), request, reply))
}

pub(super) fn fetch_request(group_id: &str, partition: i32) -> OffsetFetchRequest {
    let topic =
        GroupTopic { name: "t".to_owned(), partition_indexes: vec![partition], ..GroupTopic::default() };
    let group = Group {
        group_id: group_id.to_owned(),
        member_epoch: -1,
        topics: Some(vec![topic]),
        ..Group::default()
    };
    OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() }
}

/// The committed offset of a partition of topic `t`.
pub(super) fn fetch(rig: &Rig, group_id: &str, partition: i32) -> i64 {
    let response = send_fetch(rig, 9, fetch_request(group_id, partition)).now();
    assert_eq!(response.groups[0].error_code, 0);
    response.groups[0].topics[0].partitions[0].committed_offset
}

#[test]
fn what_is_committed_is_fetched_at_all_versions() {
    let rig = Rig::new();
    assert_eq!(commit(&rig, commit_request(&[("t", 0, 5), ("t", 1, 7), ("u", 0, 9)])), ErrorCode::None);
    for rig in [&rig, &rig.taken_over()] {
        for version in 1..=7 {
            let topics =
                vec![FetchTopic { name: "t".into(), partition_indexes: vec![1, 4], ..FetchTopic::default() }];
            let request = OffsetFetchRequest {
                group_id: GROUP.into(),
                topics: Some(topics),
                ..OffsetFetchRequest::default()
            };
            let response = send_fetch(rig, version, request).now();
            let partitions = &response.topics[0].partitions;
            assert_eq!((response.error_code, partitions[0].committed_offset), (0, 7));
            assert_eq!(partitions[0].metadata.as_deref(), Some("note"));
            assert_eq!(partitions[0].committed_leader_epoch, 3);
            assert_eq!((partitions[1].committed_offset, partitions[1].committed_leader_epoch), (-1, -1));
            assert_eq!((partitions[1].metadata.as_deref(), partitions[1].error_code), (Some(""), 0));
        }
        let all = OffsetFetchRequest {
            groups: vec![
                Group { group_id: GROUP.into(), member_epoch: -1, ..Group::default() },
                Group { group_id: "other".into(), member_epoch: -1, ..Group::default() },
            ],
            ..OffsetFetchRequest::default()
        };
        let all = OffsetFetchRequest {
            groups: all.groups.into_iter().map(|group| Group { topics: None, ..group }).collect(),
            ..all
        };
        let response = send_fetch(rig, 8, all).now();
        let names: Vec<&str> = response.groups[0].topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["t", "u"]);
        assert_eq!(response.groups[0].topics[0].partitions.len(), 2);
        assert_eq!((response.groups[1].group_id.as_str(), response.groups[1].topics.len()), ("other", 0));
    }
}

#[test]
fn a_commit_is_answered_and_seen_when_it_is_committed() {
    let rig = Rig::new();
    commit(&rig, commit_request(&[("t", 0, 5)]));
    rig.hold_commits();
    let answer = send_commit(&rig, 9, commit_request(&[("t", 0, 6)]));
    answer.is_parked();
    assert_eq!(fetch(&rig, GROUP, 0), 5);
    let stable = send_fetch(&rig, 9, OffsetFetchRequest { require_stable: true, ..fetch_request(GROUP, 0) });
    stable.is_parked();
    rig.commit();
    assert_eq!(answer.now().topics[0].partitions[0].error_code, 0);
    assert_eq!(stable.now().groups[0].topics[0].partitions[0].committed_offset, 6);
    assert_eq!(fetch(&rig, GROUP, 0), 6);
}

/// What a commit is answered, in a stable group with a member.
#[track_caller]
fn check_commit(
    before: impl FnOnce(&Rig),
    version: i16,
    change: impl FnOnce(&JoinGroupResponse, &mut OffsetCommitRequest),
    expected: ErrorCode,
) {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    before(&rig);
    let mut request = OffsetCommitRequest {
        generation_id_or_member_epoch: members[0].generation_id,
        member_id: members[0].member_id.clone(),
        ..commit_request(&[("t", 0, 5)])
    };
    change(&members[0], &mut request);
    let response = send_commit(&rig, version, request).now();
    assert_eq!(error(response.topics[0].partitions[0].error_code), expected);
}

#[test]
fn commit_errors() {
    let nothing = |_: &Rig| {};
    let rebalancing = |rig: &Rig| drop(rig.join(""));
    let completing = |rig: &Rig| {
        let joining = rig.send_join(3, join_request());
        joining.is_parked();
        rig.pass(REBALANCE_MS);
        rig.pass(REBALANCE_MS);
    };
    check_commit(nothing, 9, |_, _| {}, ErrorCode::None);
    check_commit(rebalancing, 9, |_, _| {}, ErrorCode::None);
    check_commit(nothing, 9, |_, r| r.generation_id_or_member_epoch += 1, ErrorCode::IllegalGeneration);
    check_commit(nothing, 9, |_, r| r.generation_id_or_member_epoch -= 1, ErrorCode::IllegalGeneration);
    check_commit(nothing, 9, |_, r| r.member_id = "stranger".into(), ErrorCode::UnknownMemberId);
    let stranger = |_: &JoinGroupResponse, r: &mut OffsetCommitRequest| {
        r.group_instance_id = Some("stranger".into());
    };
    check_commit(nothing, 9, stranger, ErrorCode::UnknownMemberId);
    let from_outside = |_: &JoinGroupResponse, r: &mut OffsetCommitRequest| {
        (r.generation_id_or_member_epoch, r.member_id) = (-1, String::new());
    };
    check_commit(nothing, 9, from_outside, ErrorCode::UnknownMemberId);
    check_commit(nothing, 9, |_, r| r.group_id = "x".into(), ErrorCode::GroupIdNotFound);
    check_commit(nothing, 8, |_, r| r.group_id = "x".into(), ErrorCode::IllegalGeneration);
    let talkative = |_: &JoinGroupResponse, r: &mut OffsetCommitRequest| {
        r.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    };
    check_commit(nothing, 9, talkative, ErrorCode::OffsetMetadataTooLarge);
    check_commit(completing, 9, |_, _| {}, ErrorCode::UnknownMemberId);
    check_commit(|rig| rig.coordinator.on_resign(0, None), 9, |_, _| {}, ErrorCode::NotCoordinator);
    check_commit(|rig| rig.coordinator.stop(), 9, |_, _| {}, ErrorCode::CoordinatorNotAvailable);
    let failing = |code| move |rig: &Rig| rig.fail_next_append(code);
    check_commit(failing(ErrorCode::NotEnoughReplicas), 9, |_, _| {}, ErrorCode::CoordinatorNotAvailable);
    check_commit(failing(ErrorCode::NotLeaderOrFollower), 9, |_, _| {}, ErrorCode::NotCoordinator);
    check_commit(failing(ErrorCode::MessageTooLarge), 9, |_, _| {}, ErrorCode::UnknownServerError);
}

#[test]
fn nobody_commits_while_it_is_decided_who_owns_what() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let rejoined = rig.join(&members[0].member_id).now();
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: rejoined.generation_id,
        member_id: rejoined.member_id,
        ..commit_request(&[("t", 0, 5)])
    };
    assert_eq!(commit(&rig, request), ErrorCode::RebalanceInProgress);
}

#[test]
fn metadata_is_measured_in_utf16_units() {
    let rig = Rig::new();
    let mut request = commit_request(&[("t", 0, 5)]);
    request.topics[0].partitions[0].committed_metadata = Some("ä".repeat(4096));
    assert_eq!(commit(&rig, request.clone()), ErrorCode::None);
    request.topics[0].partitions[0].committed_metadata = Some("𝄞".repeat(2049));
    assert_eq!(commit(&rig, request), ErrorCode::OffsetMetadataTooLarge);
}

#[test]
fn a_commit_keeps_the_session_alive() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    for _ in 0..3 {
        rig.pass(SESSION_MS - 1);
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: members[0].generation_id,
            member_id: members[0].member_id.clone(),
            ..commit_request(&[("t", 0, 5)])
        };
        assert_eq!(commit(&rig, request), ErrorCode::None);
    }
    assert_eq!(rig.heartbeat(&members[0]), ErrorCode::None);
}

#[test]
fn offsets_of_a_topic_that_was_created_anew_are_not_its_own() {
    let rig = Rig::new();
    let (old, new) = (Uuid([1; 16]), Uuid([2; 16]));
    let mut request = commit_request(&[("t", 0, 5)]);
    request.topics[0].topic_id = old;
    let answer = send_commit(&rig, 10, request).now();
    assert_eq!((answer.topics[0].topic_id, answer.topics[0].partitions[0].error_code), (old, 0));
    let fetch_by = |topic_id: Uuid| {
        let mut request = fetch_request(GROUP, 0);
        request.groups[0].topics.as_mut().unwrap()[0].topic_id = topic_id;
        let response = send_fetch(&rig, 10, request).now();
        let topic = response.groups[0].topics[0].clone();
        assert_eq!(topic.topic_id, topic_id);
        topic.partitions[0].committed_offset
    };
    assert_eq!((fetch_by(old), fetch_by(new), fetch_by(Uuid::ZERO)), (5, -1, 5));
    rig.coordinator.on_topics_deleted(&[("t".into(), new)], rig.now());
    assert_eq!(fetch_by(old), 5);
    rig.coordinator.on_topics_deleted(&[("x".into(), old), ("t".into(), old)], rig.now());
    assert_eq!(fetch_by(old), -1);
    assert_eq!(fetch(&rig.taken_over(), GROUP, 0), -1);
}

#[test]
fn offsets_of_a_topic_that_is_deleted_while_the_log_is_read_are_taken_back() {
    let rig = Rig::new();
    commit(&rig, commit_request(&[("t", 0, 5), ("u", 0, 6)]));
    let next = Rig::loading(config(), rig.logs.log(0));
    next.coordinator.on_topics_deleted(&[("t".into(), Uuid([1; 16]))], next.now());
    next.load();
    assert_eq!(fetch(&next, GROUP, 0), -1);
    assert_eq!(fetch(&next.taken_over(), GROUP, 0), -1);
    assert_eq!(next.states().0.offsets.of_group(GROUP).unwrap().iter().count(), 1, "that of the other topic");
}

#[test]
fn offsets_of_a_deleted_topic_that_can_not_be_taken_back_now_are_later() {
    let rig = Rig::new();
    commit(&rig, commit_request(&[("t", 0, 5)]));
    for _ in 0..2 {
        rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    }
    rig.coordinator.on_topics_deleted(&[("t".into(), Uuid([1; 16]))], rig.now());
    assert_eq!(fetch(&rig, GROUP, 0), 5);
    rig.pass(1000);
    assert_eq!(fetch(&rig, GROUP, 0), 5, "nor this time");
    rig.pass(1000);
    assert_eq!(fetch(&rig, GROUP, 0), -1);
    let end = rig.logs.log(0).end();
    rig.pass(5000);
    assert_eq!(rig.logs.log(0).end(), end, "and that is it");
}

#[test]
fn fetch_errors() {
    let rig = Rig::loading(config(), MemoryLog::default());
    let old = OffsetFetchRequest {
        group_id: GROUP.into(),
        topics: Some(vec![FetchTopic {
            name: "t".into(),
            partition_indexes: vec![0],
            ..FetchTopic::default()
        }]),
        ..OffsetFetchRequest::default()
    };
    let loading = ErrorCode::CoordinatorLoadInProgress.code();
    let v1 = send_fetch(&rig, 1, old.clone()).now();
    assert_eq!((v1.error_code, v1.topics[0].partitions[0].error_code), (0, loading));
    let v2 = send_fetch(&rig, 2, old).now();
    assert_eq!((v2.error_code, v2.topics.len()), (loading, 0));
    let v8 = send_fetch(&rig, 8, fetch_request(GROUP, 0)).now();
    assert_eq!((v8.groups[0].error_code, v8.groups[0].topics.len()), (loading, 0));
}

fn delete(rig: &Rig, group_id: &str, topic: &str) -> (ErrorCode, Option<ErrorCode>) {
    let request = OffsetDeleteRequest {
        group_id: group_id.into(),
        topics: vec![DeleteTopic {
            name: topic.into(),
            partitions: vec![DeletePartition { partition_index: 0 }],
        }],
    };
    let response = Answer::of(|reply| rig.coordinator.offset_delete(rig.context(0), request, reply)).now();
    let partition = response.topics.first().map(|topic| error(topic.partitions[0].error_code));
    (error(response.error_code), partition)
}

#[test]
fn offsets_are_deleted_of_topics_that_nobody_subscribes_to() {
    let rig = Rig::new();
    commit(&rig, commit_request(&[("t", 0, 5), ("topic", 0, 7)]));
    rig.stable_group(1);
    assert_eq!(delete(&rig, "", "t"), (ErrorCode::InvalidGroupId, None));
    assert_eq!(delete(&rig, "x", "t"), (ErrorCode::GroupIdNotFound, None));
    assert_eq!(delete(&rig, GROUP, "topic"), (ErrorCode::None, Some(ErrorCode::GroupSubscribedToTopic)));
    assert_eq!(delete(&rig, GROUP, "t"), (ErrorCode::None, Some(ErrorCode::None)));
    assert_eq!(fetch(&rig.taken_over(), GROUP, 0), -1);
}

#[test]
fn members_that_are_no_consumers_keep_all_offsets() {
    let rig = Rig::new();
    commit(&rig, commit_request(&[("t", 0, 5)]));
    rig.join_with(JoinGroupRequest { protocol_type: "connect".into(), ..join_request() });
    rig.pass(0);
    assert_eq!(delete(&rig, GROUP, "t"), (ErrorCode::NonEmptyGroup, None));
}

#[test]
fn offsets_in_a_transaction_count_when_it_is_committed() {
    let producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(0) };
    let logs = MemoryLogs::new();
    let push = |producer, partition: i32, offset: i64| {
        logs.push(0, Content::Records(producer, vec![records::offset_record(GROUP, partition, offset)]));
    };
    push(None, 0, 1);
    push(Some(producer), 0, 10);
    push(Some(producer), 1, 11);
    push(None, 1, 2);
    logs.commit(0);
    let open = Rig::with_log(config(), logs.log(0));
    assert_eq!((fetch(&open, GROUP, 0), fetch(&open, GROUP, 1)), (1, 2));
    let stable = OffsetFetchRequest { require_stable: true, ..fetch_request(GROUP, 0) };
    let partition = send_fetch(&open, 9, stable.clone()).now().groups[0].topics[0].partitions[0].clone();
    assert_eq!(error(partition.error_code), ErrorCode::UnstableOffsetCommit);
    assert_eq!(partition.committed_offset, -1);

    let open_log = logs.log(0);
    for (is_committed, expected) in [(true, (10, 2)), (false, (1, 2))] {
        logs.set_log(0, open_log.clone());
        logs.push(0, Content::EndTransaction(producer, is_committed));
        logs.commit(0);
        let ended = Rig::with_log(config(), logs.log(0));
        // What was committed later outside of the transaction stays.
        assert_eq!((fetch(&ended, GROUP, 0), fetch(&ended, GROUP, 1)), expected);
        let partition = send_fetch(&ended, 9, stable.clone()).now().groups[0].topics[0].partitions[0].clone();
        assert_eq!((partition.error_code, partition.committed_offset), (0, expected.0));
    }
}

#[test]
fn groups_find_their_partition_as_in_kafka() {
    let rig = Rig::new();
    rig.coordinator.start(50);
    for (group_id, partition) in
        [("", 0), ("hello", 22), ("polygenelubricants", 0), ("console-consumer-1", 24)]
    {
        assert_eq!(rig.coordinator.partition_for(group_id), Some(partition), "{group_id}");
    }
    rig.coordinator.stop();
    assert_eq!(rig.coordinator.partition_for("hello"), None);
}
