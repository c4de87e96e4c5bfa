//! The commands for people, typed against a real node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster;
mod completion;
mod first_steps;
mod groups;
mod measuring;
mod profiles;
mod records;
mod screen;
mod topics;
mod transactions;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ottla_testkit::{Launch, Ottla};
use tempfile::TempDir;

/// A node, and a terminal in which its commands are typed.
struct Terminal {
    node: Ottla,
    dir: TempDir,
}

/// What a command came to.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Terminal {
    fn open() -> Terminal {
        Terminal::with(|launch| launch)
    }

    fn with(change: impl FnOnce(Launch) -> Launch) -> Terminal {
        let dir = tempfile::tempdir().unwrap();
        let node = change(Launch::new(env!("CARGO_BIN_EXE_ottla"), dir.path())).start();
        Terminal { node, dir }
    }

    /// Words are parted by spaces; `~` is a space inside of one.
    fn run(&self, line: &str) -> Said {
        self.run_with(line, "", &[])
    }

    fn type_in(&self, line: &str, input: &str) -> Said {
        self.run_with(line, input, &[])
    }

    fn run_with(&self, line: &str, input: &str, variables: &[(&str, &str)]) -> Said {
        let servers = ("OTTLA_BOOTSTRAP_SERVER", self.node.bootstrap());
        let variables: Vec<_> = [servers].into_iter().chain(variables.iter().copied()).collect();
        run(self.dir.path(), line, input, &variables)
    }

    /// Begins a command that goes on beside others; its standard input is open.
    fn begin(&self, line: &str) -> Child {
        let servers = ("OTTLA_BOOTSTRAP_SERVER", self.node.bootstrap());
        begin(self.dir.path(), line, &[servers])
    }

    /// That it went well; what it printed.
    #[track_caller]
    fn well(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(said.code, 0, "{line}: {said:?}");
        said.out
    }
}

/// Without a node.
fn run(home: &Path, line: &str, input: &str, variables: &[(&str, &str)]) -> Said {
    let mut child = begin(home, line, variables);
    // A command that doesn't read ends before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    said(child)
}

fn begin(home: &Path, line: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(line.split_whitespace().map(|word| word.replace('~', " ")))
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it came to, when it has ended.
fn said(child: Child) -> Said {
    let ended = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: ended.status.code().unwrap_or(-1), out: text(ended.stdout), err: text(ended.stderr) }
}

/// As Ctrl-C does.
fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// Values of a field of JSON lines, in their order.
fn field(lines: &str, name: &str) -> Vec<String> {
    let value = |line: &str| {
        let row: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        match &row[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    };
    lines.lines().map(value).collect()
}

#[test]
fn what_makes_no_sense_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for (line, hint) in [
        ("topci list", "'topic'"),
        ("--confg x", "a similar argument exists: '--config'"),
        ("storage fromat", "a similar subcommand exists: 'format'"),
        ("topic lsit", "a similar subcommand exists: 'list'"),
        ("kafka-topic --list", "Did you mean kafka-topics?"),
        (
            "kafka-preferred-replica-election.sh --zookeeper z:2181",
            "kafka-leader-election --election-type preferred",
        ),
    ] {
        let said = run(dir.path(), line, "", &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line}: {said:?}");
        assert!(said.err.contains(hint), "{line}: {said:?}");
    }
    // There 2 says something else.
    assert_eq!(run(dir.path(), "upgrade-check --confg x", "", &[]).code, 1);
    assert_eq!(run(dir.path(), "kafka-topics --lst", "", &[]).code, 1);
}
