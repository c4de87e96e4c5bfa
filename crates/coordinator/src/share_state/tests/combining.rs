use ottla_testkit::cases;
use proptest::prelude::*;

use super::{StateBatch, batch, combine};

fn check(
    so_far: &[(i64, i64, i8, i16)],
    new: &[(i64, i64, i8, i16)],
    start: i64,
    expected: &[(i64, i64, i8, i16)],
) {
    let batches = |of: &[(i64, i64, i8, i16)]| -> Vec<StateBatch> {
        of.iter().map(|&(first, last, state, count)| batch(first, last, state, count)).collect()
    };
    assert_eq!(combine(&batches(so_far), &batches(new), start), batches(expected));
}

#[test]
fn what_is_newer_by_count_then_state_wins() {
    check(&[], &[], 0, &[]);
    check(&[(0, 9, 0, 1)], &[], -1, &[(0, 9, 0, 1)]);
    check(&[(0, 9, 0, 1)], &[(3, 5, 2, 1)], -1, &[(0, 2, 0, 1), (3, 5, 2, 1), (6, 9, 0, 1)]);
    check(&[(0, 9, 0, 2)], &[(3, 5, 2, 1)], -1, &[(0, 9, 0, 2)]);
    check(&[(0, 9, 0, 1)], &[(10, 12, 0, 1)], -1, &[(0, 12, 0, 1)]);
    check(&[(0, 9, 0, 1)], &[(12, 14, 0, 1)], -1, &[(0, 9, 0, 1), (12, 14, 0, 1)]);
    check(&[(0, 9, 4, 1)], &[(5, 14, 0, 2)], -1, &[(0, 4, 4, 1), (5, 14, 0, 2)]);
}

#[test]
fn what_lies_before_the_start_is_gone() {
    check(&[(0, 9, 0, 1), (10, 19, 2, 1)], &[], 5, &[(5, 9, 0, 1), (10, 19, 2, 1)]);
    check(&[(0, 9, 0, 1)], &[(10, 19, 2, 1)], 20, &[]);
    check(&[(0, 9, 0, 1)], &[(5, 3, 2, 1)], -1, &[(0, 9, 0, 1)]);
    check(&[], &[(i64::MAX - 1, i64::MAX, 2, 1)], -1, &[(i64::MAX - 1, i64::MAX, 2, 1)]);
}

fn some_batches() -> impl Strategy<Value = Vec<StateBatch>> {
    let one = (0..30i64, 0..8i64, prop::sample::select(vec![0i8, 2, 4]), 1..4i16)
        .prop_map(|(first, length, state, count)| batch(first, first + length, state, count));
    prop::collection::vec(one, 0..8)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn every_offset_has_the_best_of_what_covers_it(so_far in some_batches(), new in some_batches(), start in -1..40i64) {
        let combined = combine(&so_far, &new, start);
        for pair in combined.windows(2) {
            prop_assert!(pair[0].last_offset < pair[1].first_offset);
            let are_alike = (pair[0].delivery_state, pair[0].delivery_count) == (pair[1].delivery_state, pair[1].delivery_count);
            prop_assert!(!are_alike || pair[0].last_offset + 1 < pair[1].first_offset);
        }
        for offset in 0..45 {
            let covers = |batch: &&StateBatch| batch.first_offset <= offset && offset <= batch.last_offset;
            let rank = |batch: &StateBatch| (batch.delivery_count, batch.delivery_state);
            let best = so_far.iter().chain(&new).filter(covers).map(rank).max().filter(|_| offset >= start);
            prop_assert_eq!(combined.iter().find(covers).map(rank), best);
        }
    }
}
