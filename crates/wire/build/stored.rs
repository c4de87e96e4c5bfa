//! Rust for the lists of record types that the tables say which log holds: calls of the macros that make an enum of them.

use std::fmt::Write as _;

use crate::schema::Message;

const STORED_IN: usize = 0;
const KIND: usize = 1;
const TYPE_ID: usize = 2;

fn of<'a>(records: &'a [Message], log: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Message> {
    records.iter().filter(move |r| r.facts[STORED_IN] == log && r.facts[KIND] == kind)
}

/// `metadata_records! { 2 => Topic(TopicRecord), ... }`.
pub fn metadata(records: &[Message]) -> String {
    let mut out = String::from("metadata_records! {\n");
    for record in of(records, "__cluster_metadata", "metadata") {
        let variant = record.name.strip_suffix("Record").unwrap_or(&record.name);
        let _ = writeln!(out, "    {} => {variant}({}),", record.facts[TYPE_ID], record.name);
    }
    out + "}\n"
}

/// `coordinator_records! { #[doc] Name { 1 => OffsetCommit(OffsetCommitKey, OffsetCommitValue), ... } }`.
pub fn coordinators(records: &[Message]) -> String {
    let logs = [
        ("ConsumerOffsetsRecord", "__consumer_offsets"),
        ("TransactionStateRecord", "__transaction_state"),
        ("ShareGroupStateRecord", "__share_group_state"),
    ];
    let mut out = String::new();
    for (name, log) in logs {
        let _ = writeln!(out, "coordinator_records! {{\n    /// A record of `{log}`.\n    {name} {{");
        for key in of(records, log, "coordinator-key") {
            let type_id = &key.facts[TYPE_ID];
            let value = of(records, log, "coordinator-value").find(|value| value.facts[TYPE_ID] == *type_id);
            let Some(value) = value else { panic!("{} has no value", key.name) };
            let variant = key.name.strip_suffix("Key").unwrap_or(&key.name);
            let _ = writeln!(out, "        {type_id} => {variant}({}, {}),", key.name, value.name);
        }
        out += "    }\n}\n";
    }
    out
}
