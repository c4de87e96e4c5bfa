//! What no source below the server may mention. Tests may: they set the scene.

use std::fs;
use std::path::Path;

use crate::ChoreError;

struct Banned {
    mention: &'static str,
    instead: &'static str,
    /// Where it is allowed all the same, as a path below the workspace's root.
    except_under: Option<&'static str>,
}

const REAL_DISK: Option<&str> = Some("crates/log/src/disk");
const BANNED: &[Banned] = &[
    Banned { mention: "Instant::now", instead: "take `Now` as an input", except_under: None },
    Banned { mention: "SystemTime::now", instead: "take `Now` as an input", except_under: None },
    Banned { mention: "std::net::Tcp", instead: "sockets belong to the server", except_under: None },
    Banned { mention: "std::net::Udp", instead: "sockets belong to the server", except_under: None },
    Banned { mention: "rand::rng()", instead: "take randomness as an input", except_under: None },
    Banned { mention: "rand::random", instead: "take randomness as an input", except_under: None },
    Banned { mention: "std::fs", instead: "files belong behind the Disk trait", except_under: REAL_DISK },
    Banned { mention: "thread::sleep", instead: "time passes through `tick`", except_under: None },
];

/// What pure modules may not mention either, although their crate depends on it.
const BANNED_IN_PURE: &[Banned] = &[
    Banned { mention: "tokio", instead: "a pure module has no runtime", except_under: None },
    Banned { mention: "rand::", instead: "take randomness as an input", except_under: None },
    Banned { mention: "crate::clock", instead: "take `Now` as an input", except_under: None },
];

/// The findings in all sources of the crate in `directory`.
pub(super) fn check(root: &Path, directory: &Path) -> Result<Vec<String>, ChoreError> {
    let mut findings = Vec::new();
    check_directory(root, &directory.join("src"), &[BANNED], &mut findings)?;
    Ok(findings)
}

/// The findings in a directory of pure modules; none where there is no such directory.
pub(super) fn check_pure(root: &Path, directory: &Path) -> Result<Vec<String>, ChoreError> {
    let mut findings = Vec::new();
    if directory.is_dir() {
        check_directory(root, directory, &[BANNED, BANNED_IN_PURE], &mut findings)?;
    }
    Ok(findings)
}

fn check_directory(
    root: &Path,
    directory: &Path,
    banned: &[&[Banned]],
    findings: &mut Vec<String>,
) -> Result<(), ChoreError> {
    let failed = |source| ChoreError::Io { what: format!("reading {}", directory.display()), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if path.is_dir() {
            if !path.ends_with("tests") {
                check_directory(root, &path, banned, findings)?;
            }
        } else if shown.ends_with(".rs") && !shown.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).map_err(failed)?;
            findings.extend(check_text(&shown, &text, banned));
        }
    }
    Ok(())
}

/// Findings in one file, up to where its tests begin.
fn check_text(path: &str, text: &str, banned: &[&[Banned]]) -> Vec<String> {
    let code = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    let mut findings = Vec::new();
    for (index, line) in code {
        let line = line.split("//").next().unwrap_or_default();
        let applies = |banned: &&Banned| !banned.except_under.is_some_and(|under| path.starts_with(under));
        let mentioned = |banned: &&Banned| line.contains(banned.mention);
        for banned in banned.iter().copied().flatten().filter(applies).filter(mentioned) {
            findings.push(format!("{path}:{}: {} ({})", index + 1, banned.mention, banned.instead));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_found_outside_comments_tests_and_exceptions() {
        let now = "fn f() {\n    let t = Instant::now();\n}\n";
        let files = "use std::fs;\n";
        for (path, text, expected) in [
            (
                "crates/log/src/lib.rs",
                now,
                vec!["crates/log/src/lib.rs:2: Instant::now (take `Now` as an input)"],
            ),
            ("crates/log/src/lib.rs", "// not Instant::now\n#[cfg(test)]\nuse std::fs;\n", vec![]),
            (
                "crates/log/src/a.rs",
                files,
                vec!["crates/log/src/a.rs:1: std::fs (files belong behind the Disk trait)"],
            ),
            ("crates/log/src/disk/real.rs", files, vec![]),
        ] {
            assert_eq!(check_text(path, text, &[BANNED]), expected, "{path}");
        }
    }

    #[test]
    fn pure_modules_do_without_a_runtime_too() {
        let path = "crates/client/src/cluster/a.rs";
        let found =
            check_text(path, "use tokio::sync::Mutex;\nlet x = Instant::now();\n", &[BANNED, BANNED_IN_PURE]);
        assert_eq!(
            found,
            [
                format!("{path}:1: tokio (a pure module has no runtime)"),
                format!("{path}:2: Instant::now (take `Now` as an input)")
            ]
        );
    }
}
