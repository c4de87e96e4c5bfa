use std::collections::BTreeMap;

use crate::{Config, TopicConfig, keys};

fn resolve(broker: &[(&str, &str)], topic: &[(&str, &str)]) -> TopicConfig {
    let broker = Config::of_pairs(broker.iter().copied()).unwrap();
    let overrides: BTreeMap<String, String> =
        topic.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TopicConfig::resolve(&broker, &overrides)
}

#[test]
fn time_settings_come_from_the_first_synonym_that_is_set() {
    // (broker's settings, topic's settings, retention.ms, segment.ms, segment.jitter.ms, flush.ms)
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], [i64; 4]);
    let cases: [Case<'_>; 7] = [
        (&[], &[], [604_800_000, 604_800_000, 0, i64::MAX]),
        (&[("log.retention.hours", "1")], &[], [3_600_000, 604_800_000, 0, i64::MAX]),
        (
            &[("log.retention.hours", "1"), ("log.retention.minutes", "1")],
            &[],
            [60_000, 604_800_000, 0, i64::MAX],
        ),
        (&[("log.retention.minutes", "1"), ("log.retention.ms", "7")], &[], [7, 604_800_000, 0, i64::MAX]),
        (&[("log.retention.hours", "-1")], &[], [-1, 604_800_000, 0, i64::MAX]),
        (
            &[
                ("log.roll.hours", "2"),
                ("log.roll.jitter.hours", "1"),
                ("log.flush.scheduler.interval.ms", "9"),
            ],
            &[],
            [604_800_000, 7_200_000, 3_600_000, 9],
        ),
        (
            &[("log.roll.ms", "5"), ("log.roll.jitter.ms", "6"), ("log.flush.interval.ms", "8")],
            &[("retention.ms", " 3 "), ("segment.ms", "4"), ("flush.ms", "none"), ("no.such.key", "1")],
            [3, 4, 6, 8],
        ),
    ];
    for (broker, topic, expected) in cases {
        let config = resolve(broker, topic);
        let got = [config.retention_ms, config.segment_ms, config.segment_jitter_ms, config.flush_ms];
        assert_eq!(got, expected, "{broker:?} {topic:?}");
    }
}

#[test]
fn policies_are_sets() {
    let policy = |text| resolve(&[], &[("cleanup.policy", text)]).cleanup_policy;
    let got = ["delete", "compact", "compact, delete", ""].map(policy).map(|p| (p.compact, p.delete));
    assert_eq!(got, [(false, true), (true, false), (true, true), (false, false)]);
}

#[test]
fn an_internal_segment_size_wins_over_the_documented_one() {
    assert_eq!(resolve(&[], &[("segment.bytes", "2000000")]).segment_bytes, 2_000_000);
    assert_eq!(
        resolve(&[], &[("segment.bytes", "2000000"), ("internal.segment.bytes", "9")]).segment_bytes,
        9
    );
}

#[test]
fn typed_reading() {
    let config = Config::of_pairs([("num.partitions", "3")]).unwrap();
    assert_eq!(config.get(keys::NUM_PARTITIONS), 3);
    assert_eq!(config.get(keys::BROKER_RACK), None);
    assert_eq!(config.get(keys::PROCESS_ROLES), ["broker", "controller"]);
    assert!(config.get(keys::AUTO_CREATE_TOPICS_ENABLE));
}
