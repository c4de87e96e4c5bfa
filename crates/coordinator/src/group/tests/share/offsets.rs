use ottla_wire::messages::alter_share_group_offsets_request as alter;
use ottla_wire::messages::delete_share_group_offsets_request as delete;
use ottla_wire::messages::describe_share_group_offsets_request as describe;
use ottla_wire::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse, DescribeShareGroupOffsetsRequest,
};

use super::*;

pub(super) fn alter(
    rig: &ShareRig,
    topic: &str,
    partitions: &[(i32, i64)],
) -> AlterShareGroupOffsetsResponse {
    send_alter(rig, topic, partitions).now()
}

fn send_alter(
    rig: &ShareRig,
    topic: &str,
    partitions: &[(i32, i64)],
) -> Answer<AlterShareGroupOffsetsResponse> {
    let partition = |(partition_index, start_offset): &(i32, i64)| alter::Partition {
        partition_index: *partition_index,
        start_offset: *start_offset,
        ..alter::Partition::default()
    };
    let topic = alter::Topic {
        topic_name: topic.to_owned(),
        partitions: partitions.iter().map(partition).collect(),
        ..alter::Topic::default()
    };
    let request = AlterShareGroupOffsetsRequest {
        group_id: GROUP.to_owned(),
        topics: vec![topic],
        ..AlterShareGroupOffsetsRequest::default()
    };
    Answer::of(|reply| rig.api.alter_offsets(rig.rig.context(0), request, reply))
}

fn delete(rig: &ShareRig, topic: &str) -> DeleteShareGroupOffsetsResponse {
    send_delete(rig, topic).now()
}

fn send_delete(rig: &ShareRig, topic: &str) -> Answer<DeleteShareGroupOffsetsResponse> {
    let topic = delete::Topic { topic_name: topic.to_owned(), ..delete::Topic::default() };
    let request = DeleteShareGroupOffsetsRequest {
        group_id: GROUP.to_owned(),
        topics: vec![topic],
        ..DeleteShareGroupOffsetsRequest::default()
    };
    Answer::of(|reply| rig.api.delete_offsets(rig.rig.context(0), request, reply))
}

/// Partition, start offset, leader epoch, lag, and error.
fn describe(rig: &ShareRig, topics: Option<Vec<describe::Topic>>) -> Vec<(i32, i64, i32, i64, i16)> {
    let group = describe::Group { group_id: GROUP.to_owned(), topics, ..describe::Group::default() };
    let request = DescribeShareGroupOffsetsRequest {
        groups: vec![group],
        ..DescribeShareGroupOffsetsRequest::default()
    };
    let answer = Answer::of(|reply| rig.api.describe_offsets(rig.rig.context(1), request, reply)).now();
    assert_eq!(answer.groups[0].error_code, 0);
    let partitions = answer.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| (p.partition_index, p.start_offset, p.leader_epoch, p.lag, p.error_code)).collect()
}

fn send_delete_group(rig: &ShareRig) -> Answer<DeleteGroupsResponse> {
    let request =
        DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()], ..DeleteGroupsRequest::default() };
    Answer::of(|reply| rig.api.delete_groups(rig.rig.context(2), request, reply))
}

fn delete_group(rig: &ShareRig) -> ErrorCode {
    let answer = send_delete_group(rig).now();
    assert_eq!(answer.results.len(), 1);
    error(answer.results[0].error_code)
}

#[test]
fn offsets_are_set_while_nobody_is_in_the_group() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 2);
    let altered = alter(&rig, "t", &[(0, 7), (1, 9), (2, 5)]);
    assert_eq!(altered.error_code, 0);
    let codes: Vec<i16> = altered.responses[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [0, 0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert_eq!(rig.rig.listed_state(), "Empty", "the group came into being");
    rig.states.ends.lock().insert((topic_id("t"), 1), 20);
    assert_eq!(describe(&rig, None), [(0, 7, 3, -1, 0), (1, 9, 3, 20 - 9 - 2, 0)]);
    let unknown = describe::Topic {
        topic_name: "unknown".to_owned(),
        partitions: vec![4],
        ..describe::Topic::default()
    };
    assert_eq!(describe(&rig, Some(vec![unknown])), [(4, -1, 0, -1, 0)]);

    let mut a = rig.member_of("a", "t");
    assert_eq!(a.partitions("t"), [0, 1]);
    assert_eq!(rig.known()[&(topic_id("t"), 0)].1, 7, "it isn't initialized a second time");
    assert_eq!(error(alter(&rig, "t", &[(0, 1)]).error_code), ErrorCode::NonEmptyGroup);
    assert_eq!(error(delete(&rig, "t").error_code), ErrorCode::NonEmptyGroup);
    assert_eq!(delete_group(&rig), ErrorCode::NonEmptyGroup);
    a.beat(&rig);
    rig.beat(beat_request("a", LEAVE));
    let epoch = rig.group().epoch;
    *rig.states.failures.lock() = vec![ErrorCode::NotCoordinator];
    let failed = alter(&rig, "t", &[(0, 1)]);
    assert_eq!(error(failed.responses[0].partitions[0].error_code), ErrorCode::NotCoordinator);
    alter(&rig, "t", &[(0, 1)]);
    assert_eq!(rig.known()[&(topic_id("t"), 0)], (epoch.max(rig.group().epoch), 1));
    assert_eq!(rig.taken_over().group(), rig.group());
}

#[test]
fn offsets_of_a_topic_are_deleted() {
    let rig = ShareRig::new();
    assert_eq!(error(delete(&rig, "t").error_code), ErrorCode::GroupIdNotFound);
    rig.rig.topic("t", 2);
    rig.rig.topic("u", 1);
    alter(&rig, "t", &[(0, 7), (1, 9)]);
    let code = |response: &DeleteShareGroupOffsetsResponse| error(response.responses[0].error_code);
    assert_eq!(code(&delete(&rig, "u")), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&delete(&rig, "unknown")), ErrorCode::UnknownTopicOrPartition);
    // One of the two partitions is left: it goes with the next attempt.
    *rig.states.failures.lock() = vec![ErrorCode::NotCoordinator];
    assert_eq!(code(&delete(&rig, "t")), ErrorCode::NotCoordinator);
    assert_eq!(rig.known().len(), 1);
    let rig = rig.taken_over();
    assert_eq!(code(&delete(&rig, "t")), ErrorCode::None);
    assert!(rig.known().is_empty());
    assert!(describe(&rig, None).is_empty());
    assert_eq!(code(&delete(&rig, "t")), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_group_goes_with_what_the_share_coordinator_has_of_it() {
    let rig = ShareRig::new();
    assert_eq!(delete_group(&rig), ErrorCode::GroupIdNotFound);
    rig.rig.topic("t", 2);
    rig.member_of("a", "t");
    rig.beat(beat_request("a", LEAVE));
    *rig.states.failures.lock() = vec![ErrorCode::NotCoordinator];
    assert_eq!(delete_group(&rig), ErrorCode::NotCoordinator);
    assert_eq!(rig.rig.listed_state(), "Empty", "it is still there");
    assert_eq!(delete_group(&rig), ErrorCode::None);
    assert!(rig.known().is_empty());
    assert_eq!(rig.rig.listed_state(), "");
    let state = rig.taken_over().rig.states().0;
    assert!(state.groups.get(GROUP).is_none());
}

#[test]
fn a_group_that_is_not_deleted_after_all_begins_anew() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 2);
    rig.member_of("a", "t");
    rig.beat(beat_request("a", LEAVE));
    rig.rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(delete_group(&rig), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(rig.known().len(), 2, "nothing goes before that is written");
    *rig.states.failures.lock() = vec![ErrorCode::NotCoordinator];
    assert_eq!(delete_group(&rig), ErrorCode::NotCoordinator);
    assert_eq!(rig.known().len(), 1);
    let rig = rig.taken_over();
    assert_eq!(rig.member_of("b", "t").partitions("t"), [0, 1]);
    assert_eq!(rig.known().len(), 2);

    rig.beat(beat_request("b", LEAVE));
    rig.states.hold();
    let deletion = send_delete_group(&rig);
    let mut c = Member::new("c", &["t"]);
    c.beat(&rig);
    rig.states.release();
    assert_eq!(error(deletion.now().results[0].error_code), ErrorCode::NonEmptyGroup);
    assert!(rig.known().is_empty(), "what was asked for before the member came was done after");
    beat_often(&rig, &mut c);
    assert_eq!((c.partitions("t"), rig.known().len()), (vec![0, 1], 2));

    rig.beat(beat_request("c", LEAVE));
    rig.states.hold();
    let deletion = send_delete(&rig, "t");
    let mut d = Member::new("d", &["t"]);
    d.beat(&rig);
    rig.states.release();
    assert_eq!(error(deletion.now().responses[0].error_code), ErrorCode::None);
    beat_often(&rig, &mut d);
    assert_eq!((d.partitions("t"), rig.known().len()), (vec![0, 1], 2));
}

#[test]
fn what_is_deleted_late_is_initialized_again() {
    for of_the_group in [true, false] {
        let rig = ShareRig::new();
        rig.rig.topic("t", 1);
        rig.member_of("a", "t");
        rig.beat(beat_request("a", LEAVE));
        // Nobody knows whether it is done, or will be.
        *rig.states.failures.lock() = vec![ErrorCode::NetworkException];
        let code =
            if of_the_group { delete_group(&rig) } else { error(delete(&rig, "t").responses[0].error_code) };
        assert_eq!(code, ErrorCode::NetworkException);
        let mut b = Member::new("b", &["t"]);
        b.beat(&rig);
        rig.states.known.lock().clear();
        beat_often(&rig, &mut b);
        assert_eq!((b.partitions("t"), rig.known().len()), (vec![0], 1), "of the group: {of_the_group}");
    }
}

#[test]
fn who_joins_while_offsets_are_set_begins_there() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    rig.states.hold();
    let altered = send_alter(&rig, "t", &[(0, 5)]);
    let mut a = Member::new("a", &["t"]);
    a.beat(&rig);
    rig.states.release();
    assert_eq!(altered.now().responses[0].partitions[0].error_code, 0);
    beat_often(&rig, &mut a);
    assert_eq!(rig.known()[&(topic_id("t"), 0)].1, 5);
    assert_eq!(a.partitions("t"), [0]);
}

fn beat_often(rig: &ShareRig, member: &mut Member) {
    for _ in 0..6 {
        rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
        member.beat(rig);
    }
}
