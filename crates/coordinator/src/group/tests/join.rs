use ottla_wire::messages::join_group_request::Protocol;

use super::*;
use crate::group::classic::PENDING_JOINS_MAX;

/// What a JoinGroup is answered, with the group prepared by `before`.
#[track_caller]
fn check(
    before: impl FnOnce(&Rig),
    version: i16,
    change: impl FnOnce(&mut JoinGroupRequest),
    expected: ErrorCode,
) -> JoinGroupResponse {
    let rig = Rig::new();
    before(&rig);
    let mut request = join_request();
    change(&mut request);
    let response = rig.send_join(version, request).now();
    assert_eq!(error(response.error_code), expected);
    // What there is none of is null since version 7 (KIP-559).
    let no_protocol = if version < 7 { Some(String::new()) } else { None };
    assert!(expected == ErrorCode::None || response.protocol_name == no_protocol, "{response:?}");
    response
}

fn nothing(_: &Rig) {}

fn stable(rig: &Rig) {
    rig.stable_group(1);
}

#[test]
fn errors() {
    check(nothing, 9, |r| r.group_id.clear(), ErrorCode::InvalidGroupId);
    check(nothing, 9, |r| r.session_timeout_ms = 5_999, ErrorCode::InvalidSessionTimeout);
    check(nothing, 9, |r| r.session_timeout_ms = 1_800_001, ErrorCode::InvalidSessionTimeout);
    check(nothing, 9, |r| r.member_id = "stranger".into(), ErrorCode::UnknownMemberId);
    check(nothing, 9, |r| r.protocols.clear(), ErrorCode::InconsistentGroupProtocol);
    check(nothing, 9, |r| r.protocol_type.clear(), ErrorCode::InconsistentGroupProtocol);
    check(stable, 9, |r| r.protocol_type = "connect".into(), ErrorCode::InconsistentGroupProtocol);
    check(stable, 9, |r| r.protocols = vec![protocol("other", "")], ErrorCode::InconsistentGroupProtocol);
    check(stable, 9, |r| r.member_id = "stranger".into(), ErrorCode::UnknownMemberId);
    let by_instance = |r: &mut JoinGroupRequest| {
        r.member_id = "stranger".into();
        r.group_instance_id = Some("instance".into());
    };
    check(stable, 9, by_instance, ErrorCode::UnknownMemberId);
}

#[test]
fn a_coordinator_that_isnt_there() {
    let rig = Rig::loading(config(), MemoryLog::default());
    let code = |rig: &Rig| error(rig.send_join(9, join_request()).now().error_code);
    assert_eq!(code(&rig), ErrorCode::CoordinatorLoadInProgress);
    rig.coordinator.on_resign(0, None);
    assert_eq!(code(&rig), ErrorCode::NotCoordinator);
    rig.coordinator.stop();
    assert_eq!(code(&rig), ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn a_member_is_given_an_id_first() {
    let response = check(nothing, 4, |_| {}, ErrorCode::MemberIdRequired);
    assert_eq!(response.member_id, "client-00000000-0000-0000-0000-000000000001");
    assert_eq!(response.generation_id, -1);
}

#[test]
fn older_members_join_at_once() {
    let rig = Rig::new();
    let answer = rig.send_join(3, join_request());
    answer.is_parked();
    rig.pass(0);
    let response = answer.now();
    assert_eq!((response.error_code, response.generation_id), (0, 1));
    assert_eq!(response.leader, response.member_id);
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let rig = Rig::with_config(GroupCoordinatorConfig::default());
    let first = rig.join("");
    rig.pass(2_000);
    let second = rig.join("");
    rig.pass(1_000);
    first.is_parked();
    // Nobody came in the second delay: it ends there.
    rig.pass(3_000);
    let (first, second) = (first.now(), second.now());
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.members.len() + second.members.len(), 2);
}

#[test]
fn the_first_rebalance_waits_no_longer_than_the_rebalance_timeout() {
    let rig = Rig::with_config(GroupCoordinatorConfig::default());
    let request = JoinGroupRequest { rebalance_timeout_ms: 8_000, ..join_request() };
    let first = rig.join_with(request.clone());
    for _ in 0..7 {
        first.is_parked();
        rig.join_with(request.clone());
        rig.pass(1_000);
    }
    first.is_parked();
    rig.pass(1_000);
    assert_eq!(first.now().generation_id, 1);
}

#[test]
fn the_protocol_with_most_votes_is_chosen_of_those_that_all_support() {
    let rig = Rig::new();
    let with = |protocols: Vec<Protocol>| JoinGroupRequest { protocols, ..join_request() };
    let a = rig.join_with(with(vec![protocol("a", "a1"), protocol("b", "b1"), protocol("c", "c1")]));
    let b = rig.join_with(with(vec![protocol("c", "c2"), protocol("b", "b2")]));
    let c = rig.join_with(with(vec![protocol("b", "b3"), protocol("c", "c3"), protocol("a", "a3")]));
    rig.pass(0);
    let responses = [a.now(), b.now(), c.now()];
    for response in &responses {
        assert_eq!(response.protocol_name.as_deref(), Some("b"));
        assert_eq!(response.protocol_type.as_deref(), Some("consumer"));
    }
    let leader = responses.iter().find(|response| response.leader == response.member_id).unwrap();
    let metadata: Vec<&[u8]> = leader.members.iter().map(|member| &member.metadata[..]).collect();
    assert_eq!(metadata, [b"b1", b"b2", b"b3"]);
    assert_eq!(responses.iter().filter(|response| !response.members.is_empty()).count(), 1);
}

#[test]
fn a_protocol_counts_once_however_often_it_is_named() {
    let rig = Rig::new();
    let protocols = vec![protocol("a", "first"), protocol("a", "second"), protocol("a", "third")];
    let first = rig.join_with(JoinGroupRequest { protocols: protocols.clone(), ..join_request() });
    let second = rig.join_with(JoinGroupRequest { protocols, ..join_request() });
    rig.pass(0);
    let responses = [first.now(), second.now()];
    let leader = responses.iter().find(|response| !response.members.is_empty()).unwrap();
    assert_eq!(leader.members.len(), 2);
    assert_eq!(leader.members[0].metadata, "first");
}

#[test]
fn a_join_that_says_nothing_new_changes_nothing() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let follower = rig.join(&members[1].member_id).now();
    assert_eq!(follower.generation_id, members[1].generation_id);
    assert!(follower.members.is_empty());
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn the_leader_joining_again_begins_a_rebalance() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let leader = rig.join(&members[0].member_id);
    leader.is_parked();
    assert_eq!(rig.state(), "PreparingRebalance");
    assert_eq!(rig.heartbeat(&members[1]), ErrorCode::RebalanceInProgress);
    let follower = rig.join(&members[1].member_id).now();
    assert_eq!(follower.generation_id, members[0].generation_id + 1);
    assert_eq!(leader.now().members.len(), 2);
}

#[test]
fn a_member_that_says_something_new_begins_a_rebalance() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let mut request = JoinGroupRequest { member_id: members[1].member_id.clone(), ..join_request() };
    request.protocols[0].metadata = subscription(&["other"]);
    let changed = rig.join_with(request);
    changed.is_parked();
    let leader = rig.join(&members[0].member_id).now();
    let said = leader.members.iter().find(|member| member.member_id == members[1].member_id).unwrap();
    assert_eq!(said.metadata, subscription(&["other"]));
}

#[test]
fn while_the_assignment_is_awaited_a_lost_response_is_given_again() {
    let rig = Rig::new();
    let answer = rig.join("");
    rig.pass(0);
    let first = answer.now();
    let again = rig.join(&first.member_id).now();
    assert_eq!(again, first);
    let mut request = JoinGroupRequest { member_id: first.member_id.clone(), ..join_request() };
    request.protocols[0].metadata = subscription(&["other"]);
    assert_eq!(rig.join_with(request).now().generation_id, 2);
}

#[test]
fn who_does_not_join_in_time_is_out() {
    let rig = Rig::new();
    let members = rig.stable_group(3);
    let follower = rig.join_with(JoinGroupRequest {
        member_id: members[1].member_id.clone(),
        protocols: vec![protocol("range", "new")],
        ..join_request()
    });
    for _ in 0..5 {
        rig.pass(REBALANCE_MS / 5 - 1);
        rig.heartbeat(&members[0]);
        rig.heartbeat(&members[2]);
    }
    follower.is_parked();
    rig.pass(5);
    // The leader is out too: another takes its place.
    let response = follower.now();
    assert_eq!(response.leader, response.member_id);
    assert_eq!(response.members.len(), 1);
    assert_eq!(rig.heartbeat(&members[0]), ErrorCode::UnknownMemberId);
}

#[test]
fn a_session_that_expires_ends_the_membership() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    rig.pass(SESSION_MS / 2);
    assert_eq!(rig.heartbeat(&members[0]), ErrorCode::None);
    rig.pass(SESSION_MS / 2);
    assert_eq!(rig.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
    let alone = rig.join(&members[0].member_id).now();
    assert_eq!(alone.members.len(), 1);
}

#[test]
fn the_last_session_that_expires_leaves_the_group_empty() {
    let rig = Rig::new();
    rig.stable_group(1);
    rig.pass(SESSION_MS);
    assert_eq!(rig.state(), "Empty");
    assert_eq!(rig.taken_over().state(), "Empty");
    assert_eq!(rig.stable_group(1)[0].generation_id, 3);
}

#[test]
fn an_id_that_is_never_used_expires() {
    let rig = Rig::new();
    let response = rig.send_join(JOIN_VERSION, join_request()).now();
    rig.pass(SESSION_MS);
    let used = JoinGroupRequest { member_id: response.member_id, ..join_request() };
    let answer = rig.send_join(JOIN_VERSION, used).now();
    assert_eq!(error(answer.error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_those_who_were_given_an_id() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let pending = rig.send_join(JOIN_VERSION, join_request()).now();
    let leader = rig.join(&members[0].member_id);
    leader.is_parked();
    rig.join(&pending.member_id);
    assert_eq!(leader.now().members.len(), 2);
}

#[test]
fn a_new_member_outlives_its_session_while_it_waits() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let newcomer = rig.join("");
    for _ in 0..2 {
        rig.pass(SESSION_MS - 1);
        rig.heartbeat(&members[0]);
    }
    newcomer.is_parked();
    rig.join(&members[0].member_id);
    assert_eq!(newcomer.now().error_code, 0);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let config = GroupCoordinatorConfig { group_max_size: 2, ..config() };
    let rig = Rig::with_config(config);
    let members = rig.stable_group(2);
    let refused = rig.send_join(3, join_request()).now();
    assert_eq!(error(refused.error_code), ErrorCode::GroupMaxSizeReached);
    assert_eq!(refused.member_id, "");
    // While the group rebalances, those who are quicker get the place.
    let leader = rig.join(&members[0].member_id);
    let newcomer = rig.send_join(3, join_request());
    let late = rig.join(&members[1].member_id);
    assert_eq!(error(late.now().error_code), ErrorCode::GroupMaxSizeReached);
    leader.is_parked();
    newcomer.is_parked();
}

#[test]
fn a_new_group_is_not_announced_before_it_is_written() {
    let rig = Rig::new();
    rig.hold_commits();
    let answer = rig.send_join(JOIN_VERSION, join_request());
    answer.is_parked();
    rig.commit();
    assert_eq!(error(answer.now().error_code), ErrorCode::MemberIdRequired);
    assert_eq!(rig.taken_over().state(), "Empty");
}

#[test]
fn a_new_group_that_cant_be_written_is_refused() {
    let rig = Rig::new();
    for version in [JOIN_VERSION, 3] {
        rig.fail_next_append(ErrorCode::NotEnoughReplicas);
        let answer = rig.send_join(version, join_request()).now();
        assert_eq!(error(answer.error_code), ErrorCode::CoordinatorNotAvailable);
        assert_eq!(rig.state(), "Dead");
    }
}

#[test]
fn resigning_tells_who_waits() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let joining = rig.join(&members[0].member_id);
    rig.coordinator.on_resign(0, Some(LeaderEpoch(1)));
    assert_eq!(error(joining.now().error_code), ErrorCode::NotCoordinator);
}

/// Clients that ask for a member id and never come back.
#[test]
fn of_ids_that_are_never_used_the_oldest_go() {
    let rig = Rig::new();
    let ask = || rig.send_join(JOIN_VERSION, join_request()).now().member_id;
    let first = ask();
    let others: Vec<String> = (0..PENDING_JOINS_MAX).map(|_| ask()).collect();
    let joined = rig.send_join(JOIN_VERSION, JoinGroupRequest { member_id: first, ..join_request() });
    assert_eq!(error(joined.now().error_code), ErrorCode::UnknownMemberId);
    let second = JoinGroupRequest { member_id: others[0].clone(), ..join_request() };
    let waits = rig.send_join(JOIN_VERSION, second);
    waits.is_parked();
    // Those that are left keep the group waiting until their time is over.
    rig.pass(join_request().session_timeout_ms);
    assert_eq!(error(waits.now().error_code), ErrorCode::None);
}
