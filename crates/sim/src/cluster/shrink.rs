//! The faults of a failing run that it takes for it to fail: a run with some of its faults left out is another run, but one
//! with the same seed, and whoever looks for the reason has less to look through.

use std::fmt;

use super::plan::Plan;
use super::simulation::{Kind, plan_of, run_with};
use crate::outcome::Failure;

/// What is left of a failing run.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub plan: Plan,
    pub failure: Box<Failure>,
    /// How many runs it took.
    pub runs: usize,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nafter {} runs, {} faults are enough:", self.failure, self.runs, self.plan.0.len())?;
        self.plan
            .0
            .iter()
            .try_for_each(|planned| writeln!(f, "  round {}: {:?}", planned.round, planned.fault))
    }
}

/// Leaves faults of a failing seed out while the same property is not kept, half of them first and one by one at last.
/// None if the seed does not fail.
pub fn shrink(kind: Kind, seed: u64, runs_max: usize) -> Option<Shrunk> {
    let plan = plan_of(kind, seed);
    let failure = run_with(kind, seed, &plan, false).err()?;
    let mut shrunk = Shrunk { plan, failure, runs: 1 };
    let mut chunk = shrunk.plan.0.len().div_ceil(2);
    while chunk > 0 && shrunk.runs < runs_max {
        // What comes last matters least often: it may be after the failure.
        let mut end = shrunk.plan.0.len();
        let before = end;
        while end > 0 && shrunk.runs < runs_max {
            let begin = end.saturating_sub(chunk);
            let mut fewer = shrunk.plan.clone();
            fewer.0.drain(begin..end);
            shrunk.runs += 1;
            match run_with(kind, seed, &fewer, false) {
                Err(failure) if failure.property == shrunk.failure.property => {
                    shrunk.plan = fewer;
                    shrunk.failure = failure;
                }
                _ => {}
            }
            end = begin;
        }
        if chunk == 1 && shrunk.plan.0.len() == before {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    Some(shrunk)
}
