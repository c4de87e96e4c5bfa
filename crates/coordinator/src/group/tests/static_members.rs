use super::*;
use ottla_wire::messages::LeaveGroupRequest;
use ottla_wire::messages::leave_group_request::Member as Leaving;

const INSTANCE: &str = "instance";

fn static_request(instance_id: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_instance_id: Some(instance_id.to_owned()),
        member_id: member_id.to_owned(),
        ..join_request()
    }
}

/// A stable group of the static members `a` and `b`, the leader first.
fn static_group(rig: &Rig) -> Vec<JoinGroupResponse> {
    let answers = [rig.join_with(static_request("a", "")), rig.join_with(static_request("b", ""))];
    rig.pass(0);
    let mut members: Vec<_> = answers.iter().map(Answer::now).collect();
    members.sort_by_key(|member| member.leader != member.member_id);
    rig.sync_as_leader(&members[0]);
    rig.sync(&members[1]);
    members
}

fn heartbeat(rig: &Rig, instance_id: &str, joined: &JoinGroupResponse) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: Some(instance_id.into()),
        ..HeartbeatRequest::default()
    };
    error(rig.send_heartbeat(request).now().error_code)
}

#[test]
fn a_member_that_is_back_takes_its_place_without_a_rebalance() {
    let rig = Rig::new();
    let members = static_group(&rig);
    rig.hold_commits();
    let answer = rig.join_with(static_request("b", ""));
    answer.is_parked();
    rig.commit();
    let back = answer.now();
    assert_eq!((back.error_code, back.generation_id), (0, members[1].generation_id));
    assert_ne!(back.member_id, members[1].member_id);
    assert!(back.member_id.starts_with("b-"));
    assert!(!back.skip_assignment && back.members.is_empty());
    assert_eq!(rig.sync(&back).now().assignment, members[1].member_id);
    assert_eq!(heartbeat(&rig, "b", &members[1]), ErrorCode::FencedInstanceId);
    assert_eq!(heartbeat(&rig, "b", &back), ErrorCode::None);
    assert_eq!(heartbeat(&rig.taken_over(), "b", &back), ErrorCode::None);
}

#[test]
fn a_leader_that_is_back_leaves_the_assignment_as_it_is() {
    let rig = Rig::new();
    static_group(&rig);
    let back = rig.join_with(static_request("a", "")).now();
    assert_eq!(back.leader, back.member_id);
    assert!(back.skip_assignment);
    assert_eq!(back.members.len(), 2);
}

#[test]
fn an_older_leader_that_is_back_is_told_that_its_former_self_leads() {
    let rig = Rig::new();
    let members = static_group(&rig);
    let back = rig.send_join(8, static_request("a", "")).now();
    assert_eq!(back.leader, members[0].member_id);
    assert!(!back.skip_assignment && back.members.is_empty());
}

#[test]
fn a_replacement_that_cant_be_written_is_undone() {
    let rig = Rig::new();
    let members = static_group(&rig);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    let refused = rig.join_with(static_request("b", "")).now();
    assert_eq!(error(refused.error_code), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(heartbeat(&rig, "b", &members[1]), ErrorCode::None);
}

#[test]
fn a_change_of_the_protocol_needs_a_rebalance() {
    let rig = Rig::new();
    let both = |request: JoinGroupRequest| JoinGroupRequest {
        protocols: vec![protocol("range", "r"), protocol("sticky", "s")],
        ..request
    };
    let a = rig.join_with(both(static_request("a", "")));
    rig.pass(0);
    rig.sync_as_leader(&a.now());
    let changed = JoinGroupRequest { protocols: vec![protocol("sticky", "s")], ..static_request("a", "") };
    // It votes for the other protocol now, but nobody knows it of the stored group before the rebalance.
    let back = rig.join_with(changed).now();
    assert_eq!(back.generation_id, 2);
    assert_eq!(back.protocol_name.as_deref(), Some("sticky"));
}

#[test]
fn a_member_that_is_back_while_others_wait_for_the_assignment_begins_a_rebalance() {
    let rig = Rig::new();
    let answers = [rig.join_with(static_request("a", "")), rig.join_with(static_request("b", ""))];
    rig.pass(0);
    let a = answers[0].now();
    let waiting = rig.sync(&answers[1].now());
    let back = rig.join_with(static_request("a", ""));
    back.is_parked();
    assert_eq!(error(waiting.now().error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(heartbeat(&rig, "a", &a), ErrorCode::FencedInstanceId);
}

#[test]
fn requests_of_a_former_self_are_fenced() {
    let rig = Rig::new();
    let members = static_group(&rig);
    let old_join = rig.join_with(static_request("a", &members[0].member_id));
    old_join.is_parked();
    rig.join_with(static_request("a", "")).is_parked();
    assert_eq!(error(old_join.now().error_code), ErrorCode::FencedInstanceId);
    let again = rig.join_with(static_request("a", &members[0].member_id)).now();
    assert_eq!(error(again.error_code), ErrorCode::FencedInstanceId);
    let sync = SyncGroupRequest { group_instance_id: Some("a".into()), ..sync_request(&members[0]) };
    assert_eq!(error(rig.send_sync(sync).now().error_code), ErrorCode::FencedInstanceId);
}

#[test]
fn static_members_are_missed_by_their_session_alone() {
    let rig = Rig::new();
    let long = |instance_id: &str, member_id: &str| JoinGroupRequest {
        session_timeout_ms: 100_000,
        ..static_request(instance_id, member_id)
    };
    let answers = [rig.join_with(long("a", "")), rig.join_with(long("b", ""))];
    rig.pass(0);
    let mut members: Vec<_> = answers.iter().map(Answer::now).collect();
    members.sort_by_key(|member| member.leader != member.member_id);
    rig.sync_as_leader(&members[0]);
    rig.sync(&members[1]);
    let instance = if members[0].member_id.starts_with("a") { "a" } else { "b" };
    let leader = rig.join_with(long(instance, &members[0].member_id));
    rig.pass(REBALANCE_MS);
    // The one that did not join is part of the generation all the same.
    assert_eq!(leader.now().members.len(), 2);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let rig = Rig::new();
    let members = static_group(&rig);
    let leave = |member: Leaving| {
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), members: vec![member], ..Default::default() };
        let answer = Answer::of(|reply| rig.coordinator.leave_group(rig.context(5), request, reply));
        error(answer.now().members[0].error_code)
    };
    let of = |instance_id: &str, member_id: &str| Leaving {
        member_id: member_id.into(),
        group_instance_id: Some(instance_id.into()),
        ..Leaving::default()
    };
    assert_eq!(leave(of(INSTANCE, "")), ErrorCode::UnknownMemberId);
    assert_eq!(leave(of("b", &members[0].member_id)), ErrorCode::FencedInstanceId);
    assert_eq!(leave(of("b", "")), ErrorCode::None);
    assert_eq!(rig.state(), "PreparingRebalance");
}
