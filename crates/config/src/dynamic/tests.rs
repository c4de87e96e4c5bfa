use super::*;
use crate::{TopicConfig, keys};

fn map(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn effective(fixed: &[(&str, &str)], all: &[(&str, &str)], this: &[(&str, &str)]) -> Config {
    let mut config = DynamicConfig::new(Config::of_pairs(fixed.iter().copied()).unwrap());
    config.set_all_brokers(map(all));
    config.set_this_broker(map(this));
    config.effective()
}

#[test]
fn nearer_layers_win() {
    let io = |fixed, all, this| effective(fixed, all, this).get(keys::NUM_IO_THREADS);
    assert_eq!(io(&[], &[], &[]), 8);
    assert_eq!(io(&[("num.io.threads", "9")], &[], &[]), 9);
    assert_eq!(io(&[("num.io.threads", "9")], &[("num.io.threads", "10")], &[]), 10);
    assert_eq!(io(&[("num.io.threads", "9")], &[("num.io.threads", "10")], &[("num.io.threads", "11")]), 11);
}

#[test]
fn what_a_layer_may_not_hold_counts_as_not_set() {
    let config = effective(
        &[],
        &[
            ("num.partitions", "5"),
            ("listeners", "PLAINTEXT://:1"),
            ("num.io.threads", "none"),
            ("no.such.key", "1"),
        ],
        &[("ssl.keystore.location", "/k"), ("log.preallocate", "true")],
    );
    assert_eq!(config.get(keys::NUM_PARTITIONS), 1);
    assert_eq!(config.get(keys::LISTENERS), ["PLAINTEXT://:9092"]);
    assert_eq!(config.get(keys::NUM_IO_THREADS), 8);
    assert_eq!(config.get(keys::SSL_KEYSTORE_LOCATION), None);
    assert!(config.get(keys::LOG_PREALLOCATE));
    assert_eq!(*config.source("log.preallocate"), Source::ThisBroker);
}

#[test]
fn topics_follow_their_brokers_dynamic_settings() {
    let config = effective(
        &[("log.retention.minutes", "5")],
        &[("log.retention.ms", "7")],
        &[("compression.type", "lz4")],
    );
    let topic = TopicConfig::resolve(&config, &Overrides::new());
    assert_eq!(topic.retention_ms, 7);
    assert_eq!(topic.compression, crate::CompressionType::Lz4);
    assert_eq!(config.get(keys::LOG_RETENTION_MINUTES), None, "silenced by the dynamic value");
}

#[test]
fn quotas_are_only_dynamic() {
    let key = keys::LEADER_REPLICATION_THROTTLED_RATE;
    assert_eq!(effective(&[(key.name(), "5")], &[], &[]).get(key), i64::MAX);
    assert_eq!(effective(&[], &[(key.name(), "5")], &[]).get(key), 5);
}

#[test]
fn a_listener_sees_what_is_set_for_it() {
    let pairs = [
        ("listener.name.external.ssl.client.auth", "required"),
        ("listener.name.other.ssl.client.auth", "requested"),
        ("listener.name.external.num.network.threads", "7"),
    ];
    let config = Config::of_pairs(pairs).unwrap();
    let external = config.for_listener("EXTERNAL");
    assert_eq!(external.get(keys::SSL_CLIENT_AUTH), "required");
    assert_eq!(external.get(keys::NUM_NETWORK_THREADS), 7);
    assert_eq!(config.get(keys::SSL_CLIENT_AUTH), "none");
    let wrong = Config::of_pairs([("listener.name.external.ssl.client.auth", "maybe")]).unwrap_err();
    assert!(
        wrong.to_string().starts_with("Invalid value maybe for configuration ssl.client.auth"),
        "{wrong}"
    );
}

#[test]
fn what_is_set_at_run_time_and_not_acted_on_is_known() {
    let mut layers = DynamicConfig::new(Config::of_pairs([]).unwrap());
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Overrides>()
    };
    layers.set_all_brokers(map(&[
        ("quota.window.num", "11"),
        ("background.threads", "11"),
        ("log.retention.ms", "5"),
    ]));
    layers.set_this_broker(map(&[("listener.name.a.ssl.client.auth", "required"), ("no.such.key", "1")]));
    assert_eq!(
        layers.not_acted_on().into_iter().collect::<Vec<_>>(),
        ["background.threads", "ssl.client.auth"]
    );
}
