//! Flags that all commands for people have may also stand in front of the command: `ottla -b HOST:PORT topic list`. Pure.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The words of a command line, program first, with such flags behind the command that they are for. Other words stay as they are.
pub fn behind_their_command(words: Vec<OsString>, program: &Command) -> Vec<OsString> {
    let Some(place) = command_at(&words, program) else { return words };
    let mut words = words.into_iter();
    let program = words.next();
    let in_front: Vec<OsString> = words.by_ref().take(place - 1).collect();
    program.into_iter().chain(words.next()).chain(in_front).chain(words).collect()
}

/// Where the command stands behind flags, all of which it understands.
fn command_at(words: &[OsString], program: &Command) -> Option<usize> {
    let text = |place: usize| words.get(place).and_then(|word| word.to_str());
    let mut place = 1;
    let mut flags: Vec<&str> = Vec::new();
    while let Some(word) = text(place).filter(|word| word.starts_with('-')) {
        flags.push(word);
        let takes_next = program.get_subcommands().find_map(|command| {
            let arg = global(command, word)?;
            Some(arg.get_action().takes_values() && !brings_value(word))
        })?;
        place += if takes_next { 2 } else { 1 };
    }
    let command = program.find_subcommand(text(place)?)?;
    let are_known = flags.iter().all(|flag| global(command, flag).is_some());
    (place > 1 && are_known).then_some(place)
}

/// `--flag=value`, `-fvalue`
fn brings_value(word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => long.contains('='),
        None => word.chars().count() > 2,
    }
}

/// The flag of the command's that a word is, if it is one that all have.
fn global<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let mut globals = command.get_arguments().filter(|arg| arg.is_global_set());
    match word.strip_prefix("--") {
        Some(long) => {
            let name = long.split_once('=').map_or(long, |(name, _)| name);
            globals.find(|arg| arg.get_long() == Some(name))
        }
        None => {
            let letter = word.chars().nth(1)?;
            globals.find(|arg| arg.get_short() == Some(letter))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_that_all_have_may_stand_in_front() {
        for (line, expected) in [
            ("ottla topic list -P a", "ottla topic list -P a"),
            ("ottla -P a topic list", "ottla topic -P a list"),
            ("ottla -Pa -b x:1 --quiet topic list", "ottla topic -Pa -b x:1 --quiet list"),
            ("ottla --output=json -X a=b group lag", "ottla group --output=json -X a=b lag"),
            // The profile is called so.
            ("ottla -P topic group list", "ottla group -P topic list"),
            // Flags of others, and lines that make no sense, are for others to judge.
            ("ottla --config f", "ottla --config f"),
            ("ottla --help", "ottla --help"),
            ("ottla -P a", "ottla -P a"),
            ("ottla -P a server", "ottla -P a server"),
            ("ottla -n 3 consume t", "ottla -n 3 consume t"),
            ("ottla -P a nothing", "ottla -P a nothing"),
            ("ottla", "ottla"),
        ] {
            let words = line.split(' ').map(OsString::from).collect();
            let moved = behind_their_command(words, &crate::Cli::command());
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(moved, expected, "{line}");
        }
    }
}
