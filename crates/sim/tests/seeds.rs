//! Runs of the simulator: seeds that are always the same, and as many others as are asked for.
//!
//! `SIM_SEED=n` replays one and prints what happens in it, `SIM_RUNS=n` runs so many random ones beside the others (from
//! `SIM_FIRST=m` on, where that is given).

use ottla_sim::seeds::Seeds;
use ottla_sim::{run, run_printing};

const FIXED: std::ops::Range<u64> = 0..10;
/// Seeds that once found a fault.
const KEPT: &[u64] = &[
    // A marker stayed in the file of a full disk after its append had failed.
    557_696_793_489,
    // A share group's partitions whose states were lost with the power were never shared again.
    976_009_541_446,
    // Two instances of a producer are the same to a node that has lost decisions with the power.
    405_933_072_462,
    // What followed the retry of a batch that a former process had appended was taken for out of order.
    43_593_637_787,
    43_593_637_803,
];

/// What a number of seeds together must have seen, and how often at least in each ten of them.
const EXPECTED: &[(&str, u64)] = &[
    ("kills", 5),
    ("losses of power", 5),
    ("stops", 10),
    ("machine stood still", 5),
    ("answers lost", 10),
    ("clients paused", 10),
    ("i/o errors", 5),
    ("i/o error at the start", 2),
    ("disk full", 3),
    ("node died of its disk", 2),
    ("records acknowledged", 1_000),
    ("records fetched", 1_000),
    ("offsets committed", 100),
    ("partitions taken over", 30),
    ("topics created", 20),
    ("topics deleted", 5),
    ("records deleted", 5),
    ("transactional producers begun", 10),
    ("transactional producers vanished", 5),
    ("producers fenced", 5),
    ("transactions committed", 20),
    ("transactions aborted", 5),
    ("transactions timed out", 1),
    ("offsets sent in transactions", 10),
    ("offsets of transactions read", 50),
    ("unstable offsets met", 1),
    ("assignments", 20),
    ("members gone", 5),
    ("members fenced", 1),
    ("records acquired", 100),
    ("records acquired again", 10),
    ("records accepted", 50),
    ("acknowledgements too late", 1),
];

#[test]
fn promises_are_kept() {
    Seeds { fixed: FIXED, kept: KEPT, random_one_in: 1, expected: EXPECTED }.check(run, run_printing);
}

#[test]
fn a_seed_replays_exactly() {
    assert_eq!(run(3), run(3));
}
