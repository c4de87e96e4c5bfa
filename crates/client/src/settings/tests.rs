use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::*;

fn parse(scope: Scope, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::parse(scope, pairs.iter().copied())
}

#[test]
fn every_line_of_the_tables_is_a_row() {
    for (scope, text) in [
        (Scope::Producer, include_str!("../../tables/producer.tsv")),
        (Scope::Consumer, include_str!("../../tables/consumer.tsv")),
        (Scope::ShareConsumer, include_str!("../../tables/consumer.tsv")),
        (Scope::Admin, include_str!("../../tables/admin.tsv")),
    ] {
        let names: Vec<&str> = text.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
        assert!(names.is_sorted(), "{scope}");
        assert_eq!(scope.rows().iter().map(|row| row.name).collect::<Vec<_>>(), names, "{scope}");
        for row in scope.rows() {
            let default = row.default_text();
            assert!(
                default.is_none_or(|text| row.parse(text).is_ok()),
                "the default of {} is possible",
                row.name
            );
            assert_eq!(row.reason.is_empty(), row.handling == Handling::Honoured, "{} says why", row.name);
        }
    }
}

#[test]
fn a_share_consumers_table_changes_rows_that_are_there() {
    for line in include_str!("../../tables/share_consumer.tsv").lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let row = Scope::ShareConsumer.row(cells[0]).unwrap();
        assert_eq!((format!("{:?}", row.handling).to_lowercase().as_str(), row.reason), (cells[5], cells[6]));
    }
}

fn counts(scope: Scope) -> String {
    let mut counts = BTreeMap::new();
    for row in scope.rows() {
        *counts.entry(format!("{:?}", row.handling)).or_insert(0) += 1;
    }
    counts.iter().map(|(handling, count)| format!("{handling} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_setting_is_honoured_refused_or_warned_of() {
    let check = |scope, expected: Expect| expected.assert_eq(&counts(scope));
    check(Scope::Producer, expect!["Honoured 38, Refused 71, Warned 4"]);
    check(Scope::Consumer, expect!["Honoured 40, Refused 69, Warned 7"]);
    check(Scope::ShareConsumer, expect!["Forbidden 10, Honoured 30, Refused 68, Warned 8"]);
    check(Scope::Admin, expect!["Honoured 17, Refused 69, Warned 5"]);
}

#[test]
fn values_are_checked_and_defaults_stand_in() {
    let pairs = [("retry.backoff.ms", " 7 "), ("retry.backoff.ms", "8"), ("client.id", "c")];
    let settings = parse(Scope::Producer, &pairs).unwrap();
    assert_eq!((settings.long("retry.backoff.ms"), settings.int("batch.size")), (8, 16_384));
    assert_eq!((settings.text("client.id"), settings.text("transactional.id")), (Some("c"), None));
    assert!(settings.is_set("client.id") && !settings.is_set("batch.size"));
    assert!(settings.bool("enable.idempotence"));
    assert_eq!(settings.warnings(), [""; 0]);
}

#[test]
fn what_is_not_possible_is_told_all_at_once() {
    let error = parse(
        Scope::Producer,
        &[
            ("linger.ms", "-1"),
            ("acks", "two"),
            ("security.protocol", "SSL"),
            ("key.serializer", "com.example.Avro"),
            ("batch.size", "a"),
        ],
    )
    .unwrap_err();
    expect![[r#"
        Invalid value -1 for configuration linger.ms: Value must be at least 0
        Invalid value two for configuration acks: String must be one of: all, -1, 0, 1
        security.protocol=SSL is not supported: only PLAINTEXT is spoken; another transport can be given in code as ClientSettings::connector
        key.serializer=com.example.Avro is not supported: Java classes can't be loaded; keys and values are bytes here
        Invalid value a for configuration batch.size: Not a number of type INT"#]].assert_eq(&error.problems.join("\n"));
}

#[test]
fn what_has_no_effect_is_told() {
    let pairs = [("metrics.num.samples", "3"), ("linger.mss", "3"), ("my.own", "x")];
    expect![[r#"
        metrics.num.samples has no effect: there is no JMX here and no class can be loaded
        linger.mss is not a setting of a producer; did you mean linger.ms?
        my.own is not a setting of a producer"#]]
    .assert_eq(&parse(Scope::Producer, &pairs).unwrap().warnings().join("\n"));
}

#[test]
fn defaults_of_what_is_refused_and_javas_plain_classes_may_stand_there() {
    let pairs = [
        ("security.protocol", "PLAINTEXT"),
        ("ssl.protocol", "TLSv1.3"),
        ("key.serializer", "org.apache.kafka.common.serialization.StringSerializer"),
        ("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer"),
    ];
    assert_eq!(parse(Scope::Producer, &pairs).unwrap().warnings(), [""; 0]);
}

#[test]
fn files_of_properties_are_read() {
    let settings =
        Settings::parse_properties(Scope::Admin, b"# c\nbootstrap.servers=a:1,\\\n  b:2\n").unwrap();
    assert_eq!(settings.list("bootstrap.servers"), ["a:1", "b:2"]);
    assert!(Settings::parse_properties(Scope::Admin, b"client.id=\\u12").is_err());
}
