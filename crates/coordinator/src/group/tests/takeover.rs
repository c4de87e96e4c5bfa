//! Another coordinator takes over with what was committed.

use super::offsets::{commit, commit_request, fetch};
use super::*;
use crate::testing::Content;

#[test]
fn members_keep_their_generation_and_assignment() {
    let rig = Rig::new();
    let members = rig.stable_group(3);
    let next = rig.taken_over();
    assert_eq!(next.state(), "Stable");
    for member in &members {
        assert_eq!(next.heartbeat(member), ErrorCode::None);
        assert_eq!(next.sync(member).now().assignment, member.member_id);
    }
}

#[test]
fn sessions_begin_anew() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    rig.pass(SESSION_MS - 1);
    let next = rig.taken_over();
    next.pass(SESSION_MS - 1);
    assert_eq!(next.heartbeat(&members[0]), ErrorCode::None);
    next.pass(1);
    assert_eq!(next.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    assert_eq!(next.heartbeat(&members[1]), ErrorCode::UnknownMemberId);
}

#[test]
fn a_generation_whose_assignment_was_not_committed_never_was() {
    let rig = Rig::new();
    let members = rig.stable_group(2);
    let answers: Vec<_> = members.iter().map(|member| rig.join(&member.member_id)).collect();
    let rejoined: Vec<_> = answers.iter().map(Answer::now).collect();
    rig.hold_commits();
    rig.sync_as_leader(&rejoined[0]).is_parked();
    let next = rig.taken_over();
    assert_eq!(next.heartbeat(&rejoined[0]), ErrorCode::IllegalGeneration);
    assert_eq!(next.heartbeat(&members[0]), ErrorCode::None);
    let again: Vec<_> = members.iter().map(|member| next.join(&member.member_id)).collect();
    assert_eq!(again[0].now().generation_id, rejoined[0].generation_id);
}

#[test]
fn a_group_that_is_too_large_now_is_asked_to_rebalance() {
    let rig = Rig::new();
    let members = rig.stable_group(3);
    let config = GroupCoordinatorConfig { group_max_size: 2, ..config() };
    let next = Rig::with_log(config, rig.logs.log(0));
    assert_eq!(next.heartbeat(&members[0]), ErrorCode::RebalanceInProgress);
    let answers: Vec<_> = members.iter().map(|member| next.join(&member.member_id)).collect();
    assert_eq!(error(answers[2].now().error_code), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_commit_in_flight_is_answered_once_the_new_leader_knows_it_is_safe() {
    let rig = Rig::new();
    let members = rig.stable_group(1);
    rig.hold_commits();
    rig.join(&members[0].member_id);
    let rejoined = rig.join(&members[0].member_id).now();
    rig.sync_as_leader(&rejoined).is_parked();
    // The new leader has the record, but does not know yet that it is committed.
    let next = Rig::loading(config(), rig.logs.log(0));
    next.now_ms.set(rig.now_ms.get());
    next.load();
    let heartbeat = next.send_heartbeat(HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: rejoined.generation_id,
        member_id: rejoined.member_id.clone(),
        ..HeartbeatRequest::default()
    });
    heartbeat.is_parked();
    next.commit();
    assert_eq!(heartbeat.now().error_code, 0);
}

#[test]
fn offsets_do_not_go_back_while_a_new_leader_does_not_know_what_is_committed() {
    let rig = Rig::new();
    let commit = |offset| offsets::send_commit(&rig, 8, offsets::commit_request(&[("t", 0, offset)]));
    commit(15);
    rig.hold_commits();
    commit(33);
    let next = Rig::loading(config(), rig.logs.log(0));
    next.load();
    let fetched = offsets::send_fetch(&next, 8, offsets::fetch_request(GROUP, 0));
    fetched.is_parked();
    next.commit();
    assert_eq!(fetched.now().groups[0].topics[0].partitions[0].committed_offset, 33);
    assert_eq!(offsets::fetch(&next, GROUP, 0), 33);
}

#[test]
fn what_a_group_left_of_its_time_as_another_kind_does_not_concern_it() {
    let rig = Rig::new();
    rig.stable_group(1);
    rig.logs.push(0, Content::Records(None, records::consumer_group_tombstones(GROUP)));
    rig.logs.commit(0);
    assert_eq!(rig.taken_over().state(), "Stable");
}

#[test]
fn a_group_that_was_cut_off_while_it_became_another_kind_is_one_of_offsets() {
    let rig = Rig::new();
    assert_eq!(commit(&rig, commit_request(&[("t", 0, 5)])), ErrorCode::None);
    rig.stable_group(1);
    // What would have followed was not written.
    rig.logs.push(0, Content::Records(None, vec![records::group_tombstone(GROUP)]));
    rig.logs.commit(0);
    let next = rig.taken_over();
    assert_eq!((next.state().as_str(), fetch(&next, GROUP, 0)), ("Empty", 5));
    assert_eq!(listing::ids(listing::list(&next, &[], &["classic"])), [GROUP]);
    for _ in 0..8 {
        next.pass(24 * 3_600_000);
    }
    assert_eq!(fetch(&next, GROUP, 0), -1, "they expire like those of any such group");
    assert!(listing::ids(listing::list(&next, &[], &[])).is_empty());
}
