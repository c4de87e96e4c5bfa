use super::*;
use crate::table::Table;
use crate::value::Password;

#[test]
fn values_are_parsed_and_refused_as_kafka_does() {
    for line in include_str!("../../testdata/values.txt").lines().filter(|line| !line.starts_with("# ")) {
        let mut cells = line.splitn(4, '\t');
        let table = match cells.next().unwrap() {
            "broker" => Table::Broker,
            "topic" => Table::Topic,
            "group" => Table::Group,
            _ => Table::Entity,
        };
        let row = table.find(cells.next().unwrap()).unwrap();
        let quoted = cells.next().unwrap();
        let text = &quoted[1..quoted.len() - 1];
        let expected = cells.next().unwrap();
        let got = match parse(row, text) {
            Ok(value) => format!("={value}"),
            Err(error) => format!("!{error}"),
        };
        assert_eq!(got, in_our_order(expected), "{line}");
    }
}

/// Kafka names the words of these two sets in the order of a hash map.
fn in_our_order(message: &str) -> String {
    message
        .replace("DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL", "BIDIRECTIONAL, DISABLED, DOWNGRADE, UPGRADE")
        .replace("): RS256, ES256", "): ES256, RS256")
}

#[test]
fn share_groups_begin_somewhere() {
    let row = Table::Group.find("share.auto.offset.reset").unwrap();
    let fits = |text: &str| parse(row, text).is_ok();
    for good in ["latest", "earliest", "BY_DURATION:PT1H"] {
        assert!(fits(good), "{good}");
    }
    for bad in ["EARLIEST", "by_duration:1H", "none"] {
        assert!(!fits(bad), "{bad}");
    }
}

#[test]
fn secrets_stay_hidden() {
    let row = Table::Broker.find("ssl.key.password").unwrap();
    let value = parse(row, " abc ").unwrap();
    assert_eq!(value.to_string(), "[hidden]");
    assert_eq!(format!("{value:?}"), "Password([hidden])");
    assert_eq!(value, Value::Password(Password::new("abc")));
}
