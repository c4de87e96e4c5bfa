use super::*;

#[track_caller]
fn check(change: impl FnOnce(&mut SyncGroupRequest), expected: ErrorCode) {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let mut request = sync_request(&members[1]);
    change(&mut request);
    let response = rig.send_sync(request).now();
    assert_eq!(error(response.error_code), expected);
    if expected != ErrorCode::None {
        assert!(response.assignment.is_empty());
    }
}

#[test]
fn errors() {
    check(|_| {}, ErrorCode::None);
    check(|r| r.group_id.clear(), ErrorCode::InvalidGroupId);
    check(|r| r.group_id = "unknown".into(), ErrorCode::UnknownMemberId);
    check(|r| r.member_id = "stranger".into(), ErrorCode::UnknownMemberId);
    check(|r| r.group_instance_id = Some("stranger".into()), ErrorCode::UnknownMemberId);
    check(|r| r.generation_id -= 1, ErrorCode::IllegalGeneration);
    check(|r| r.protocol_type = Some("connect".into()), ErrorCode::InconsistentGroupProtocol);
    check(|r| r.protocol_name = Some("roundrobin".into()), ErrorCode::InconsistentGroupProtocol);
    check(|r| (r.protocol_type, r.protocol_name) = (None, None), ErrorCode::None);
}

fn completing_group(rig: &Rig, count: usize) -> Vec<JoinGroupResponse> {
    let members = rig.stable_group(count);
    let answers: Vec<_> = members.iter().map(|member| rig.join(&member.member_id)).collect();
    answers.iter().map(Answer::now).collect()
}

#[test]
fn followers_wait_for_the_leader_and_all_for_the_log() {
    let rig = Rig::new();
    let members = completing_group(&rig, 3);
    let follower = rig.sync(&members[1]);
    follower.is_parked();
    rig.hold_commits();
    let leader = rig.sync_as_leader(&members[0]);
    follower.is_parked();
    leader.is_parked();
    assert_eq!(rig.state(), "CompletingRebalance");
    rig.commit();
    assert_eq!(follower.now().assignment, members[1].member_id);
    assert_eq!(leader.now().assignment, members[0].member_id);
    assert_eq!(rig.state(), "Stable");
    assert_eq!(rig.sync(&members[2]).now().assignment, members[2].member_id);
}

#[test]
fn an_assignment_that_cant_be_written_is_told_to_nobody() {
    let rig = Rig::new();
    let members = completing_group(&rig, 2);
    let follower = rig.sync(&members[1]);
    rig.fail_next_append(ErrorCode::NotLeaderOrFollower);
    let leader = rig.sync_as_leader(&members[0]);
    for answer in [follower, leader] {
        assert_eq!(error(answer.now().error_code), ErrorCode::NotCoordinator);
        assert!(answer.now().assignment.is_empty());
    }
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn an_assignment_that_is_not_committed_in_time_is_told_to_nobody() {
    let rig = Rig::new();
    let members = completing_group(&rig, 2);
    rig.hold_commits();
    let leader = rig.sync_as_leader(&members[0]);
    rig.pass(5_000);
    leader.is_parked();
    rig.commit();
    assert_eq!(error(leader.now().error_code), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn an_assignment_that_is_committed_after_its_generation_is_told_to_nobody() {
    let rig = Rig::new();
    let members = completing_group(&rig, 2);
    rig.hold_commits();
    let old = rig.sync_as_leader(&members[0]);
    let newcomer = rig.send_join(3, join_request());
    let answers: Vec<_> = members.iter().map(|member| rig.join(&member.member_id)).collect();
    let written = rig.logs.log(0).end();
    rig.sync(&members[1]);
    rig.commit();
    assert_eq!(error(old.now().error_code), ErrorCode::RebalanceInProgress);
    let next: Vec<_> = answers.iter().map(Answer::now).collect();
    assert_eq!(next[0].generation_id, members[0].generation_id + 1);
    assert_eq!(rig.logs.log(0).end(), written);
    assert_eq!(rig.state(), "CompletingRebalance");
    let follower = rig.sync(&newcomer.now());
    follower.is_parked();
}

#[test]
fn members_without_an_assignment_get_an_empty_one() {
    let rig = Rig::new();
    let members = completing_group(&rig, 2);
    let follower = rig.sync(&members[1]);
    assert_eq!(rig.sync(&members[0]).now().error_code, 0);
    assert_eq!((follower.now().error_code, follower.now().assignment.len()), (0, 0));
}

#[test]
fn a_rebalance_takes_back_what_was_awaited() {
    let rig = Rig::new();
    let members = completing_group(&rig, 2);
    let follower = rig.sync(&members[1]);
    let newcomer = rig.join("");
    assert_eq!(error(follower.now().error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(error(rig.sync(&members[1]).now().error_code), ErrorCode::RebalanceInProgress);
    newcomer.is_parked();
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let rig = Rig::new();
    let members = completing_group(&rig, 2);
    rig.sync_as_leader(&members[0]);
    for _ in 0..4 {
        rig.pass(REBALANCE_MS / 4);
        rig.heartbeat(&members[1]);
        rig.heartbeat(&members[0]);
    }
    assert_eq!(rig.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
}

#[test]
fn heartbeats() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        member_id: members[0].member_id.clone(),
        generation_id: members[0].generation_id,
        ..HeartbeatRequest::default()
    };
    let check = |change: fn(&mut HeartbeatRequest), expected: ErrorCode| {
        let mut request = request.clone();
        change(&mut request);
        assert_eq!(error(rig.send_heartbeat(request).now().error_code), expected);
    };
    check(|_| {}, ErrorCode::None);
    check(|r| r.group_id.clear(), ErrorCode::InvalidGroupId);
    check(|r| r.group_id = "unknown".into(), ErrorCode::UnknownMemberId);
    check(|r| r.member_id = "stranger".into(), ErrorCode::UnknownMemberId);
    check(|r| r.generation_id += 1, ErrorCode::IllegalGeneration);
    check(|r| r.group_instance_id = Some("stranger".into()), ErrorCode::UnknownMemberId);
    let loading = Rig::loading(config(), MemoryLog::default());
    assert_eq!(loading.heartbeat(&members[0]), ErrorCode::None);
}
