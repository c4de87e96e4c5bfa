use std::collections::BTreeSet;

use ottla_wire::{ApiKey, ErrorCode};

use crate::codecs;
use crate::schema::{Kind, Versions, rows};

#[test]
fn every_api_has_its_messages_at_its_versions() {
    let messages = codecs::messages();
    let apis = rows(include_str!("../../schema/apis.tsv"));
    assert_eq!(ApiKey::all().len(), apis.len());
    for row in &apis {
        let key = ApiKey::from_code(row.get("key").parse().unwrap()).unwrap();
        assert_eq!(key.name(), row.get("name"));
        for suffix in ["Request", "Response"] {
            let name = format!("{}{suffix}", row.get("name"));
            let found = messages.iter().find(|(codec, _)| codec.name == name);
            match Versions::parse(row.get("schema_versions")) {
                Some(versions) => {
                    let (codec, schema) = found.unwrap_or_else(|| panic!("no {name}"));
                    assert_eq!(
                        (codec.versions.min, codec.versions.max),
                        (versions.low, versions.high),
                        "{name}"
                    );
                    assert_eq!(schema.facts[0], row.get("key"), "{name}");
                    let since = key.facts().flexible_since.filter(|&since| since <= versions.high);
                    assert_eq!(codec.flexible_since, since, "{name}");
                }
                None => assert!(found.is_none(), "{name}"),
            }
        }
    }
    let served = apis.iter().filter(|row| row.get("schema_versions") != "none").count();
    assert_eq!(messages.len(), 2 * served);
}

/// Produce 0-2 are advertised for the sake of old clients, but no longer have a schema.
#[test]
fn what_nodes_advertise_can_be_read_and_written() {
    for key in ApiKey::all() {
        let facts = key.facts();
        for versions in [facts.broker_versions, facts.controller_versions].into_iter().flatten() {
            let schema = facts.schema_versions.unwrap();
            let min = if key == ApiKey::Produce { schema.min } else { versions.min };
            assert!(schema.contains(min) && schema.contains(versions.max), "{key}");
        }
    }
}

#[test]
fn codes_lead_to_their_variants() {
    for key in ApiKey::all() {
        assert_eq!(ApiKey::from_code(key.code()), Some(key));
        assert_eq!(key.facts().key, key);
    }
    assert_eq!(ApiKey::from_code(-1), None);
    assert_eq!(ApiKey::from_code(93), None);
    let mut names = BTreeSet::new();
    for code in ErrorCode::all() {
        assert_eq!(ErrorCode::from_code(code.code()), Some(code));
        assert_eq!(code.facts().code, code);
        assert!(names.insert(code.name()));
        assert!(!code.description().is_empty() && !code.description().ends_with('.'), "{code}");
    }
    assert_eq!(ErrorCode::from_code(-2), None);
    assert_eq!(ErrorCode::from_code(i16::MAX), None);
    assert_eq!(ErrorCode::from_code(134), None);
    assert_eq!(ErrorCode::UnknownTopicOrPartition.code(), 3);
    assert!(ErrorCode::NotLeaderOrFollower.is_invalid_metadata());
    assert!(!ErrorCode::InvalidRequest.is_retriable());
}

/// The rules that the generator relies on.
#[test]
fn tables_are_consistent() {
    fn check(name: &str, fields: &[crate::schema::Field]) {
        let mut tags = BTreeSet::new();
        for field in fields {
            let at = format!("{name}.{}", field.path);
            assert!(field.tag.is_none_or(|tag| tags.insert(tag)), "{at}: tag is taken");
            assert_eq!(field.kind == Kind::Struct, !field.fields.is_empty(), "{at}");
            assert!(field.default != "null" || field.nullable.is_some(), "{at}: null is no value of it");
            check(name, &field.fields);
        }
    }
    for (codec, schema) in codecs::all() {
        check(codec.name, &schema.fields);
    }
}
