//! Runs of the simulator with three nodes: seeds that are always the same, and as many others as are asked for.
//!
//! `SIM_SEED=n` replays one and prints what happens in it, `SIM_RUNS=n` runs so many random ones beside the others.

use ottla_sim::cluster::{Victim, fail_over, run, run_printing};
use ottla_sim::seeds::Seeds;

const FIXED: std::ops::Range<u64> = 0..3;
/// Seeds for each kind of process that is killed.
const FAILOVERS: u64 = 3;

/// What a number of seeds together must have seen, and how often at least in each ten of them.
const EXPECTED: &[(&str, u64)] = &[
    ("kills", 10),
    ("losses of power", 2),
    ("nodes stood still", 15),
    ("ways cut", 5),
    ("ways cut in one direction", 5),
    ("nodes that only hear", 5),
    ("nodes cut off", 5),
    ("clients cut off", 40),
    ("quorum elections", 15),
    ("partition elections", 25),
    ("records acknowledged", 10_000),
    ("records fetched", 10_000),
];

#[test]
fn promises_are_kept() {
    Seeds { fixed: FIXED, kept: &[], expected: EXPECTED }.check(run, run_printing);
}

#[test]
fn a_seed_replays_exactly() {
    assert_eq!(run(2), run(2));
}

/// On the simulator's time: its clients and its network take their share of it.
#[test]
fn a_killed_process_costs_its_partitions_less_than_half_a_second() {
    for victim in [Victim::Leader, Victim::Follower, Victim::Controller] {
        let gaps: Vec<u64> = (0..FAILOVERS)
            .filter_map(|seed| fail_over(seed, victim).unwrap_or_else(|failure| panic!("{failure}")))
            .collect();
        println!("{victim:?}: {gaps:?} ms");
        assert!(!gaps.is_empty(), "{victim:?}");
        assert!(gaps.iter().all(|gap| *gap < 500), "{victim:?}: {gaps:?}");
    }
}
