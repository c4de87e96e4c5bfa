use std::collections::BTreeSet;

use super::*;
use crate::validate;

const ALL: [Table; 4] = [Table::Broker, Table::Topic, Table::Group, Table::Entity];

#[test]
fn tables_have_every_key_of_kafka() {
    // Of a later version's dead letters (KIP-1191).
    let is_later = |row: &&Row| row.name.starts_with("errors.deadletterqueue.");
    let count = |table: Table| table.rows().iter().filter(|row| !is_later(row)).count();
    assert_eq!(ALL.map(count), [372, 34, 17, 10]);
    let later = ALL.into_iter().flat_map(Table::rows).filter(is_later);
    assert_eq!(later.map(|row| row.internal).collect::<Vec<_>>(), [true; 5], "no answer shows them unset");
}

#[test]
fn rows_are_found_by_name() {
    for table in ALL {
        for (index, row) in table.rows().iter().enumerate() {
            assert_eq!((row.table, row.index), (table, index));
            assert!(std::ptr::eq(table.find(row.name).unwrap(), row));
        }
        assert!(table.find("no.such.key").is_none());
    }
}

#[test]
fn defaults_are_valid_and_print_as_they_are_written() {
    for row in ALL.into_iter().flat_map(Table::rows) {
        if let Some(text) = row.default_text() {
            let value = row.default_value().unwrap_or_else(|| panic!("{}: {text}", row.name));
            assert_eq!(value.to_string(), text, "{}", row.name);
            // Kafka doesn't hold its own defaults to the rules either: an empty list of servers may be no value to set.
            validate::parse(row, text).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn synonyms_and_bounds_name_broker_keys_of_fitting_types() {
    for row in TOPIC.iter().chain(&GROUP) {
        let bounds = row.lower_bound.iter().chain(&row.upper_bound).copied();
        for name in row.synonyms.iter().map(|synonym| synonym.name).chain(bounds) {
            let other = Table::Broker.find(name).unwrap_or_else(|| panic!("{}: {name}", row.name));
            let widened = (row.kind, other.kind) == (Type::Long, Type::Int);
            assert!(row.kind == other.kind || widened, "{}: {name}", row.name);
        }
    }
}

#[test]
fn a_topic_key_defaults_to_what_its_broker_keys_do() {
    let config = crate::Config::of_pairs([]).unwrap();
    for row in TOPIC.iter() {
        let value = crate::broker_default(&config, row);
        assert_eq!(value, row.default_value(), "{}", row.name);
    }
}

/// The keys that a node may not start with while nothing acts on them.
#[test]
fn refused_keys_stay_refused() {
    let refused: BTreeSet<&str> =
        BROKER.iter().filter(|row| row.neglect == Neglect::Refuse).map(|row| row.name).collect();
    for name in [
        "allow.everyone.if.no.acl.found",
        "alter.config.policy.class.name",
        "authorizer.class.name",
        "client.quota.callback.class",
        "config.providers",
        "connections.max.reauth.ms",
        "create.topic.policy.class.name",
        "delegation.token.secret.key",
        "principal.builder.class",
        "remote.log.storage.system.enable",
        "security.inter.broker.protocol",
        "security.providers",
        "super.users",
    ] {
        assert!(refused.contains(name), "{name}");
    }
}
