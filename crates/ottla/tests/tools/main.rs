//! That flags of the tools by Apache Kafka's names have an effect that can be seen: in what a broker is asked, in what is printed, or
//! in how the tool ends.
//!
//! The command lines are those of crates/tools, with which each flag is shown to be understood. Here each is run with and without
//! its flag.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod proxy;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use ottla_testkit::{Launch, Ottla};
use proxy::{Asked, Proxy};
use tempfile::TempDir;

const LINES: &str = include_str!("../../../tools/src/effects.txt");
const UNSEEN: &str = include_str!("unseen.txt");

/// These go on by themselves, measure themselves, or need what isn't here: of them only lines are run that are written for it.
const NOT_RUN: [&str; 13] = [
    "kafka-console-consumer",
    "kafka-console-producer",
    "kafka-console-share-consumer",
    "kafka-consumer-perf-test",
    "kafka-e2e-latency",
    "kafka-metadata-shell",
    "kafka-producer-perf-test",
    "kafka-replica-verification",
    "kafka-share-consumer-perf-test",
    "kafka-streams-application-reset",
    "kafka-streams-groups",
    "kafka-verifiable-consumer",
    "kafka-verifiable-producer",
];

/// What `f` stands for behind these flags; elsewhere it is a properties file.
const FILES: [(&str, &str); 6] = [
    ("--offset-json-file", "offsets.json"),
    ("--reassignment-json-file", "moves.json"),
    ("--topics-to-move-json-file", "topics.json"),
    ("--path-to-json-file", "elections.json"),
    ("--from-file", "reset.csv"),
    ("--files", "data/t-0/00000000000000000000.log"),
];

struct World {
    dir: TempDir,
    proxy: Proxy,
    _node: Ottla,
    /// What lines come to that several rows begin with, twice.
    known: BTreeMap<String, [Seen; 2]>,
}

/// What can be seen of a tool, each thing by its name. Of requests it is the first of each kind: how often some are made is for the
/// time to say.
type Seen = BTreeMap<&'static str, String>;

/// A command line without the flag and with it.
struct Row {
    before: String,
    after: String,
    text: &'static str,
}

impl Row {
    fn parse(text: &'static str) -> Row {
        let (tool, rest) = text.split_once(' ').unwrap();
        let (before, added) = rest.split_once(" => ").unwrap();
        let after = match added.split_once(" instead ") {
            Some((_, other)) => other.to_owned(),
            None => format!("{before} {added}"),
        };
        Row { before: format!("{tool} {before}"), after: format!("{tool} {after}"), text }
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// What is run, instead of some lines other ones with the same flag; and how many lines there are in all.
fn rows() -> (Vec<Row>, usize) {
    let all: Vec<&str> = lines(LINES).collect();
    let unseen: BTreeMap<&str, &str> = lines(UNSEEN).map(|line| line.split_once('\t').unwrap()).collect();
    for line in unseen.keys() {
        assert!(all.contains(line), "there is no such line: {line}");
    }
    let is_run = |line: &&str| !NOT_RUN.contains(&line.split(' ').next().unwrap());
    let chosen = all.iter().copied().filter_map(|line| match unseen.get(line) {
        Some(instead) => instead.contains(" => ").then(|| Row::parse(instead)),
        None => is_run(&line).then(|| Row::parse(line)),
    });
    (chosen.collect(), all.len())
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let launch = Launch::new(env!("CARGO_BIN_EXE_ottla"), dir.path());
        let node = launch.set("log.dirs", &dir.path().join("data").display().to_string()).start();
        let proxy = Proxy::start(node.bootstrap());
        let world = World { dir, proxy, _node: node, known: BTreeMap::new() };
        world.prepare();
        world
    }

    /// Something that flags can make a difference for.
    fn prepare(&self) {
        let file = |name: &str, text: &str| fs::write(self.dir.path().join(name), text).unwrap();
        file("f", "client.id=of-file\nretention.ms=77\n");
        file("g", "client.id=of-other-file\n");
        file("h", "print.offset=true\n");
        file(
            "offsets.json",
            r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 1}], "version": 1}"#,
        );
        file(
            "moves.json",
            r#"{"partitions": [{"topic": "t", "partition": 0, "replicas": [1]}], "version": 1}"#,
        );
        file("topics.json", r#"{"topics": [{"topic": "t"}], "version": 1}"#);
        file("elections.json", r#"{"partitions": [{"topic": "t", "partition": 0}]}"#);
        file("reset.csv", "t,0,1\nt,1,0\n");
        for line in [
            "topic create t -p 3",
            "topic create u -p 3 -c retention.ms=100000",
            "produce t a b c d -p 0 -k key",
            "produce t e f -p 1",
            "produce u g h -p 0",
            "consume t -g g",
            "config set group/s share.auto.offset.reset=earliest",
            "share consume t -g s -n 1",
        ] {
            let line = format!("{line} -b {}", self.proxy.addresses[0]);
            let ran = self.command(&line).output().unwrap();
            assert!(ran.status.success(), "{line}: {ran:?}");
        }
        self.proxy.close();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(line.split_whitespace()).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.dir.path());
        command
    }

    fn see(&self, line: &str) -> Seen {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let last = words.last().map(String::as_str).unwrap_or_default();
            let file = FILES.iter().find(|(flag, _)| *flag == last);
            words.push(match (word, file) {
                ("a:1", _) => self.proxy.addresses[0].clone(),
                ("b:1", _) => self.proxy.addresses[1].clone(),
                ("f", Some((_, file))) => (*file).to_owned(),
                (word, _) => word.to_owned(),
            });
        }
        self.proxy.take();
        let ran = self.command(&words.join(" ")).output().unwrap();
        let mut seen = Seen::new();
        for Asked { api, address, client_id, body } in self.proxy.take() {
            seen.entry(api).or_insert_with(|| format!("{address} {client_id:?} {body:?}"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        seen.insert("standard output", text(&ran.stdout));
        seen.insert("standard error", text(&ran.stderr));
        seen.insert("exit code", format!("{:?}", ran.status.code()));
        seen
    }

    /// Whether there is something that is the same each time without the flag, and another thing with it.
    fn has_effect(&mut self, row: &Row, is_again: bool) -> bool {
        if is_again || !self.known.contains_key(&row.before) {
            let both = [0, 1].map(|_| self.see(&row.before));
            self.known.insert(row.before.clone(), both);
        }
        let after = self.see(&row.after);
        let [first, second] = &self.known[&row.before];
        let names: BTreeSet<_> = first.keys().chain(after.keys()).collect();
        names
            .into_iter()
            .any(|name| first.get(name) == second.get(name) && first.get(name) != after.get(name))
    }
}

const TRIES: usize = 3;

#[test]
fn flags_have_effects_that_can_be_seen() {
    let (rows, count) = rows();
    expect_test::expect!["289 of 474"].assert_eq(&format!("{} of {count}", rows.len()));
    let mut world = World::new();
    let mut without = Vec::new();
    for row in &rows {
        if !(0..TRIES).any(|number| world.has_effect(row, number > 0)) {
            without.push(row.text);
        }
    }
    assert!(without.is_empty(), "without an effect that can be seen:\n{}", without.join("\n"));
}
