//! Lines that are typed: the words in them, and how they go on.

use super::commands::Shell;
use super::glob;

/// Words are parted by blanks; quotes, and a backslash in front of it, make anything a part of one.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Where the last word of what is typed so far begins, and what it may become.
pub(super) fn completions(shell: &Shell<'_>, typed: &str) -> (usize, Vec<String>) {
    let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let last = typed.get(start..).unwrap_or_default();
    let command = typed.split_whitespace().next().unwrap_or_default();
    if typed.get(..start).unwrap_or_default().trim().is_empty() || command == "man" {
        return (start, commands(shell, last));
    }
    (start, paths(shell, last))
}

fn commands(shell: &Shell<'_>, prefix: &str) -> Vec<String> {
    let names = shell.commands().map(|command| command.name);
    names.filter(|name| name.starts_with(prefix)).map(|name| format!("{name} ")).collect()
}

fn paths(shell: &Shell<'_>, prefix: &str) -> Vec<String> {
    let (directory, beginning) = match prefix.rsplit_once('/') {
        Some((directory, beginning)) => (format!("{directory}/"), beginning),
        None => (String::new(), prefix),
    };
    let from = if directory.is_empty() { "." } else { &directory };
    let found = glob::find(&shell.root, from, &shell.working_directory);
    let Some(at) = found.first() else { return Vec::new() };
    let names = at.node.names().into_iter().filter(|name| name.starts_with(beginning));
    names
        .map(|name| {
            let is_directory = at.node.child(&name).is_some_and(|child| child.is_directory());
            format!("{directory}{name}{}", if is_directory { "/" } else { " " })
        })
        .collect()
}
