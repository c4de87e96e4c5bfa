//! Logs that are stopped, killed and cut from power at any time.

use ottla_testkit::cases;
use ottla_types::Offset;
use proptest::prelude::*;

use super::history::{Modelled, Op, any_op};

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn what_was_flushed_survives_and_nothing_else_appears(
        seed in any::<u64>(),
        ops in prop::collection::vec(any_op(), 1..60),
    ) {
        let mut log = Modelled::new(seed);
        for op in &ops {
            log.run(op);
        }
        log.check();
        for op in [Op::PowerLoss, Op::Append(1, 2), Op::Stop] {
            log.run(&op);
            log.check();
        }
    }
}

#[test]
fn a_snapshot_of_another_past_does_not_come_back() {
    let mut log = Modelled::new(7);
    let ops = [
        Op::Append(1, 1),
        Op::Append(1, 1),
        Op::Append(2, 3),
        Op::Roll,
        Op::RunDeferred,
        Op::Flush,
        Op::Truncate(40),
        Op::Append(1, 3),
        Op::Flush,
        Op::Checkpoint,
        Op::PowerLossWithNothingWritten,
    ];
    for op in &ops {
        log.run(op);
    }
    log.check();
    assert_eq!(log.log().log_end_offset().0, 5);
}

/// The header of the last batch straddles a sector, and the power loss leaves zeros where its base offset was: all else,
/// the checksum too, is right.
#[test]
fn a_batch_that_lost_its_base_offset_is_cut_off() {
    let mut log = Modelled::new(25);
    let appends = |records: &[usize]| records.iter().map(|n| Op::Append(1, *n)).collect::<Vec<_>>();
    let mut ops =
        vec![Op::Append(1, 1), Op::PowerLoss, Op::Append(1, 2), Op::PowerLoss, Op::PowerLoss, Op::Roll];
    ops.extend(appends(&[1, 2, 3, 3, 3]));
    ops.extend([Op::Flush, Op::Append(1, 1), Op::PowerLoss]);
    for op in &ops {
        log.run(op);
    }
    log.check();
    assert_eq!(log.log().log_end_offset(), Offset(15));
}

fn check_after_each(seed: u64, ops: &[Op]) -> Modelled {
    let mut log = Modelled::new(seed);
    for op in ops {
        log.run(op);
        log.check();
    }
    log
}

/// An index that was cut off, and then appended to by a later process, is on disk as that one left it.
#[test]
fn an_index_of_another_past_does_not_come_back() {
    check_after_each(
        15338426113426131449,
        &[
            Op::Append(1, 1),
            Op::Append(1, 1),
            Op::Append(1, 1),
            Op::Roll,
            Op::Truncate(0),
            Op::Kill,
            Op::Append(1, 1),
            Op::StopAndPowerLoss,
            Op::Append(1, 2),
        ],
    );
}

/// Recovery starts where the checkpoint says, which may be behind what the log knows of itself since it was recovered.
#[test]
fn a_segment_that_recovery_will_pass_over_is_on_disk_with_its_indexes() {
    let kill_after_a_roll = [Op::Append(1, 1), Op::Flush, Op::Checkpoint, Op::Kill, Op::Roll, Op::Kill];
    for seed in 1..20 {
        let mut log = check_after_each(seed, &kill_after_a_roll);
        log.run(&Op::PowerLoss);
        log.check();
    }
}

/// The segments in between were deleted, and a power loss took the newer snapshot and brought back the older one.
#[test]
fn a_snapshot_from_before_a_hole_says_nothing() {
    let mut ops = vec![Op::Append(1, 1), Op::PowerLoss, Op::Kill, Op::Kill, Op::Append(3, 1), Op::Roll];
    ops.extend([Op::Stop, Op::Append(3, 1), Op::Roll, Op::Kill, Op::Append(1, 1), Op::PowerLoss]);
    ops.extend([
        Op::PowerLoss,
        Op::DeleteRecords(75),
        Op::DeleteOldSegments,
        Op::PowerLoss,
        Op::Append(1, 2),
    ]);
    check_after_each(10886679126742588724, &ops);
}

/// All that was to be flushed was deleted before it could be: the recovery point passes it, and the segment that follows is there.
#[test]
fn a_log_whose_unflushed_segments_were_deleted_does_not_begin_anew() {
    let mut ops: Vec<Op> = [1, 2, 3, 1, 1, 2, 2, 2, 1].map(|records| Op::Append(1, records)).into();
    ops.extend([Op::DeleteRecords(80), Op::DeleteOldSegments, Op::RunDeferred]);
    let mut log = check_after_each(0, &ops);
    let flushed_to = log.log().recovery_point();
    assert!(flushed_to > Offset::ZERO);
    log.run(&Op::PowerLossWithNothingWritten);
    log.check();
    assert!(log.log().log_end_offset() >= flushed_to);
}
