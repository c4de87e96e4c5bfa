//! `cargo xtask CHORE`: the command line around the chores.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks through its output

use std::process::ExitCode;

use ottla_xtask::{ChoreError, docs, layers, mutants, settings, verify, workspace_root};

const USAGE: &str = "usage: cargo xtask CHORE
  layers   check that dependencies between the rooms point down only
  settings check that a test shows every setting that is acted on
  docs     check the links of all Markdown pages and that the code map is complete
  mutants [NAME...]
           break the software in each of the kept ways, or in those named, and see the test that must catch it fail
  verify   everything before a change lands: format, clippy, layers, docs, tests";

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let root = workspace_root();
    let found = match chore.as_str() {
        "layers" => layers::check(&root),
        "settings" => settings::check(&root),
        "docs" => docs::check(&root),
        "mutants" => mutants::run(&root, &std::env::args().skip(2).collect::<Vec<_>>()),
        "verify" => verify::run(&root),
        "" | "help" | "-h" | "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("xtask: there is no chore named {other:?}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    report(&chore, found)
}

fn report(chore: &str, found: Result<Vec<String>, ChoreError>) -> ExitCode {
    match found {
        Ok(findings) if findings.is_empty() => {
            println!("{chore}: ok");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            for finding in findings {
                eprintln!("{chore}: {finding}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{chore}: {error}");
            ExitCode::FAILURE
        }
    }
}
