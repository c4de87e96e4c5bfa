//! What docs/first-steps.md shows is typed as it stands, and comes to what stands there.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::Terminal;

const PAGE: &str = include_str!("../../../../docs/first-steps.md");

/// A command, and the lines below it.
fn steps() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut steps: Vec<(&str, Vec<&str>)> = Vec::new();
    let blocks = PAGE.split("```\n").skip(1).step_by(2);
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command, Vec::new())),
            (None, Some((_, lines))) if !line.is_empty() => lines.push(line),
            _ => {}
        }
    }
    steps
}

/// Times, sizes, ids and the widths of columns are others each time.
fn alike<'l>(lines: impl IntoIterator<Item = &'l str>, are_sorted: bool) -> Vec<String> {
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    let mut lines: Vec<String> = lines.map(line_alike).collect();
    if are_sorted {
        lines.sort();
    }
    lines
}

fn line_alike(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace().map(word_alike) {
        match words.last_mut() {
            // A size is two words.
            Some(number) if word == "B" && number.parse::<u64>().is_ok() => *number = "SIZE".to_owned(),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

fn word_alike(word: &str) -> String {
    let is_all = |is: fn(char) -> bool| word.chars().all(is);
    let is_id = word.len() == 22 && is_all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let is_time = word.len() == 24 && word.ends_with('Z') && word.starts_with("20");
    let is_ago = word.ends_with('s') && is_all(|c| c.is_ascii_digit() || "hms.".contains(c));
    match word {
        _ if is_id => "ID".to_owned(),
        _ if is_time => "TIME".to_owned(),
        _ if is_ago => "AGO".to_owned(),
        _ => word.to_owned(),
    }
}

#[test]
fn the_first_steps_are_what_happens() {
    let terminal = Terminal::open();
    let bin = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_ottla"), bin.path().join("ottla")).unwrap();
    let steps = steps();
    assert!(steps.len() > 20, "{} commands", steps.len());
    for (command, expected) in steps {
        let path = format!("{}:/usr/bin:/bin", bin.path().display());
        let ran = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(terminal.dir.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", terminal.dir.path())
            .env("OTTLA_BOOTSTRAP_SERVER", terminal.node.bootstrap())
            .output()
            .unwrap();
        let printed =
            String::from_utf8(ran.stdout).unwrap().replace(terminal.node.bootstrap(), "localhost:9092");
        // Which partition comes first is for the brokers to say.
        let is_any_order = command.starts_with("ottla consume") && !command.contains(" -n ");
        let (printed, expected) =
            (alike(printed.lines(), is_any_order), alike(expected.iter().copied(), is_any_order));
        assert_eq!(printed, expected, "{command}");
    }
}
