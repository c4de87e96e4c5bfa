use ottla_wire::messages::offset_commit_request::{Partition, Topic};
use ottla_wire::messages::offset_fetch_request::{Group, GroupTopic};
use ottla_wire::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};

use super::*;

fn commit(rig: &Rig, version: i16, member_id: &str, epoch: i32, partitions: &[i32]) -> ErrorCode {
    let partitions = partitions.iter().map(|partition| Partition {
        partition_index: *partition,
        committed_offset: 7,
        ..Partition::default()
    });
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: epoch,
        member_id: member_id.to_owned(),
        retention_time_ms: -1,
        topics: vec![Topic {
            name: "t".to_owned(),
            topic_id: topic_id("t"),
            partitions: partitions.collect(),
            ..Topic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let answer =
        Answer::of(|reply| rig.coordinator.offset_commit(rig.context(version), request, reply)).now();
    error(answer.topics[0].partitions[0].error_code)
}

fn fetch(rig: &Rig, member_id: Option<&str>, member_epoch: i32) -> Result<i64, ErrorCode> {
    let request = OffsetFetchRequest {
        groups: vec![Group {
            group_id: GROUP.to_owned(),
            member_id: member_id.map(str::to_owned),
            member_epoch,
            topics: Some(vec![GroupTopic {
                name: "t".to_owned(),
                partition_indexes: vec![0],
                ..GroupTopic::default()
            }]),
            ..Group::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let answer = Answer::of(|reply| rig.coordinator.offset_fetch(rig.context(9), request, reply)).now();
    match error(answer.groups[0].error_code) {
        ErrorCode::None => Ok(answer.groups[0].topics[0].partitions[0].committed_offset),
        code => Err(code),
    }
}

#[test]
fn members_commit_and_fetch_under_their_epoch() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut both = [Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    both[0].beat(&rig);
    assert_eq!(commit(&rig, 9, "a", 2, &[0, 1]), ErrorCode::None);
    settle(&rig, &mut both);
    let (epoch, kept) = (both[0].epoch, both[0].partitions("t")[0]);
    assert_eq!(epoch, 3);
    assert_eq!(commit(&rig, 9, "a", epoch, &[kept]), ErrorCode::None);
    // What it had at an earlier epoch, and has had ever since, is its own.
    assert_eq!(commit(&rig, 9, "a", 2, &[kept]), ErrorCode::None);
    let given_up = 1 - kept;
    for (member_id, epoch, partition) in
        [("a", 2, given_up), ("a", epoch + 1, kept), ("b", 2, given_up), ("a", 0, kept)]
    {
        assert_eq!(commit(&rig, 9, member_id, epoch, &[partition]), ErrorCode::StaleMemberEpoch);
    }
    assert_eq!(commit(&rig, 9, "c", epoch, &[kept]), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&rig, 9, "", -1, &[kept]), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&rig, 8, "a", epoch, &[kept]), ErrorCode::UnsupportedVersion);

    assert_eq!(fetch(&rig, Some("a"), epoch), Ok(7));
    assert_eq!(fetch(&rig, None, -1), Ok(7));
    assert_eq!(fetch(&rig, Some("a"), 2), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(fetch(&rig, Some("c"), epoch), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn an_empty_group_takes_commits_from_outside() {
    let rig = Rig::new();
    rig.topic("t", 2);
    Consumer::new("a", &["t"]).beat(&rig);
    rig.beat(beat_request("a", LEAVE));
    assert_eq!(commit(&rig, 9, "", -1, &[0]), ErrorCode::None);
    assert_eq!(fetch(&rig, None, -1), Ok(7));
}

fn delete_offset(rig: &Rig) -> ErrorCode {
    use ottla_wire::messages::offset_delete_request::{Partition, Topic};
    let topic = Topic { name: "t".to_owned(), partitions: vec![Partition { partition_index: 0 }] };
    let request = OffsetDeleteRequest { group_id: GROUP.to_owned(), topics: vec![topic] };
    let answer = Answer::of(|reply| rig.coordinator.offset_delete(rig.context(0), request, reply)).now();
    error(answer.topics[0].partitions[0].error_code)
}

#[test]
fn offsets_of_topics_that_are_subscribed_to_stay() {
    let rig = Rig::with_config(GroupCoordinatorConfig {
        offsets_retention_ms: 20_000,
        offsets_retention_check_interval_ms: 5_000,
        ..config()
    });
    rig.topic("t", 2);
    rig.topic("u", 2);
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&rig);
    assert_eq!(commit(&rig, 9, "a", 2, &[0]), ErrorCode::None);
    assert_eq!(delete_offset(&rig), ErrorCode::GroupSubscribedToTopic);
    for _ in 0..20 {
        rig.pass(5_000);
        a.beat(&rig);
    }
    assert_eq!(fetch(&rig, None, -1), Ok(7));
    a.topics = vec!["u".to_owned()];
    a.says_all = true;
    a.beat(&rig);
    assert_eq!(delete_offset(&rig), ErrorCode::None);
    assert_eq!(fetch(&rig, None, -1), Ok(-1));
}

#[test]
fn a_group_expires_with_its_offsets() {
    let rig = Rig::new();
    rig.topic("t", 2);
    Consumer::new("a", &["t"]).beat(&rig);
    assert_eq!(commit(&rig, 9, "a", 2, &[0]), ErrorCode::None);
    rig.beat(beat_request("a", LEAVE));
    rig.pass(6 * 24 * 3_600_000);
    assert_eq!((fetch(&rig, None, -1), rig.listed_state().as_str()), (Ok(7), "Empty"));
    rig.pass(24 * 3_600_000);
    rig.pass(600_000);
    assert_eq!((fetch(&rig, None, -1), rig.listed_state().as_str()), (Ok(-1), ""));
    assert!(rig.taken_over().states().0.groups.is_empty());
}

#[test]
fn only_a_group_without_members_is_deleted() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut a = Consumer { regex: Some("t.*".to_owned()), ..Consumer::new("a", &[]) };
    a.beat(&rig);
    assert_eq!(commit(&rig, 9, "a", 2, &[0]), ErrorCode::None);
    assert_eq!(listing::delete(&rig, &[GROUP])[0].1, ErrorCode::NonEmptyGroup);
    rig.beat(beat_request("a", LEAVE));
    assert_eq!(listing::delete(&rig, &[GROUP])[0].1, ErrorCode::None);
    assert_eq!(rig.states().0, GroupState::default());
    assert_eq!(rig.taken_over().states().0, GroupState::default());
}
