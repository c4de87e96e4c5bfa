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
