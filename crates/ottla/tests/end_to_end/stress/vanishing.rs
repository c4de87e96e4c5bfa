//! Members that vanish in any phase.

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::members::{Member, assigned, beat, join_modern, live_until_it_owns_all};
use super::{
    LONG_MS, call, code, connect, hurried, until_some, wait_for_coordinator, with_enough_time, with_topic,
};

/// Goes through a group up to a point, and no further. None where it was so slow that it was given up earlier: then it
/// has to be tried again with more time.
type Ghost = fn(Member, &mut Member) -> Option<()>;

#[test]
fn members_that_vanish_in_any_phase_leave_the_group_to_the_others() {
    let phases: [(&str, Ghost); 6] = [
        ("with an id that it was given", |ghost, stays| {
            let answer = call(&ghost.stream, &ghost.join_request(Bytes::new()), 9);
            assert_eq!(code(answer.error_code), ErrorCode::MemberIdRequired);
            drop(ghost);
            stays.settle()
        }),
        ("waiting in a join", |mut ghost, stays| {
            stays.settle()?;
            ghost.send_join();
            Some(())
        }),
        ("as a follower that does not sync", |mut ghost, stays| {
            stays.settle()?;
            join_both(stays, &mut ghost)
        }),
        ("as a follower that waits in a sync", |mut ghost, stays| {
            stays.settle()?;
            join_both(stays, &mut ghost)?;
            ghost.send_sync(&[]);
            let members = [ghost.id.clone(), stays.id.clone()];
            drop(ghost);
            stays.send_sync(&members.each_ref().map(String::as_str));
            let _ = stays.synced();
            Some(())
        }),
        ("as the leader that does not sync", |mut ghost, stays| {
            ghost.settle()?;
            join_both(&mut ghost, stays)?;
            stays.send_sync(&[]);
            drop(ghost);
            assert_eq!(code(stays.synced().error_code), ErrorCode::RebalanceInProgress);
            Some(())
        }),
        ("in a stable group", |mut ghost, stays| {
            ghost.settle()?;
            join_both(&mut ghost, stays)?;
            let members = [ghost.id.clone(), stays.id.clone()];
            ghost.send_sync(&members.each_ref().map(String::as_str));
            stays.send_sync(&[]);
            let _ = stays.synced();
            Some(())
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let ottla = hurried(dir.path()).start();
    wait_for_coordinator(&with_topic(&ottla), 0);
    for (phase, haunt) in phases {
        println!("{phase}");
        with_enough_time(|timeout_ms| {
            let group = format!("{phase} in {timeout_ms} ms");
            let mut stays = Member::new(&ottla, &group, LONG_MS);
            haunt(Member::new(&ottla, &group, timeout_ms), &mut stays)?;
            stays.live_until_alone();
            Some(())
        });
    }
    assert!(ottla.stop().success());
}

/// The second one joins the group of the first, which joins again.
fn join_both(first: &mut Member, second: &mut Member) -> Option<()> {
    second.send_join();
    until_some(|| match code(call(&first.stream, &first.heartbeat_request(), 4).error_code) {
        ErrorCode::None => None,
        answered => Some(answered == ErrorCode::RebalanceInProgress),
    })
    .then_some(())?;
    first.send_join();
    let codes = [first.joined().error_code, second.joined().error_code];
    (codes == [0, 0] && first.is_leader && !second.is_leader).then_some(())
}

#[test]
fn members_of_the_consumer_protocol_that_vanish_leave_their_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = hurried(dir.path()).start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    // One that has just joined and never heard of its partitions, and one that owns them and would have to give up one.
    for has_heard in [false, true] {
        let group = format!("haunted, heard: {has_heard}");
        let ghost = connect(&ottla);
        let joined = join_modern(&ghost, &group, "ghost");
        assert_eq!(code(joined.error_code), ErrorCode::None);
        if has_heard {
            beat(&ghost, &group, "ghost", joined.member_epoch, &assigned(&joined).unwrap());
        }
        drop(ghost);
        live_until_it_owns_all(&stream, &group, "stays");
    }
    assert!(ottla.stop().success());
}
