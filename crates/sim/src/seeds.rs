//! Runs of many seeds: some that are always the same, and as many others as are asked for.
//!
//! `SIM_SEED=n` replays one and prints what happens in it, `SIM_RUNS=n` runs so many random ones beside the others, or those
//! from `SIM_FIRST=m` on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::outcome::{Failure, Report};

/// There is no need to see more failures at once.
const FAILURES_MAX: usize = 10;
/// So many random seeds see about as much as was expected of them; of fewer the ones that are always the same are judged.
const MANY: u64 = 50;

/// How a seed is run.
pub type Run = fn(u64) -> Result<Report, Box<Failure>>;

/// See the module.
#[derive(Clone, Debug)]
pub struct Seeds {
    pub fixed: Range<u64>,
    /// Seeds that once found a fault.
    pub kept: &'static [u64],
    /// Of so many random seeds that are asked for one is run: these take longer than others.
    pub random_one_in: u64,
    /// What a number of seeds together must have seen, and how often at least in each ten of them.
    pub expected: &'static [(&'static str, u64)],
}

impl Seeds {
    /// Panics where a promise is not kept, or where what was expected hardly happened.
    pub fn check(&self, run: Run, run_printing: Run) {
        let random = number("SIM_RUNS").unwrap_or(0) / self.random_one_in;
        let (run, seeds) = match number("SIM_SEED") {
            Some(seed) => (run_printing, vec![seed]),
            None => (run, self.all(random)),
        };
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut failures = Vec::new();
        for seed in &seeds {
            match run(*seed) {
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
        let fixed = self.fixed.clone().count();
        if seeds.len() < fixed {
            return;
        }
        let judged = if random < MANY { fixed } else { seeds.len() } as u64;
        for (what, least) in self.expected {
            let times = counts.get(what).copied().unwrap_or(0);
            // What is rare must have happened at all.
            let least = (least * judged / 10).max(1);
            assert!(times >= least, "{what}: {times} times in {} seeds, {least} were expected", seeds.len());
        }
    }

    fn all(&self, random: u64) -> Vec<u64> {
        let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
        let first = number("SIM_FIRST").unwrap_or_else(|| nanos() % 1_000_000_000_000);
        self.fixed.clone().chain(self.kept.iter().copied()).chain(first..first + random).collect()
    }
}

/// What an environment variable says.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}
