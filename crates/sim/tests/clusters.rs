//! Runs of the simulator with three nodes: seeds that are always the same, and as many others as are asked for.
//!
//! `SIM_SEED=n` replays one and prints what happens in it, `SIM_RUNS=n` runs so many random ones beside the others.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_sim::cluster::{Victim, fail_over, run, run_printing};

const FIXED: std::ops::Range<u64> = 0..3;
/// Seeds for each kind of process that is killed.
const FAILOVERS: u64 = 3;
/// A run ends with so many failures.
const FAILURES_MAX: usize = 10;

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

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn promises_are_kept() {
    let seeds: Vec<u64> = match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
            let first = nanos % 1_000_000_000_000;
            let random = number("SIM_RUNS").unwrap_or(0);
            FIXED.chain(first..first + random).collect()
        }
    };
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in &seeds {
        let result = if number("SIM_SEED").is_some() { run_printing(*seed) } else { run(*seed) };
        match result {
            Ok(report) => {
                for (what, times) in report.counts {
                    *counts.entry(what).or_default() += times;
                }
            }
            Err(failure) => failures.push(failure.to_string()),
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    println!("{} seeds: {counts:#?}", seeds.len());
    if seeds.len() < FIXED.count() {
        return;
    }
    for (what, least) in EXPECTED {
        let times = counts.get(what).copied().unwrap_or(0);
        let least = least * seeds.len() as u64 / 10;
        assert!(times >= least, "{what}: {times} times in {} seeds, {least} were expected", seeds.len());
    }
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
