//! What somebody may have meant.

use super::former::former_flag;
use super::table::{Flag, Grammar};

/// For an option that joptsimple would not know. `name` is without dashes.
pub(super) fn hint_for_option(tool: &str, flags: &[Flag], name: &str) -> Option<String> {
    let names = || flags.iter().map(Flag::name);
    let dashed = format!("--{name}");
    let beginning: Vec<&str> = names().filter(|known| known.starts_with(&dashed)).collect();
    if let Some(word) = former_flag(tool, &dashed) {
        return Some(word.to_owned());
    }
    match beginning.as_slice() {
        [] => {}
        [only] => return Some(format!("Did you mean {only}? Options can't be abbreviated.")),
        // The shortest is the plural or the like.
        [first, others @ ..] => {
            let shortest =
                others.iter().fold(*first, |best, name| if name.len() < best.len() { name } else { best });
            let all = beginning.join(", ");
            return Some(format!("It could be {all}. Did you mean {shortest}?"));
        }
    }
    let hint = nearest(&dashed, names()).map(|known| format!("Did you mean {known}?"));
    hint.or_else(|| Some(format!("All options: {tool} --help")))
}

/// For a word in the place of an option that argparse4j would not know.
pub(super) fn hint_for_misplaced(
    grammar: &Grammar,
    flags: &[Flag],
    command: Option<&str>,
    word: &str,
) -> Option<String> {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    if let Some(word) = former_flag(grammar.tool, name) {
        return Some(word.to_owned());
    }
    if grammar.command(name.trim_start_matches('-')).is_some() {
        return Some(format!("It is a command: {} {}.", grammar.tool, name.trim_start_matches('-')));
    }
    if let Some(command) = command.filter(|_| grammar.flags.iter().any(|flag| flag.names.contains(&name))) {
        return Some(format!("{name} stands before {command}."));
    }
    if command.is_none() {
        let of_command =
            |(_, flags): &&(&'static str, Vec<Flag>)| flags.iter().any(|flag| flag.names.contains(&name));
        if let Some((command, _)) = grammar.commands.iter().find(of_command) {
            return Some(format!("{name} stands behind a command, such as {command}."));
        }
    }
    nearest(name, flags.iter().map(Flag::name)).map(|known| format!("Did you mean {known}?"))
}

/// The known name that takes the fewest changes, if these are few enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + word.trim_start_matches('-').chars().count() / 4;
    let distances = known.map(|name| (strsim::osa_distance(word, name), name));
    distances
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
