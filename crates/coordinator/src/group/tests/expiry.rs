use ottla_wire::messages::{DescribeGroupsRequest, OffsetCommitRequest};

use super::offsets::{commit, commit_request, fetch, send_commit};
use super::*;

const MINUTE_MS: i32 = 60_000;

/// Offsets live for 30 minutes here, and every minute somebody looks after them.
fn rig() -> Rig {
    Rig::with_config(GroupCoordinatorConfig {
        offsets_retention_ms: 30 * i64::from(MINUTE_MS),
        offsets_retention_check_interval_ms: i64::from(MINUTE_MS),
        ..config()
    })
}

fn pass_minutes(rig: &Rig, minutes: i32, mut each: impl FnMut()) {
    for _ in 0..minutes {
        for _ in 0..12 {
            rig.pass(MINUTE_MS / 12);
            each();
        }
    }
}

fn exists(rig: &Rig) -> bool {
    let request = DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() };
    let answer = Answer::of(|reply| rig.coordinator.describe_groups(rig.context(6), request, reply));
    answer.now().groups[0].error_code == 0
}

#[test]
fn offsets_without_members_expire_since_their_commit() {
    let rig = rig();
    commit(&rig, commit_request(&[("t", 0, 5)]));
    pass_minutes(&rig, 20, || {});
    commit(&rig, commit_request(&[("t", 1, 6)]));
    pass_minutes(&rig, 9, || {});
    assert_eq!((fetch(&rig, GROUP, 0), fetch(&rig, GROUP, 1)), (5, 6));
    pass_minutes(&rig, 1, || {});
    assert_eq!((fetch(&rig, GROUP, 0), fetch(&rig, GROUP, 1)), (-1, 6));
    assert!(exists(&rig));
    pass_minutes(&rig, 20, || {});
    assert!(!exists(&rig) && !exists(&rig.taken_over()));
}

#[test]
fn offsets_of_a_group_expire_since_it_is_empty() {
    let rig = rig();
    let members = rig.stable_group(1);
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: members[0].generation_id,
        member_id: members[0].member_id.clone(),
        ..commit_request(&[("topic", 0, 5), ("t", 0, 6)])
    };
    assert_eq!(commit(&rig, request), ErrorCode::None);
    pass_minutes(&rig, 29, || assert_eq!(rig.heartbeat(&members[0]), ErrorCode::None));
    assert_eq!(fetch(&rig, GROUP, 0), 6);
    // A topic that the members don't subscribe to expires while the group lives.
    pass_minutes(&rig, 2, || assert_eq!(rig.heartbeat(&members[0]), ErrorCode::None));
    assert_eq!(fetch(&rig, GROUP, 0), -1);
    pass_minutes(&rig, 30, || {});
    assert_eq!(rig.state(), "Empty");
    let next = rig.taken_over();
    for rig in [&rig, &next] {
        assert!(exists(rig));
    }
    pass_minutes(&rig, 1, || {});
    assert!(!exists(&rig));
}

#[test]
fn a_commit_may_say_how_long_it_lives() {
    let rig = rig();
    let request =
        OffsetCommitRequest { retention_time_ms: 5 * i64::from(MINUTE_MS), ..commit_request(&[("t", 0, 5)]) };
    send_commit(&rig, 4, request);
    let forever = OffsetCommitRequest { retention_time_ms: i64::MAX, ..commit_request(&[("t", 1, 6)]) };
    send_commit(&rig, 4, forever);
    pass_minutes(&rig, 4, || {});
    assert_eq!(fetch(&rig, GROUP, 0), 5);
    pass_minutes(&rig, 1, || {});
    assert_eq!(fetch(&rig, GROUP, 0), -1);
    pass_minutes(&rig, 40, || {});
    assert_eq!(fetch(&rig, GROUP, 1), 6);
}

#[test]
fn a_group_without_offsets_does_not_outlive_the_next_look() {
    let rig = rig();
    rig.stable_group(1);
    rig.pass(SESSION_MS);
    assert!(exists(&rig));
    rig.pass(MINUTE_MS);
    assert!(!exists(&rig));
}

#[test]
fn a_group_whose_end_could_not_be_written_expires_all_the_same() {
    let rig = rig();
    let members = rig.stable_group(1);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    rig.pass(SESSION_MS);
    assert_eq!(rig.taken_over().heartbeat(&members[0]), ErrorCode::None, "the log has a member still");
    rig.pass(MINUTE_MS);
    assert_eq!(rig.taken_over().heartbeat(&members[0]), ErrorCode::UnknownMemberId);
    rig.pass(MINUTE_MS);
    assert!(!exists(&rig) && !exists(&rig.taken_over()));
}
