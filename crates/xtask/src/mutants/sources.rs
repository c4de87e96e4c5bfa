//! Whether a test is there, as far as its sources tell.

use std::fs;
use std::path::Path;

use super::TestName;
use crate::ChoreError;

/// Whether a file at the place that the test's path names, or above it, has a test function of that name.
pub fn has_test(root: &Path, test: &TestName) -> Result<bool, ChoreError> {
    let Some(name) = test.package.strip_prefix("ottla-").or_else(|| test.package.strip_prefix("ottla"))
    else {
        return Ok(false);
    };
    let package = root.join("crates").join(if name.is_empty() { "ottla" } else { name });
    let directory = match &test.target {
        None => package.join("src"),
        // Either one file, or a directory whose root is `main.rs`.
        Some(target) => match package.join("tests").join(target) {
            directory if directory.is_dir() => directory,
            _ => return file_has_test(&package.join("tests").join(format!("{target}.rs")), &test.path),
        },
    };
    let root_file = if test.target.is_some() { "main.rs" } else { "lib.rs" };
    let mut modules: Vec<&str> = test.path.split("::").collect();
    modules.pop();
    // A module may be in the file of one above it.
    for depth in (0..=modules.len()).rev() {
        let modules = modules.get(..depth).unwrap_or_default();
        let inside: std::path::PathBuf = modules.iter().collect();
        let candidates = match modules.is_empty() {
            true => vec![directory.join(root_file)],
            false => {
                vec![directory.join(&inside).with_extension("rs"), directory.join(&inside).join("mod.rs")]
            }
        };
        for candidate in candidates {
            if file_has_test(&candidate, &test.path)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn file_has_test(file: &Path, path: &str) -> Result<bool, ChoreError> {
    if !file.exists() {
        return Ok(false);
    }
    let text = fs::read_to_string(file)
        .map_err(|source| ChoreError::Io { what: format!("reading {}", file.display()), source })?;
    let function = path.rsplit("::").next().unwrap_or(path);
    Ok(text.split("#[test]").skip(1).any(|after| {
        let signature = after.split_once("fn ").map_or("", |(_, rest)| rest);
        signature.strip_prefix(function).is_some_and(|rest| rest.starts_with('('))
    }))
}
