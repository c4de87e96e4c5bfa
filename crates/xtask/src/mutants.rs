//! Variants of the software that are broken on purpose, each of which a named test must catch: they show that the tests
//! could fail. `mutants/NAME` holds one (see `parse`).
//!
//! [`check`] is quick and part of the tests: every variant still fits the sources, and its test is there. [`run`] applies
//! one variant after the other to a copy of the tree, builds it and demands that its test turns red.

mod copy;
mod parse;
mod run;
mod sources;

use std::fs;
use std::path::Path;

pub use parse::{Mutant, TestName};
pub use run::run;

use crate::ChoreError;

/// Where the variants lie, from the workspace's root.
pub const DIRECTORY: &str = "crates/xtask/mutants";

/// All variants by name, and what is wrong with those that can't be read.
pub fn read_all(root: &Path) -> Result<(Vec<Mutant>, Vec<String>), ChoreError> {
    let directory = root.join(DIRECTORY);
    let failed = |source| ChoreError::Io { what: format!("reading {}", directory.display()), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let (mut mutants, mut findings) = (Vec::new(), Vec::new());
    for name in names {
        let text = fs::read_to_string(directory.join(&name)).map_err(failed)?;
        match parse::parse(&name, &text) {
            Ok(mutant) => mutants.push(mutant),
            Err(reason) => findings.push(format!("{name}: {reason}")),
        }
    }
    Ok((mutants, findings))
}

/// One finding a variant that does not fit the sources any more, or whose test is not there.
pub fn check(root: &Path) -> Result<Vec<String>, ChoreError> {
    let (mutants, mut findings) = read_all(root)?;
    for mutant in &mutants {
        if let Err(reason) = mutant.apply(root) {
            findings.push(format!("{}: {reason}", mutant.name));
        }
        for test in &mutant.tests {
            if !sources::has_test(root, test)? {
                findings.push(format!("{}: there is no test {test}", mutant.name));
            }
        }
    }
    Ok(findings)
}
