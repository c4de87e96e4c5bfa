//! That every flag of the table has an effect: the tool understands a command line differently with it.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::flags::{self, Grammar, Parsed};
use crate::tool::Failure;
use crate::{
    TOOLS, acls, api_versions, client_metrics, cluster_tool, configs, console_consumer, console_producer,
    console_share_consumer, consumer_groups, consumer_perf, delegation_tokens, delete_records, dump_log,
    e2e_latency, features, get_offsets, groups, leader_election, log_dirs, metadata_quorum, metadata_shell,
    producer_perf, reassign_partitions, replica_verification, share_consumer_perf, share_groups,
    streams_groups, streams_reset, topics, transactions, verifiable,
};

fn shown<P: Debug>(plan: Result<P, Failure>) -> String {
    format!("{plan:?}")
}

/// What a tool understands.
fn plan(tool: &str, parsed: &Parsed) -> String {
    match tool {
        "kafka-acls" => shown(acls::Plan::of(parsed)),
        "kafka-broker-api-versions" => shown(api_versions::Plan::of(parsed)),
        "kafka-client-metrics" => shown(client_metrics::Plan::of(parsed)),
        "kafka-cluster" => shown(cluster_tool::Plan::of(parsed)),
        "kafka-configs" => shown(configs::Plan::of(parsed)),
        "kafka-console-consumer" => shown(console_consumer::Plan::of(parsed)),
        "kafka-console-producer" => shown(console_producer::Plan::of(parsed)),
        "kafka-console-share-consumer" => shown(console_share_consumer::Plan::of(parsed)),
        "kafka-consumer-groups" => shown(consumer_groups::Plan::of(parsed)),
        "kafka-consumer-perf-test" => shown(consumer_perf::Plan::of(parsed)),
        "kafka-delegation-tokens" => shown(delegation_tokens::Plan::of(parsed)),
        "kafka-delete-records" => shown(delete_records::Plan::of(parsed)),
        "kafka-dump-log" => shown(dump_log::Plan::of(parsed)),
        "kafka-e2e-latency" => shown(e2e_latency::Plan::of(parsed)),
        "kafka-features" => shown(features::Plan::of(parsed)),
        "kafka-get-offsets" => shown(get_offsets::Plan::of(parsed)),
        "kafka-groups" => shown(groups::Plan::of(parsed)),
        "kafka-leader-election" => shown(leader_election::Plan::of(parsed)),
        "kafka-log-dirs" => shown(log_dirs::Plan::of(parsed)),
        "kafka-metadata-quorum" => shown(metadata_quorum::Plan::of(parsed)),
        "kafka-producer-perf-test" => shown(producer_perf::Plan::of(parsed)),
        "kafka-reassign-partitions" => shown(reassign_partitions::Plan::of(parsed)),
        "kafka-replica-verification" => shown(replica_verification::Plan::of(parsed)),
        "kafka-metadata-shell" => shown(metadata_shell::Plan::of(parsed)),
        "kafka-share-consumer-perf-test" => shown(share_consumer_perf::Plan::of(parsed)),
        "kafka-share-groups" => shown(share_groups::Plan::of(parsed)),
        "kafka-streams-groups" => shown(streams_groups::Plan::of(parsed)),
        "kafka-streams-application-reset" => shown(streams_reset::Plan::of(parsed)),
        "kafka-topics" => shown(topics::Plan::of(parsed)),
        "kafka-transactions" => shown(transactions::Plan::of(parsed)),
        "kafka-verifiable-consumer" => shown(verifiable::consumer::Plan::of(parsed)),
        "kafka-verifiable-producer" => shown(verifiable::producer::Plan::of(parsed)),
        other => panic!("{other} has no plan here"),
    }
}

fn understood(tool: &str, line: &str) -> (Option<&'static str>, String) {
    let grammar = Grammar::of(tool).unwrap();
    let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    match flags::parse(&grammar, &words) {
        Ok(parsed) => (parsed.command(), plan(tool, &parsed)),
        Err(misuse) => panic!("{tool} {line}: {misuse:?}"),
    }
}

/// Tool, sub-command and flag of each line that shows an effect.
fn with_effect() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let lines = include_str!("effects.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (tool, rest) = line.split_once(' ').unwrap();
            let (before, added) = rest.split_once(" => ").unwrap();
            let flag = added.split(' ').next().unwrap();
            let after = match added.split_once(" instead ") {
                Some((_, other)) => other.to_owned(),
                None => format!("{before} {added}"),
            };
            let ((command, before), (_, after)) = (understood(tool, before), understood(tool, &after));
            assert_ne!(before, after, "{line}");
            assert!(after.starts_with("Ok("), "{line}: {after}");
            // Some stand in front of the sub-command.
            let is_of_tool = Grammar::of(tool).unwrap().flags.iter().any(|of| of.name() == flag);
            (tool, command.filter(|_| !is_of_tool).unwrap_or_default(), flag)
        })
        .collect()
}

#[test]
fn every_flag_of_every_tool_has_an_effect() {
    let shown = with_effect();
    let mut rows = BTreeSet::new();
    for tool in TOOLS {
        let grammar = Grammar::of(tool.name).unwrap();
        let of_tool = grammar.flags.iter().map(|flag| ("", flag));
        let of_commands = grammar
            .commands
            .iter()
            .flat_map(|(command, flags)| flags.iter().map(move |flag| (*command, flag)));
        for (command, flag) in of_tool.chain(of_commands) {
            assert!(flag.name() == "--version" || !flag.help.is_empty(), "{} {}", tool.name, flag.name());
            if !["--help", "--version"].contains(&flag.name()) {
                rows.insert((tool.name, command, flag.name()));
            }
        }
    }
    assert_eq!(shown.symmetric_difference(&rows).collect::<Vec<_>>(), Vec::<&(&str, &str, &str)>::new());
}

#[test]
fn what_is_not_here_is_counted() {
    // Kafka Connect runs plugins that are made of Java's classes: its tools have nothing to do here.

    let here: BTreeSet<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    // The executable has some more, and tests them.
    let is_here = |tool: &str| {
        here.contains(tool) || ["kafka-storage", "kafka-server-start", "kafka-server-stop"].contains(&tool)
    };
    let (mut rows, mut missing, mut of) = (0, 0, Vec::new());
    for tool in flags::tools() {
        let grammar = Grammar::of(tool).unwrap();
        let of_commands = grammar.commands.iter().map(|(_, flags)| flags.len()).sum::<usize>();
        rows += grammar.flags.len() + of_commands;
        if !is_here(tool) {
            missing += grammar.flags.len() + of_commands;
            of.push(tool);
        }
    }
    of.sort_unstable();
    expect_test::expect!["20 of 593 rows, all of connect-distributed, connect-mirror-maker, connect-plugin-path, connect-standalone"].assert_eq(&format!("{missing} of {rows} rows, all of {}", of.join(", ")));
}
