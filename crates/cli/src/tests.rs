//! All commands at once: their help, and that each flag is tried.

use std::fs;
use std::path::Path;

use clap::Subcommand;
use expect_test::expect_file;

use super::Command;

/// Each command that does something, with its words.
fn commands() -> Vec<(String, clap::Command)> {
    fn collect(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        if !command.has_subcommands() {
            found.push((words.to_owned(), command.clone()));
        }
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let name = sub.get_name();
            let words = if words.is_empty() { name.to_owned() } else { format!("{words} {name}") };
            collect(sub, &words, found);
        }
    }
    let mut all = Command::augment_subcommands(clap::Command::new("ottla"));
    all.build();
    let mut found = Vec::new();
    collect(&all, "", &mut found);
    found
}

#[test]
fn flags_are_declared_soundly() {
    Command::augment_subcommands(clap::Command::new("ottla")).debug_assert();
}

#[test]
fn help_is_as_it_was_read() {
    let hidden = |command: clap::Command| {
        command.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
    };
    let helps = commands().into_iter().enumerate().map(|(place, (_, command))| {
        // What all have is shown once.
        let mut command = if place == 0 { command } else { hidden(command) };
        command.render_help().to_string() + "\n"
    });
    expect_file!["help.txt"].assert_eq(&helps.collect::<String>());
}

/// In the end-to-end tests every flag of every command is typed at least once, and those that all have by some command.
#[test]
fn every_flag_is_typed_in_a_test() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ottla/tests/cli");
    let texts = fs::read_dir(dir).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let texts: String = texts.collect();
    let typed = |words: &str, flag: &str| {
        let begun = format!("\"{words}");
        let lines = texts.match_indices(&begun).map(|(at, _)| &texts[at + 1..]);
        lines
            .map(|line| line.split(['"', '\n']).next().unwrap())
            .any(|line| line.split(' ').any(|word| word == flag))
    };
    let mut untried = Vec::new();
    for (words, command) in commands() {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional() && arg.get_id() != "help") {
            let long = arg.get_long().map(|long| format!("--{long}"));
            let short = arg.get_short().map(|short| format!("-{short}"));
            let on = if arg.is_global_set() { "" } else { words.as_str() };
            if !long.iter().chain(&short).any(|flag| typed(on, flag)) {
                untried.push(format!("{words} {}", long.or(short).unwrap_or_default()));
            }
        }
    }
    untried.retain(|of| !of.ends_with("--help"));
    assert_eq!(untried, Vec::<String>::new());
}
