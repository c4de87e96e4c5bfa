//! That flags of the tools by Apache Kafka's names have an effect that can be seen: in what a broker is asked, in what is printed, or
//! in how the tool ends.
//!
//! The command lines are those of crates/tools, with which each flag is shown to be understood, and those of own.txt. Here each is
//! run with and without its flag, some in another form, or in a scene that lets the flag be seen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)] // for whoever tries lines

mod answers;
mod proxy;
mod requests;
mod running;
mod scene;
mod shape;
mod streams;
mod world;

use std::collections::BTreeMap;
use std::thread;

use ottla_tools::flags::Grammar;
use world::World;

const LINES: &str = include_str!("../../../tools/src/effects.txt");
const OWN: &str = include_str!("own.txt");
const UNSEEN: &str = include_str!("unseen.txt");

/// A command line without the flag and with it.
struct Row {
    before: String,
    after: String,
    text: &'static str,
}

impl Row {
    fn parse(text: &'static str) -> Row {
        let (before, added) = text.split_once(" => ").unwrap();
        let after = match added.split_once(" instead ") {
            Some((_, other)) => {
                let rest = before.split_once("] ").map_or(before, |(_, rest)| rest);
                let in_front = &before[..before.len() - rest.len()];
                format!("{in_front}{} {other}", rest.split(' ').next().unwrap())
            }
            None => format!("{before} {added}"),
        };
        Row { before: before.to_owned(), after, text }
    }

    fn tool(&self) -> &str {
        let line = self.before.split_once("] ").map_or(self.before.as_str(), |(_, rest)| rest);
        line.split(' ').next().unwrap()
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// What is run, of some lines other ones with the same flag; and how many lines there are in all.
fn rows() -> (Vec<Row>, usize) {
    let all: Vec<&str> = lines(LINES).chain(lines(OWN)).collect();
    let other: BTreeMap<&str, &str> = lines(UNSEEN).map(|line| line.split_once('\t').unwrap()).collect();
    for line in other.keys() {
        assert!(all.contains(line), "there is no such line: {line}");
    }
    let chosen = all.iter().copied().filter_map(|line| match other.get(line) {
        Some(instead) => instead.contains(" => ").then(|| Row::parse(instead)),
        None => Some(Row::parse(line)),
    });
    (chosen.collect(), all.len())
}

const TRIES: usize = 3;

/// Runs the lines of some tools, in several lanes with a node each: there is much waiting. With `OTTLA_ROWS` in the environment,
/// lines alone that this is a part of, and tells what their flags change.
fn check(lanes: usize, is_run: impl Fn(&str) -> bool) {
    let only = std::env::var("OTTLA_ROWS").ok();
    let tells = only.is_some();
    let is_wanted = |row: &Row| only.as_ref().is_none_or(|part| row.text.contains(part));
    let mut of_lanes: Vec<Vec<Row>> = (0..lanes).map(|_| Vec::new()).collect();
    // Those that begin alike are in one lane, which runs what they begin with once.
    let mut lane_of: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows().0.into_iter().filter(|row| is_run(row.tool()) && is_wanted(row)) {
        let next = lane_of.len() % lanes;
        of_lanes[*lane_of.entry(row.before.clone()).or_insert(next)].push(row);
    }
    let lanes: Vec<_> =
        of_lanes.into_iter().map(|rows| thread::spawn(move || without_effect(rows, tells))).collect();
    let without: Vec<&str> = lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect();
    assert!(without.is_empty(), "without an effect that can be seen:\n{}", without.join("\n"));
}

fn without_effect(rows: Vec<Row>, tells: bool) -> Vec<&'static str> {
    let mut world = World::new();
    let mut without = Vec::new();
    for row in rows {
        let effects =
            (0..TRIES).map(|number| world.effects(&row, number > 0)).find(|effects| !effects.is_empty());
        if tells {
            println!("{}\n    {effects:?}", row.text);
        }
        if effects.is_none() {
            without.push(row.text);
        }
    }
    without
}

const PRODUCERS: [&str; 4] =
    ["kafka-console-producer", "kafka-producer-perf-test", "kafka-verifiable-producer", "kafka-e2e-latency"];

const CONSUMERS: [&str; 4] = [
    "kafka-console-consumer",
    "kafka-consumer-perf-test",
    "kafka-replica-verification",
    "kafka-verifiable-consumer",
];

const SHARE_CONSUMERS: [&str; 2] = ["kafka-console-share-consumer", "kafka-share-consumer-perf-test"];

#[test]
fn flags_of_producers_have_effects_that_can_be_seen() {
    check(2, |tool| PRODUCERS.contains(&tool));
}

#[test]
fn flags_of_consumers_have_effects_that_can_be_seen() {
    check(2, |tool| CONSUMERS.contains(&tool));
}

#[test]
fn flags_of_share_consumers_have_effects_that_can_be_seen() {
    check(3, |tool| SHARE_CONSUMERS.contains(&tool));
}

#[test]
fn flags_of_other_tools_have_effects_that_can_be_seen() {
    let others = [&PRODUCERS[..], &CONSUMERS, &SHARE_CONSUMERS].concat();
    check(2, |tool| !others.contains(&tool));
}

#[test]
fn lines_that_are_run_are_counted() {
    let (rows, count) = rows();
    expect_test::expect!["481 of 491"].assert_eq(&format!("{} of {count}", rows.len()));
}

#[test]
fn every_flag_of_this_package_has_a_line() {
    for tool in ["kafka-storage", "kafka-server-start", "kafka-server-stop"] {
        let grammar = Grammar::of(tool).unwrap();
        let of_tool = grammar.flags.iter().map(|flag| ("", flag.name()));
        let of_commands = grammar
            .commands
            .iter()
            .flat_map(|(command, flags)| flags.iter().map(move |flag| (*command, flag.name())));
        for (command, flag) in of_tool.chain(of_commands) {
            let is_shown = |line: &str| {
                let (before, added) = line.split_once(" => ").unwrap();
                before.starts_with(format!("{tool} {command}").trim_end()) && added.starts_with(flag)
            };
            // Those are tested elsewhere.
            let is_of_all = ["--help", "--version"].contains(&flag);
            assert!(is_of_all || lines(OWN).any(is_shown), "{tool} {command} {flag}");
        }
    }
}
