use std::collections::BTreeMap;

use crate::{Config, ConfigError, ConfigErrors, Inputs};

fn load(line: &str) -> Result<Config, ConfigErrors> {
    let mut settings: BTreeMap<&str, &str> = BTreeMap::from([
        ("node.id", "1"),
        ("process.roles", "broker,controller"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
    ]);
    for pair in line.split('|') {
        let (name, text) = pair.split_once('=').unwrap();
        if text == "<unset>" {
            settings.remove(name);
        } else {
            settings.insert(name, text);
        }
    }
    let overrides: Vec<String> = settings.iter().map(|(name, text)| format!("{name}={text}")).collect();
    Config::load(&Inputs { overrides: &overrides, ..Inputs::default() }).map(|(config, _)| config)
}

/// Settings on which we differ on purpose, and why.
const DIFFERENT: [(&str, &str); 8] = [
    ("controller.listener.names=controller", "listener names are the same in any case"),
    ("early.start.listeners=plaintext", "listener names are the same in any case"),
    ("listeners=PLAINTEXT://h:-1,CONTROLLER://:9093", "no socket has such a port"),
    ("listeners=PLAINTEXT://h:70000,CONTROLLER://:9093", "no socket has such a port"),
    ("advertised.listeners=PLAINTEXT://h:-1", "no socket has such a port"),
    (
        "principal.builder.class=java.lang.String",
        "classes can't be looked up, and all but the default are refused",
    ),
    ("group.consumer.assignors=foo", "classes can't be looked up"),
    ("group.share.assignors=foo", "classes can't be looked up"),
];

#[test]
fn accepts_and_refuses_what_kafka_does() {
    let mut wrong = Vec::new();
    for line in include_str!("../../testdata/node_rules.txt").lines().filter(|line| !line.starts_with('#')) {
        let (settings, expected) = line.split_once('\t').unwrap();
        if DIFFERENT.iter().any(|(different, _)| *different == settings) {
            continue;
        }
        let got = load(settings);
        if got.is_ok() != (expected == "OK") {
            wrong.push(format!("{settings}\n  Kafka: {expected}\n  we: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Beginnings of messages where ours say more, or say it of another key.
const OTHER_WORDS: [&str; 12] = [
    "No security protocol defined",
    "Each listener must have a different",
    "If you have two listeners on the same port",
    "Unable to parse",
    "port out of range",
    "Invalid security protocol",
    "Error parsing configuration property",
    "/ by zero",
    "For input string",
    "max.connections.per.ip.overrides contains invalid addresses",
    "Unknown compression type id",
    "The provided listener name is null or empty",
];

/// Kafka does not say where a setting stands.
fn without_place(error: &ConfigError) -> &ConfigError {
    match error {
        ConfigError::Placed { error, .. } => error,
        other => other,
    }
}

#[test]
fn says_it_as_kafka_does() {
    let mut wrong = Vec::new();
    for line in include_str!("../../testdata/node_rules.txt").lines().filter(|line| !line.starts_with('#')) {
        let (settings, expected) = line.split_once('\t').unwrap();
        let other_words = OTHER_WORDS.iter().any(|words| expected.starts_with(words))
            || settings == "group.consumer.migration.policy=x";
        if let Err(errors) = load(settings)
            && expected != "OK"
            && !other_words
            && !errors.0.iter().any(|error| without_place(error).to_string() == expected)
        {
            wrong.push(format!("{settings}\n  Kafka: {expected}\n  we: {errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
