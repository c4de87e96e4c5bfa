//! Help, in the layouts of Kafka's tools.

use std::fmt::Write;

use super::table::{Flag, Grammar, Takes};

/// What joptsimple gives a line.
const WIDTH: usize = 80;
const GAP: usize = 2;
/// What argparse4j gives a line.
const COMMANDS_WIDTH: usize = 75;
/// What is used is indented by the name of the program; where that is too long, by so much.
const USAGE_INDENT: usize = 6;
const USAGE_INDENT_MAX: usize = 30;
/// Lines of a description after its first begin so far to the right.
const INDENT: usize = 2;

/// All options in two columns, in the order of the alphabet.
pub fn command_line_help(grammar: &Grammar) -> String {
    let mut flags: Vec<&Flag> = grammar.flags.iter().collect();
    flags.sort_by_key(|flag| flag.name());
    let mut rows: Vec<(String, String)> = vec![
        ("Option".to_owned(), "Description".to_owned()),
        ("------".to_owned(), "-----------".to_owned()),
    ];
    rows.extend(flags.into_iter().map(|flag| (option_cell(flag), description(flag))));
    let widest =
        |cell: fn(&(String, String)) -> &String| rows.iter().map(|row| cell(row).len()).max().unwrap_or(0);
    let left = widest(|row| &row.0).min((WIDTH - GAP) / 2);
    let right = widest(|row| &row.1).min(WIDTH - GAP - left);
    let mut out = String::new();
    for (option, description) in &rows {
        let (options, descriptions) = (wrapped(option, left), wrapped(description, right));
        for line in 0..options.len().max(descriptions.len()) {
            let cell = |pieces: &[String]| pieces.get(line).cloned().unwrap_or_default();
            let _ = writeln!(out, "{:left$}  {:right$}", cell(&options), cell(&descriptions));
        }
    }
    out
}

fn option_cell(flag: &Flag) -> String {
    let value = match (flag.argument, flag.value.java_name()) {
        ("" | "value", java) => java.to_owned(),
        (argument, java) => format!("{java}: {argument}"),
    };
    match flag.takes {
        Takes::Nothing => flag.name().to_owned(),
        Takes::Perhaps => format!("{} [{value}]", flag.name()),
        _ => format!("{} <{value}>", flag.name()),
    }
}

fn description(flag: &Flag) -> String {
    match flag.name() {
        "--help" => return "Print this.".to_owned(),
        "--version" => return "Print which version of Kafka's tools this is like.".to_owned(),
        _ => {}
    }
    let deprecated = if flag.is_deprecated { "(deprecated) " } else { "" };
    let required = if flag.required == "yes" { "REQUIRED: " } else { "" };
    let default = flag.default.map(|default| format!(" (default: {default})")).unwrap_or_default();
    format!("{deprecated}{required}{}{default}", flag.help)
}

/// Broken behind blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if line.len() + word.len() > width {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(INDENT);
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The usage line of a tool with sub-commands, or of one of these.
pub fn usage(grammar: &Grammar, command: Option<&str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(command) = command {
        // What must stand in front of it.
        let required = grammar.flags.iter().filter(|flag| flag.required == "yes");
        parts.extend(required.map(option_usage));
        parts.extend(groups(&grammar.flags, true));
        parts.push(command.to_owned());
    }
    let flags = flags_of(grammar, command);
    parts.push("[-h]".to_owned());
    let options = flags.iter().filter(|flag| !flag.is_positional() && flag.name() != "--help");
    parts.extend(options.filter(|flag| flag.group().is_none()).map(|flag| {
        let shown = option_usage(flag);
        if flag.required == "yes" { shown } else { format!("[{shown}]") }
    }));
    parts.extend(groups(flags, false));
    parts.extend(flags.iter().filter(|flag| flag.is_positional()).map(|flag| match flag.takes {
        Takes::Several { .. } => format!("[{0} [{0} ...]]", flag.name()),
        _ => flag.name().to_owned(),
    }));
    if command.is_none() && !grammar.commands.is_empty() {
        let names: Vec<&str> = grammar.commands.iter().map(|(name, _)| *name).collect();
        parts.extend([format!("{{{}}}", names.join(",")), "...".to_owned()]);
    }
    let mut out = String::new();
    let mut line = format!("usage: {}", grammar.program());
    let mut indent = line.len();
    if indent > USAGE_INDENT_MAX {
        let _ = writeln!(out, "{line}");
        indent = USAGE_INDENT;
        line = " ".repeat(indent);
    }
    for part in parts {
        if line.len() + 1 + part.len() > COMMANDS_WIDTH && line.len() > indent {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent);
        }
        line.push(' ');
        line.push_str(&part);
    }
    out + &line + "\n"
}

fn flags_of<'a>(grammar: &'a Grammar, command: Option<&str>) -> &'a [Flag] {
    match command.and_then(|command| grammar.command(command)) {
        Some((_, flags)) => flags,
        None => &grammar.flags,
    }
}

/// Flags that exclude each other, each group in brackets; only groups of which one must be there, or all.
fn groups(flags: &[Flag], only_required: bool) -> Vec<String> {
    let mut names: Vec<(&str, bool)> = flags.iter().filter_map(Flag::group).collect();
    names.dedup();
    names.retain(|(_, is_required)| *is_required || !only_required);
    let mut parts = Vec::new();
    for (group, is_required) in names {
        let members = flags.iter().filter(|flag| flag.group().is_some_and(|(of, _)| of == group));
        if is_required && members.clone().count() == 1 {
            parts.extend(members.map(option_usage));
            continue;
        }
        let shown = members.map(option_usage).collect::<Vec<_>>().join(" |\n");
        let (open, close) = if is_required { ('(', ')') } else { ('[', ']') };
        parts.extend(format!("{open}{shown}{close}").lines().map(str::to_owned));
    }
    parts
}

fn option_usage(flag: &Flag) -> String {
    match flag.takes {
        Takes::Nothing => flag.name().to_owned(),
        Takes::Several { .. } => format!("{0} {1} [{1} ...]", flag.name(), metavar(flag)),
        _ => format!("{} {}", flag.name(), metavar(flag)),
    }
}

/// argparse4j makes it of the name where nothing else is said.
fn metavar(flag: &Flag) -> String {
    if flag.argument.is_empty() {
        return flag.name().trim_start_matches('-').replace('-', "_").to_uppercase();
    }
    let is_name = flag.argument.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if is_name { flag.argument.to_uppercase() } else { flag.argument.to_owned() }
}

/// Usage, what it is for, and what each word means: the help of tools with sub-commands.
pub(crate) fn commands_help(grammar: &Grammar, command: Option<&str>, about: &str) -> String {
    let mut out = usage(grammar, command);
    let _ = writeln!(out, "\n{about}\n");
    let flags = flags_of(grammar, command);
    let positionals: Vec<&Flag> = flags.iter().filter(|flag| flag.is_positional()).collect();
    if command.is_none() && !grammar.commands.is_empty() {
        out.push_str("positional arguments:\n");
        let names: Vec<&str> = grammar.commands.iter().map(|(name, _)| *name).collect();
        let _ = writeln!(out, "  {{{}}}", names.join(","));
        for (name, flags) in &grammar.commands {
            let about = flags.first().map(|flag| flag.help).unwrap_or_default();
            entry(&mut out, &format!("  {name}"), about);
        }
        out.push('\n');
    } else if !positionals.is_empty() {
        out.push_str("positional arguments:\n");
        positionals.iter().for_each(|flag| entry(&mut out, flag.name(), flag.help));
        out.push('\n');
    }
    out.push_str("optional arguments:\n");
    entry(&mut out, "-h, --help", "show this help message and exit");
    for flag in flags.iter().filter(|flag| !flag.is_positional() && flag.name() != "--help") {
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| {
                if flag.takes == Takes::Nothing {
                    (*name).to_owned()
                } else {
                    format!("{name} {}", metavar(flag))
                }
            })
            .collect();
        entry(&mut out, &names.join(", "), &description(flag));
    }
    out
}

/// Where argparse4j puts descriptions.
const ENTRY_COLUMN: usize = 25;

fn entry(out: &mut String, names: &str, about: &str) {
    let names = format!("  {names}");
    let lines = wrapped_flush(about, COMMANDS_WIDTH - ENTRY_COLUMN);
    let mut lines = lines.iter();
    if names.len() + GAP <= ENTRY_COLUMN {
        let _ =
            writeln!(out, "{names:ENTRY_COLUMN$}{}", lines.next().map(String::as_str).unwrap_or_default());
    } else {
        let _ = writeln!(out, "{names}");
    }
    for line in lines.filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "{:ENTRY_COLUMN$}{line}", "");
    }
}

fn wrapped_flush(text: &str, width: usize) -> Vec<String> {
    wrapped(text, width).into_iter().map(|line| line.trim().to_owned()).collect()
}
