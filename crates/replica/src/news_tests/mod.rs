//! Followers' fetches that look only at what has changed are answered as those that look at everything, whatever happens in
//! between; and leaders know the same of their followers.

mod run;
mod side;
mod threads;

use ottla_testkit::cases;
use ottla_types::BrokerEpoch;
use proptest::collection::vec;
use proptest::prelude::*;

use self::run::{Run, Says, Step, step};
use self::side::{FOLLOWERS, LAG_MS, PARTITIONS};
use crate::fetch_session::SessionRequest;
use crate::tests::taken;
use crate::{FetchParams, FollowerId, Reader, ReaderKind};

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_look_at_what_has_changed_is_one_at_everything(steps in vec(step(), 1..120)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        // And in the end nothing waits that does not wait on the other side.
        run.step(Step::Pass { ms: 1_000 });
        run.step(Step::Pass { ms: LAG_MS as u64 });
        run.alter_isrs(false);
        run.compare();
    }
}

/// What the follower that is told of first says of all partitions, in a fetch that waits for nothing.
fn fetch(says: Says, begins: bool, max_wait_ms: i32) -> Step {
    let says = vec![says; PARTITIONS as usize];
    Step::Fetch { follower: 0, says, begins, max_wait_ms, min_bytes: 1, max_bytes: 1 << 20 }
}

#[test]
fn a_fetch_looks_at_what_has_changed_alone() {
    let mut run = Run::new();
    let mut looks = |steps: &[Step]| {
        steps.iter().for_each(|step| run.step(step.clone()));
        taken(&run.hears.looks)
    };
    let again = fetch(Says::Nothing, false, 0);
    assert_eq!(looks(&[fetch(Says::End, false, 0), again.clone()]), [vec![0, 1, 2], vec![]]);
    // It is looked at until the follower is known to have it, and who waits for that is served.
    let produce = Step::Produce { partition: 1, acks: -1 };
    assert_eq!(looks(&[produce.clone(), again.clone(), again.clone()]), [[1], [1]]);
    let mut says = vec![Says::Nothing; PARTITIONS as usize];
    says[1] = Says::End;
    let has_it = Step::Fetch {
        follower: 0,
        says: says.clone(),
        begins: false,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
    };
    assert_eq!(looks(&[has_it, again.clone()]), [[1], [1]], "the other follower does not have it");
    let other = Step::Fetch {
        follower: 1,
        says: vec![Says::End; PARTITIONS as usize],
        begins: false,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
    };
    assert_eq!(looks(&[other, again.clone(), again.clone()]), [vec![0, 1, 2], vec![1], vec![]]);
    let waits = fetch(Says::Nothing, false, 500);
    assert_eq!(looks(&[waits, produce]), [[1]], "what it waits for has come");
}

#[test]
fn who_waits_is_told_of_a_leader_that_changes() {
    for change in [Step::Lead { partition: 2 }, Step::Follow { partition: 2 }, Step::Remove { partition: 2 }]
    {
        let mut run = Run::new();
        for step in [fetch(Says::End, false, 0), fetch(Says::Nothing, false, 500), change] {
            run.step(step);
        }
        assert_eq!(taken(&run.hears.looks), [vec![0, 1, 2], vec![2]]);
    }
}

#[test]
fn who_waits_in_a_session_that_its_follower_has_replaced_is_answered() {
    let mut run = Run::new();
    run.step(fetch(Says::End, false, 0));
    run.step(fetch(Says::Nothing, false, 500));
    assert!(taken(&run.hears.looks).len() == 1, "the second waits");
    run.step(fetch(Says::End, true, 0));
    assert_eq!(taken(&run.hears.looks), [vec![], vec![0, 1, 2]]);
}

/// Such as one that was given up, and comes after the one that was sent instead.
#[test]
fn a_fetch_of_another_session_lets_no_session_believe_what_it_knew() {
    let mut run = Run::new();
    run.step(fetch(Says::End, false, 0));
    let ([id, _], epoch) = run.followers[0].session.take().expect("a session");
    run.step(Step::Produce { partition: 0, acks: 1 });
    run.step(Step::Isr { partition: 0, members: [true, false] });
    run.step(Step::Pass { ms: LAG_MS as u64 + 1 });
    // What a fetch moves itself is looked at once more.
    for says in [Says::End, Says::Nothing, Says::Nothing] {
        run.step(fetch(says, false, 0));
    }
    assert_eq!(taken(&run.hears.looks), [vec![0, 1, 2], vec![0, 1, 2], vec![0], vec![]]);
    let session = SessionRequest {
        session_id: id,
        session_epoch: epoch,
        partitions: vec![run.said(0, Says::Behind).expect("it says where it is")],
        uses_topic_ids: true,
        follower: Some(FollowerId { node: FOLLOWERS[0], broker_epoch: Some(BrokerEpoch(0)) }),
        ..SessionRequest::default()
    };
    let reader = Reader { kind: ReaderKind::Follower, follower: session.follower, client: None };
    let params = FetchParams { reader, max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
    run.both(|side| side.fetch(0, session.clone(), params.clone(), run.now));
    run.step(fetch(Says::Nothing, false, 0));
    assert_eq!(taken(&run.hears.looks), [[0, 1, 2], [0, 1, 2]]);
    let (walks, hears) = (run.walks.partition(0), run.hears.partition(0));
    assert_eq!(walks.map(|it| it.known_followers()), hears.map(|it| it.known_followers()));
}
