//! All that must hold before a change lands, cheapest first. It changes no file.

use std::path::Path;
use std::process::Command;

use crate::{ChoreError, docs, layers, settings};

const CARGO_STEPS: &[&[&str]] = &[
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
    &["test", "--workspace", "--quiet"],
];

/// Runs format check, layers, docs, clippy and tests; stops at the first cargo step that fails, since
/// what follows would only repeat it.
pub fn run(root: &Path) -> Result<Vec<String>, ChoreError> {
    let mut findings = layers::check(root)?;
    findings.extend(docs::check(root)?);
    findings.extend(settings::check(root)?);
    for step in CARGO_STEPS {
        let status = Command::new("cargo")
            .args(*step)
            .current_dir(root)
            .status()
            .map_err(|source| ChoreError::Io { what: "starting cargo".into(), source })?;
        if !status.success() {
            findings.push(format!("cargo {} failed", step.join(" ")));
            break;
        }
    }
    Ok(findings)
}
