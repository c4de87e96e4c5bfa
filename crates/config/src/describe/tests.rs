use std::collections::BTreeMap;

use super::*;
use crate::config::{Config, Setting, Source};

/// The golden file's parts: what is set, by kind of resource, and what is described, by kind.
type Parts<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn parts() -> (Parts<'static>, Parts<'static>) {
    let (mut set, mut described) = (Parts::new(), Parts::new());
    let mut section = None;
    for line in include_str!("../../testdata/describe.txt").lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("describe "), section) {
            (Some(kind), _) => section = Some(kind),
            (None, Some(kind)) => described.entry(kind).or_default().push(line),
            (None, None) => {
                let (kind, pair) = line.split_once(' ').unwrap();
                set.entry(kind).or_default().push(pair);
            }
        }
    }
    (set, described)
}

fn overrides(pairs: &[&str]) -> Overrides {
    let split =
        |pair: &&str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.trim_start().to_owned())).unwrap();
    pairs.iter().map(split).collect()
}

fn print(described: &Described) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let source = |source: ConfigSource| match source {
        ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
        ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
        ConfigSource::Default => "DEFAULT_CONFIG",
        ConfigSource::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
        ConfigSource::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        ConfigSource::Group => "GROUP_CONFIG",
    };
    let layers: Vec<String> = described
        .synonyms
        .iter()
        .map(|layer| format!("{}:{}={}", source(layer.source), layer.name, value(&layer.value)))
        .collect();
    format!(
        "{}={} {} {} {}{}{} [{}]",
        described.name,
        value(&described.value),
        source(described.source),
        described.kind.map_or("UNKNOWN".to_owned(), |kind| format!("{kind:?}").to_uppercase()),
        if described.read_only { "ro" } else { "rw" },
        if described.sensitive { " sensitive" } else { "" },
        if described.documentation.is_none() { " nodoc" } else { "" },
        layers.join("; ")
    )
}

#[test]
fn answers_are_those_of_kafka() {
    let (set, expected) = parts();
    let settings = overrides(&set["static"])
        .into_iter()
        .map(|(name, text)| (name, Setting { text, source: Source::Override }));
    let mut config = DynamicConfig::new(Config::from_settings(settings.collect()).unwrap());
    config.set_all_brokers(overrides(&set["all-brokers"]));
    config.set_this_broker(overrides(&set["broker"]));

    let answers = [
        ("broker", config.describe_broker()),
        ("all-brokers", config.describe_all_brokers()),
        ("topic", config.describe_topic(&overrides(&set["topic"]))),
        ("group", config.describe_group(&overrides(&set["group"]))),
        ("client-metrics", describe_client_metrics(&Overrides::new())),
    ];
    let mut wrong = Vec::new();
    for (kind, answer) in answers {
        let got: Vec<String> = answer.iter().map(print).collect();
        let expected = &expected[kind];
        wrong.extend(
            expected.iter().filter(|line| !got.iter().any(|g| g == *line)).map(|l| format!("- {kind} {l}")),
        );
        wrong.extend(
            got.iter().filter(|line| !expected.contains(&line.as_str())).map(|l| format!("+ {kind} {l}")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
