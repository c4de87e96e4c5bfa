use ottla_wire::messages::leave_group_request::Member as Leaving;
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::*;

fn leave(rig: &Rig, members: Vec<Leaving>) -> LeaveGroupResponse {
    let request = LeaveGroupRequest { group_id: GROUP.into(), members, ..LeaveGroupRequest::default() };
    Answer::of(|reply| rig.coordinator.leave_group(rig.context(5), request, reply)).now()
}

fn member(member_id: &str) -> Leaving {
    Leaving { member_id: member_id.into(), ..Leaving::default() }
}

fn codes(response: &LeaveGroupResponse) -> Vec<ErrorCode> {
    response.members.iter().map(|member| error(member.error_code)).collect()
}

#[test]
fn several_leave_at_once() {
    let rig = Rig::new();
    let members = rig.stable_group(3);
    let left =
        leave(&rig, vec![member(&members[0].member_id), member("stranger"), member(&members[2].member_id)]);
    assert_eq!(left.error_code, 0);
    assert_eq!(codes(&left), [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::None]);
    let remaining = rig.join(&members[1].member_id).now();
    assert_eq!((remaining.leader.as_str(), remaining.members.len()), (remaining.member_id.as_str(), 1));
}

#[test]
fn the_last_one_leaves_the_group_empty() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    rig.hold_commits();
    leave_unanswered(&rig, &members[0].member_id).is_parked();
    rig.commit();
    assert_eq!(rig.state(), "Empty");
    assert_eq!(rig.taken_over().state(), "Empty");
}

fn leave_unanswered(rig: &Rig, member_id: &str) -> Answer<LeaveGroupResponse> {
    let members = vec![member(member_id)];
    let request = LeaveGroupRequest { group_id: GROUP.into(), members, ..LeaveGroupRequest::default() };
    Answer::of(|reply| rig.coordinator.leave_group(rig.context(5), request, reply))
}

#[test]
fn strangers_and_unknown_groups() {
    let rig = Rig::new();
    assert_eq!(codes(&leave(&rig, vec![member("stranger")])), [ErrorCode::UnknownMemberId]);
    rig.stable_group(1);
    let by_instance = Leaving { group_instance_id: Some("instance".into()), ..Leaving::default() };
    assert_eq!(codes(&leave(&rig, vec![by_instance, member("")])), [ErrorCode::UnknownMemberId; 2]);
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn who_was_only_given_an_id_may_give_it_back() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let pending = rig.send_join(JOIN_VERSION, join_request()).now();
    let leader = rig.join(&members[0].member_id);
    leader.is_parked();
    assert_eq!(codes(&leave(&rig, vec![member(&pending.member_id)])), [ErrorCode::None]);
    assert_eq!(leader.now().members.len(), 1);
}

#[test]
fn a_waiting_member_that_leaves_is_answered() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let joining = rig.join(&members[0].member_id);
    leave(&rig, vec![member(&members[0].member_id)]);
    assert_eq!(error(joining.now().error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn versions_for_one_member_have_one_error() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    let send = |member_id: &str| {
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), member_id: member_id.into(), ..Default::default() };
        let answer = Answer::of(|reply| rig.coordinator.leave_group(rig.context(2), request, reply)).now();
        assert!(answer.members.is_empty());
        error(answer.error_code)
    };
    assert_eq!(send("stranger"), ErrorCode::UnknownMemberId);
    assert_eq!(send(&members[0].member_id), ErrorCode::None);
    assert_eq!(send(&members[0].member_id), ErrorCode::UnknownMemberId);
}
