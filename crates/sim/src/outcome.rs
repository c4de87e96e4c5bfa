//! What comes of a run.

use std::collections::BTreeMap;
use std::fmt;

/// What came of a run that kept all its promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// Of all that happened: equal runs have equal ones.
    pub trace: u64,
    /// How often what happened: faults, and work that was done.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which tests of this crate replay the seed.
    pub test: &'static str,
    pub seed: u64,
    pub at_ms: u64,
    pub property: String,
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { test, seed, at_ms, property, what } = self;
        writeln!(f, "seed {seed}, {at_ms} ms into the run: not so: {property}: {what}")?;
        write!(f, "to replay it: SIM_SEED={seed} cargo test -p ottla-sim --test {test}")
    }
}
