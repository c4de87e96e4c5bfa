use AcknowledgeType::{Accept, Gap, Reject, Release, Renew};
use RecordState::{Acknowledged, Acquired, Archived, Available};

use super::*;

fn persisted(first: i64, last: i64, state: RecordState, delivery_count: i16) -> PersistedBatch {
    PersistedBatch { first_offset: Offset(first), last_offset: Offset(last), state, delivery_count }
}

#[test]
fn whole_batches_go_to_one_member_after_the_other() {
    let mut bench = Bench::new();
    assert_eq!(bench.fetch("a", 5, &[(0, 9), (10, 19)]), [(0, 9, 1)]);
    assert_eq!(bench.partition.next_fetch_offset(), Offset(10));
    assert_eq!(bench.fetch("b", 100, &[(10, 19)]), [(10, 19, 1)]);
    assert_eq!(bench.fetch("c", 100, &[]), []);
    let write = bench.acknowledge("b", &[acknowledgement(10, 19, &[Accept])]).unwrap().unwrap();
    assert_eq!((write.start_offset, write.delivery_complete_count), (Offset(0), 10));
    assert_eq!((write.state_epoch, write.leader_epoch), (0, 3));
    assert_eq!(write.batches, [persisted(10, 19, Acknowledged, 1)]);
    assert_eq!(bench.span(), (0, 19));
    bench.acknowledge("a", &[acknowledgement(0, 9, &[Accept])]).unwrap();
    assert_eq!(bench.span(), (20, 20));
}

#[test]
fn a_limit_of_records_is_kept_where_it_is_asked_for() {
    let mut bench = Bench::new();
    let limited = limits(AcquireMode::RecordLimit, 4);
    assert_eq!(bench.fetch_as("a", limited, &[(0, 9)], &[]), [(0, 3, 1)]);
    assert_eq!(bench.partition.next_fetch_offset(), Offset(4));
    assert_eq!(bench.fetch_as("b", limited, &[(0, 9)], &[]), [(4, 7, 1)]);
    bench.acknowledge("a", &[acknowledgement(0, 3, &[Release])]).unwrap();
    let two = limits(AcquireMode::RecordLimit, 2);
    assert_eq!(bench.fetch_as("c", two, &[(0, 9)], &[]), [(0, 1, 2)]);
    assert_eq!(bench.fetch_as("c", limited, &[(0, 9)], &[]), [(2, 3, 2), (8, 9, 1)]);
}

#[test]
fn large_fetches_are_acquired_in_pieces_that_end_with_batches() {
    let mut bench = Bench::new();
    let sized = AcquireLimits { batch_size: 6, ..limits(AcquireMode::BatchOptimized, 100) };
    let acquired = bench.fetch_as("a", sized, &[(0, 4), (5, 9), (10, 14), (15, 19)], &[]);
    assert_eq!(acquired, [(0, 9, 1), (10, 19, 1)]);
}

#[test]
fn each_kind_of_acknowledgement_does_what_it_says() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 4)]);
    let write =
        bench.acknowledge("a", &[acknowledgement(0, 4, &[Accept, Release, Reject, Gap, Renew])]).unwrap();
    let expected =
        [persisted(0, 0, Acknowledged, 1), persisted(1, 1, Available, 1), persisted(2, 3, Archived, 1)];
    assert_eq!(write.unwrap().batches, expected);
    assert_eq!(bench.span(), (1, 4));
    assert_eq!(bench.partition.at(4), Some((Acquired, 1, false)));
    assert_eq!(bench.fetch("b", 100, &[(0, 4)]), [(1, 1, 2)]);
}

#[test]
fn what_a_member_does_not_have_it_can_t_acknowledge() {
    let mut bench = Bench::new();
    let invalid_state = Err(ErrorCode::InvalidRecordState);
    let invalid_request = Err(ErrorCode::InvalidRequest);
    assert_eq!(bench.acknowledge("a", &[acknowledgement(0, 4, &[Accept])]), invalid_state);
    bench.fetch("a", 100, &[(0, 4)]);
    bench.fetch("b", 100, &[(5, 9)]);
    assert_eq!(bench.acknowledge("b", &[acknowledgement(0, 4, &[Accept])]), invalid_state);
    assert_eq!(bench.acknowledge("a", &[acknowledgement(4, 5, &[Accept])]), invalid_state);
    assert_eq!(bench.acknowledge("a", &[acknowledgement(0, 10, &[Accept])]), invalid_request);
    assert_eq!(bench.acknowledge("a", &[acknowledgement(3, 2, &[Accept])]), invalid_request);
    assert_eq!(bench.acknowledge("a", &[acknowledgement(0, 4, &[])]), invalid_request);
    assert_eq!(bench.acknowledge("a", &[acknowledgement(0, 4, &[Accept, Accept])]), invalid_request);
    let twice = [acknowledgement(0, 1, &[Accept]), acknowledgement(1, 2, &[Accept])];
    assert_eq!(bench.acknowledge("a", &twice), invalid_state);
    // All or nothing.
    let half = [acknowledgement(0, 1, &[Accept]), acknowledgement(4, 5, &[Accept])];
    assert_eq!(bench.acknowledge("a", &half), invalid_state);
    assert_eq!(bench.partition.at(0), Some((Acquired, 1, false)));
    assert!(bench.acknowledge("a", &[acknowledgement(0, 4, &[Accept])]).is_ok());
    assert_eq!(bench.acknowledge("b", &[acknowledgement(0, 4, &[Accept])]), Ok(None));
}

#[test]
fn nothing_is_decided_before_it_is_persisted() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 4)]);
    let now = bench.now();
    let first = [acknowledgement(0, 1, &[Accept]), acknowledgement(2, 4, &[Release])];
    let change = bench.partition.acknowledge(&member("a"), &first, now).unwrap().unwrap();
    assert_eq!(
        bench.acknowledge("a", &[acknowledgement(0, 0, &[Accept])]),
        Err(ErrorCode::InvalidRecordState)
    );
    assert_eq!(bench.fetch("b", 100, &[(0, 4)]), []);
    assert_eq!(bench.span(), (0, 4));
    assert!(bench.partition.persisted(change.id, Err(ErrorCode::CoordinatorNotAvailable)));
    assert_eq!(bench.partition.at(2), Some((Acquired, 1, false)));
    let change = bench.partition.acknowledge(&member("a"), &first, now).unwrap().unwrap();
    bench.persist(change);
    assert_eq!(bench.span(), (2, 4));
    assert_eq!(bench.fetch("b", 100, &[(0, 4)]), [(2, 4, 2)]);
    assert!(!bench.partition.persisted(77, Ok(())));
}

#[test]
fn a_lock_begins_when_its_member_is_handed_the_record() {
    let mut bench = Bench::new();
    let all = limits(AcquireMode::BatchOptimized, 100);
    let acquired = bench.partition.acquire(&member("a"), &all, Offset(0), &log_batches(&[(0, 4)]), &[]);
    assert_eq!(bench.partition.next_deadline(), MonoMs::NEVER);
    assert!(bench.partition.expire_locks(MonoMs(10 * LOCK_MS)).is_none(), "it is not handed over yet");
    assert_eq!(bench.fetch("b", 100, &[(0, 4)]), [], "and nobody else's");
    // Its session has ended before it was answered.
    let released = bench.partition.release(&member("a")).unwrap();
    bench.persist(released);
    let one = limits(AcquireMode::RecordLimit, 1);
    assert_eq!(bench.fetch_as("b", one, &[(0, 4)], &[]), [(0, 0, 2)]);
    let of_b = bench.partition.next_deadline();
    bench.partition.begin_locks(&member("a"), &acquired, MonoMs(of_b.0));
    bench.partition.check();
    let expired = bench.partition.expire_locks(of_b).expect("b's time is over");
    assert_eq!(expired.write.batches, [persisted(0, 0, Available, 2)]);
    assert!(bench.partition.expire_locks(of_b.plus_ms(LOCK_MS as i64)).is_none());
}

#[test]
fn a_lock_that_runs_out_gives_the_record_to_somebody_else() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 4)]);
    assert_eq!(bench.partition.next_deadline(), MonoMs(LOCK_MS));
    assert_eq!(bench.wait(LOCK_MS - 1), None);
    bench.acknowledge("a", &[acknowledgement(0, 1, &[Renew])]).unwrap();
    let change = bench.wait(1).unwrap();
    assert_eq!(change.write.batches, [persisted(2, 4, Available, 1)]);
    // It is available whether that is persisted or not.
    bench.partition.persisted(change.id, Err(ErrorCode::UnknownServerError));
    assert_eq!(bench.fetch("b", 100, &[(0, 4)]), [(2, 4, 2)]);
    assert_eq!(
        bench.acknowledge("a", &[acknowledgement(2, 4, &[Accept])]),
        Err(ErrorCode::InvalidRecordState)
    );
    let change = bench.wait(LOCK_MS - 2);
    assert_eq!(change, None);
    assert_eq!(bench.wait(1).unwrap().write.batches, [persisted(0, 1, Available, 1)]);
}

/// A member may renew what it has as often, and in as small pieces, as it can send.
#[test]
fn what_is_renewed_again_and_again_takes_no_more_room() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 99)]);
    let one_by_one: Vec<_> = (0..100).map(|offset| acknowledgement(offset, offset, &[Renew])).collect();
    for _ in 0..1_000 {
        bench.now_ms += 1;
        bench.acknowledge("a", &one_by_one).unwrap();
        assert!(bench.partition.lock_deadlines.len() <= 200);
    }
    assert_eq!(bench.wait(LOCK_MS - 1), None);
    assert_eq!(bench.wait(1).unwrap().write.batches.len(), 100);
    assert_eq!(bench.partition.next_deadline(), MonoMs::NEVER);
}

#[test]
fn a_group_may_leave_no_time_beyond_the_first() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 4)]);
    bench.partition.set_settings(ShareSettings { may_renew: false, ..settings() });
    assert_eq!(
        bench.acknowledge("a", &[acknowledgement(0, 4, &[Renew])]),
        Err(ErrorCode::InvalidRecordState)
    );
    assert!(bench.acknowledge("a", &[acknowledgement(0, 4, &[Accept])]).is_ok());
}

#[test]
fn a_lock_that_runs_out_while_an_acknowledgement_waits_counts_if_that_fails() {
    for (result, at_0) in [(Ok(()), None), (Err(ErrorCode::UnknownServerError), Some((Available, 1, false)))]
    {
        let mut bench = Bench::new();
        bench.fetch("a", 100, &[(0, 4)]);
        let accept = [acknowledgement(0, 2, &[Accept])];
        let change = bench.partition.acknowledge(&member("a"), &accept, MonoMs(0)).unwrap().unwrap();
        assert_eq!(bench.wait(LOCK_MS).unwrap().write.batches, [persisted(3, 4, Available, 1)]);
        bench.partition.persisted(change.id, result);
        bench.partition.check();
        bench.wait(0);
        assert_eq!(bench.partition.at(0), at_0);
    }
}

#[test]
fn after_the_last_delivery_a_record_is_given_up() {
    type End = fn(&mut Bench) -> StateWrite;
    let released: End =
        |bench| bench.acknowledge("a", &[acknowledgement(0, 0, &[Release])]).unwrap().unwrap();
    let kept_too_long: End = |bench| bench.wait(LOCK_MS).unwrap().write;
    for end in [released, kept_too_long] {
        let mut bench = Bench::new();
        for delivery in 1..=4 {
            assert_eq!(bench.fetch("a", 100, &[(0, 0)]), [(0, 0, delivery)]);
            bench.acknowledge("a", &[acknowledgement(0, 0, &[Release])]).unwrap();
        }
        assert_eq!(bench.fetch("a", 100, &[(0, 0)]), [(0, 0, 5)]);
        let write = end(&mut bench);
        assert_eq!(write.batches, [persisted(0, 0, Archived, 5)]);
        assert_eq!(write.delivery_complete_count, 1);
        assert_eq!(bench.span(), (1, 1));
        assert_eq!(bench.fetch("a", 100, &[(1, 1)]), [(1, 1, 1)]);
    }
}

#[test]
fn records_that_fail_are_delivered_in_ever_smaller_pieces() {
    let mut bench = Bench::new();
    let mut sizes = Vec::new();
    for _ in 0..5 {
        let acquired = bench.fetch("a", 100, &[(0, 15), (16, 31)]);
        sizes.push(acquired.iter().map(|(first, last, _)| last - first + 1).sum::<i64>());
        bench.wait(LOCK_MS);
        // The others are of no interest: they are done with as soon as they come.
        loop {
            let next = bench.partition.next_fetch_offset().0;
            if next == 0 || next >= 32 {
                break;
            }
            for (first, last, _) in bench.fetch("a", 100, &[(0, 15), (16, 31)]) {
                bench.acknowledge("a", &[acknowledgement(first, last, &[Accept])]).unwrap();
            }
        }
    }
    assert_eq!(sizes, [32, 32, 32, 16, 1]);
}

#[test]
fn what_a_member_leaves_behind_comes_again() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 4)]);
    bench.fetch("b", 100, &[(5, 9)]);
    let change = bench.partition.release(&member("a")).unwrap();
    assert_eq!(change.write.batches, [persisted(0, 4, Available, 1)]);
    assert_eq!(bench.partition.release(&member("a")), None);
    bench.persist(change);
    assert_eq!(bench.fetch("c", 100, &[(0, 4), (5, 9)]), [(0, 4, 2)]);
    assert_eq!(bench.partition.at(5), Some((Acquired, 1, false)));
}

#[test]
fn no_more_is_in_flight_than_the_group_allows() {
    let mut bench = Bench::new();
    assert_eq!(bench.fetch("a", 500, &[(0, 149), (150, 299)]), [(0, 299, 1)]);
    assert!(!bench.partition.can_acquire());
    bench.acknowledge("a", &[acknowledgement(100, 110, &[Release])]).unwrap();
    assert!(bench.partition.can_acquire());
    assert_eq!(bench.fetch("b", 500, &[(0, 149), (150, 299), (300, 310)]), [(100, 110, 2)]);
    assert!(!bench.partition.can_acquire());
    bench.acknowledge("a", &[acknowledgement(0, 99, &[Accept])]).unwrap();
    assert_eq!(bench.partition.in_flight(), 200);
    assert_eq!(bench.fetch("b", 500, &[(300, 310)]), []);
    bench.acknowledge("b", &[acknowledgement(100, 110, &[Accept])]).unwrap();
    assert!(bench.partition.can_acquire());
    let limited = limits(AcquireMode::RecordLimit, 500);
    assert_eq!(bench.fetch_as("b", limited, &[(300, 340)], &[]), [(300, 310, 1)]);
}

#[test]
fn what_the_log_has_lost_is_lost() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 9), (10, 19)]);
    bench.partition.log_start_moved(Offset(5));
    bench.partition.check();
    assert_eq!(bench.span(), (5, 19));
    bench.partition.log_start_moved(Offset(3));
    assert_eq!(bench.span(), (5, 19));
    let write = bench.acknowledge("a", &[acknowledgement(0, 9, &[Accept])]).unwrap().unwrap();
    assert_eq!((write.start_offset, write.batches), (Offset(5), vec![persisted(5, 9, Acknowledged, 1)]));
    let accept = [acknowledgement(10, 19, &[Accept])];
    let change = bench.partition.acknowledge(&member("a"), &accept, MonoMs(0)).unwrap().unwrap();
    bench.partition.log_start_moved(Offset(30));
    bench.persist(change);
    assert_eq!(bench.span(), (30, 30));
    assert_eq!(bench.partition.next_fetch_offset(), Offset(30));
    assert_eq!(bench.acknowledge("a", &[acknowledgement(10, 19, &[Accept])]), Ok(None));
}

#[test]
fn batches_that_compaction_took_are_skipped() {
    let mut bench = Bench::new();
    bench.fetch("a", 100, &[(0, 4), (5, 9), (10, 14)]);
    bench.acknowledge("a", &[acknowledgement(0, 9, &[Release])]).unwrap();
    assert_eq!(bench.fetch("b", 100, &[(7, 9), (10, 14)]), [(7, 9, 2)]);
    assert_eq!(bench.span(), (7, 14));
    // And what was never there is not waited for.
    bench.acknowledge("b", &[acknowledgement(7, 9, &[Accept])]).unwrap();
    bench.acknowledge("a", &[acknowledgement(10, 14, &[Accept])]).unwrap();
    assert_eq!(bench.fetch("b", 100, &[(20, 24)]), [(20, 24, 1)]);
    assert_eq!(bench.span(), (20, 24));
    assert_eq!(bench.fetch("b", 100, &[(30, 34)]), [(30, 34, 1)]);
    bench.acknowledge("b", &[acknowledgement(20, 24, &[Accept])]).unwrap();
    assert_eq!(bench.span(), (30, 34));
}

#[test]
fn aborted_records_are_given_up() {
    let mut bench = Bench::new();
    let all = limits(AcquireMode::BatchOptimized, 100);
    let acquired = bench.fetch_as("a", all, &[(0, 4), (5, 9), (10, 14)], &[(0, 1), (5, 9)]);
    assert_eq!(acquired, [(2, 4, 1), (10, 14, 1)]);
    assert_eq!(bench.span(), (2, 14));
    assert_eq!(bench.partition.at(5), Some((Archived, 1, false)));
    assert_eq!(bench.fetch_as("a", all, &[(15, 19)], &[(15, 19)]), []);
    bench.acknowledge("a", &[acknowledgement(2, 14, &[Accept])]).unwrap_err();
    let both = [acknowledgement(2, 4, &[Accept]), acknowledgement(10, 14, &[Accept])];
    bench.acknowledge("a", &both).unwrap();
    assert_eq!(bench.span(), (20, 20));
}

#[test]
fn a_leader_goes_on_where_the_one_before_left_off() {
    let state = PersistedState {
        state_epoch: 4,
        start_offset: Some(Offset(5)),
        batches: vec![
            persisted(5, 6, Acknowledged, 1),
            persisted(10, 14, Available, 2),
            persisted(15, 19, Archived, 5),
            persisted(25, 29, Acknowledged, 1),
        ],
    };
    let mut bench = Bench::loaded(state.clone());
    assert_eq!(bench.span(), (7, 29));
    assert_eq!(bench.partition.next_fetch_offset(), Offset(7));
    // What was out and never acknowledged comes again, from the middle of its batch.
    assert_eq!(bench.fetch("a", 3, &[(4, 9), (10, 29)]), [(7, 9, 1)]);
    assert_eq!(bench.fetch("a", 5, &[(10, 29)]), [(10, 14, 3)]);
    assert_eq!(bench.fetch("a", 100, &[(10, 29), (30, 39)]), [(20, 24, 1), (30, 39, 1)]);
    let write = bench.acknowledge("a", &[acknowledgement(7, 9, &[Accept])]).unwrap().unwrap();
    assert_eq!((write.state_epoch, write.start_offset, write.delivery_complete_count), (4, Offset(7), 13));
    assert_eq!(bench.span(), (10, 39));
    let broken = PersistedState { batches: vec![persisted(2, 6, Available, 1)], ..state };
    assert_eq!(SharePartition::load(broken, 0, Offset(0), settings()), None);
}

#[test]
fn a_lower_limit_holds_for_what_was_delivered_before() {
    let state = PersistedState {
        start_offset: Some(Offset(0)),
        batches: vec![persisted(0, 4, Available, 3), persisted(5, 9, Available, 1)],
        ..PersistedState::default()
    };
    let mut bench = Bench::loaded(state);
    bench.partition.set_settings(ShareSettings { delivery_count_limit: 2, ..settings() });
    bench.partition.check();
    assert_eq!(bench.span(), (5, 9));
}

const WITH_LETTERS: ShareSettings = ShareSettings {
    record_lock_duration_ms: LOCK_MS as i32,
    delivery_count_limit: 2,
    max_record_locks: 200,
    may_renew: true,
    keeps_dead_letters: true,
};

/// Of which records letters are written with a change, and why.
fn letters(change: &Change) -> Vec<(i64, i64, i16, GivenUp)> {
    change.dead.iter().map(|d| (d.first_offset.0, d.last_offset.0, d.delivery_count, d.why)).collect()
}

#[test]
fn what_is_given_up_leaves_dead_letters() {
    let state = PersistedState { start_offset: Some(Offset(0)), ..PersistedState::default() };
    let mut bench = Bench::loaded_with(state.clone(), WITH_LETTERS);
    bench.fetch("a", 100, &[(0, 9)]);
    let said = [
        acknowledgement(0, 3, &[Accept, Reject, Gap, Release]),
        acknowledgement(4, 5, &[Reject]),
        acknowledgement(6, 7, &[Release]),
    ];
    let change = bench.partition.acknowledge(&member("a"), &said, bench.now()).unwrap().unwrap();
    assert_eq!(letters(&change), [(1, 1, 1, GivenUp::Rejected), (4, 5, 1, GivenUp::Rejected)]);
    bench.persist(change);
    assert_eq!(bench.fetch("a", 100, &[(0, 9)]), [(3, 3, 2), (6, 7, 2)]);
    let said = [acknowledgement(3, 3, &[Release])];
    let change = bench.partition.acknowledge(&member("a"), &said, bench.now()).unwrap().unwrap();
    assert_eq!(letters(&change), [(3, 3, 2, GivenUp::DeliveredTooOften)]);
    bench.persist(change);
    // 8 and 9 were delivered once, and come again.
    let change = bench.wait(LOCK_MS).unwrap();
    assert_eq!(letters(&change), [(6, 7, 2, GivenUp::DeliveredTooOften)]);
    bench.persist(change);
    assert_eq!(bench.fetch("a", 100, &[(0, 9)]), [(8, 9, 2)]);
    let change = bench.partition.release(&member("a")).unwrap();
    assert_eq!(letters(&change), [(8, 9, 2, GivenUp::DeliveredTooOften)]);

    let mut without = Bench::loaded(state);
    without.fetch("a", 100, &[(0, 9)]);
    let said = [acknowledgement(0, 9, &[Reject])];
    let change = without.partition.acknowledge(&member("a"), &said, without.now()).unwrap().unwrap();
    assert!(letters(&change).is_empty(), "the group wants none");
}

#[test]
fn a_lower_limit_leaves_dead_letters_once() {
    for result in [Ok(()), Err(ErrorCode::CoordinatorNotAvailable)] {
        let state = PersistedState {
            start_offset: Some(Offset(0)),
            batches: vec![persisted(0, 4, Available, 3), persisted(5, 9, Available, 1)],
            ..PersistedState::default()
        };
        let lenient = ShareSettings { delivery_count_limit: 5, ..WITH_LETTERS };
        for mut bench in [Bench::loaded_with(state.clone(), WITH_LETTERS), Bench::loaded_with(state, lenient)]
        {
            bench.partition.set_settings(WITH_LETTERS);
            bench.partition.check();
            let changes = bench.partition.take_unsent();
            assert_eq!(
                changes.iter().map(letters).collect::<Vec<_>>(),
                [[(0, 4, 3, GivenUp::DeliveredTooOften)]]
            );
            assert_eq!(changes[0].write.batches, [persisted(0, 4, Archived, 3)]);
            assert_eq!(bench.span(), (0, 9), "until it is persisted");
            assert_eq!(bench.fetch("a", 100, &[(0, 9)]), [(5, 9, 2)]);
            bench.partition.persisted(changes[0].id, result);
            bench.partition.check();
            assert_eq!(bench.span(), (5, 9));
            assert!(bench.partition.take_unsent().is_empty());
        }
    }
}
