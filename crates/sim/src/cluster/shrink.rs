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
    shrink_plan(plan_of(kind, seed), runs_max, |plan| run_with(kind, seed, plan, false).err())
}

fn shrink_plan(
    plan: Plan,
    runs_max: usize,
    mut run: impl FnMut(&Plan) -> Option<Box<Failure>>,
) -> Option<Shrunk> {
    let failure = run(&plan)?;
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
            if let Some(failure) = run(&fewer).filter(|found| found.property == shrunk.failure.property) {
                shrunk.plan = fewer;
                shrunk.failure = failure;
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

#[cfg(test)]
mod tests {
    use ottla_types::NodeId;

    use super::*;
    use crate::cluster::plan::{Fault, Planned};

    const LOST: &str = "nothing is lost";
    const SERVED: &str = "everybody is served";

    /// Kills of nodes with these numbers, one a round.
    fn kills(nodes: impl IntoIterator<Item = i32>) -> Plan {
        let planned = (0..)
            .zip(nodes)
            .map(|(round, node)| Planned { round, fault: Fault::Kill { node: NodeId(node), down_ms: 1 } });
        Plan(planned.collect())
    }

    fn nodes(plan: &Plan) -> Vec<i32> {
        let node_of = |planned: &Planned| match planned.fault {
            Fault::Kill { node, .. } => node.value(),
            other => panic!("{other:?}"),
        };
        plan.0.iter().map(node_of).collect()
    }

    fn failure(property: &str) -> Option<Box<Failure>> {
        let (property, what) = (property.to_owned(), String::new());
        Some(Box::new(Failure { test: "t", seed: 1, at_ms: 0, property, what }))
    }

    /// Shrinks a run with twenty kills, which fails of the first property while all of `needed` are killed, and of the other one
    /// otherwise.
    fn check(needed: &[i32], runs_max: usize, expected: &[i32]) -> usize {
        let mut runs = 0;
        let shrunk = shrink_plan(kills(0..20), runs_max, |plan| {
            runs += 1;
            let has_all = needed.iter().all(|node| nodes(plan).contains(node));
            failure(if has_all { LOST } else { SERVED })
        });
        let shrunk = shrunk.expect("it fails");
        assert_eq!((nodes(&shrunk.plan).as_slice(), shrunk.failure.property.as_str()), (expected, LOST));
        assert_eq!(shrunk.runs, runs);
        assert!(runs <= runs_max, "{runs}");
        runs
    }

    #[test]
    fn what_it_takes_is_left_in_its_order() {
        for needed in [&[][..], &[0], &[19], &[3, 17], &[4, 5, 6], &[0, 9, 10, 19]] {
            check(needed, 200, needed);
        }
        let all: Vec<i32> = (0..20).collect();
        check(&all, 200, &all);
    }

    #[test]
    fn no_more_runs_are_made_than_are_allowed() {
        let all: Vec<i32> = (0..20).collect();
        assert_eq!(check(&[3], 1, &all), 1);
        // The later half is left out.
        assert_eq!(check(&[3], 2, &all[..10]), 2);
    }

    #[test]
    fn what_does_not_fail_is_not_shrunk() {
        assert!(shrink_plan(kills(0..20), 200, |_| None).is_none());
    }

    #[test]
    fn what_is_left_is_told() {
        let shrunk = shrink_plan(kills([7]), 1, |_| failure(LOST)).expect("it fails");
        let told = shrunk.to_string();
        assert!(told.contains("after 1 runs, 1 faults are enough:"), "{told}");
        assert!(told.contains("  round 0: Kill { node: NodeId(7), down_ms: 1 }"), "{told}");
    }
}
