//! Logs that are stopped, killed and cut from power at any time.

use proptest::prelude::*;

use super::history::{Modelled, Op, any_op};

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

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
