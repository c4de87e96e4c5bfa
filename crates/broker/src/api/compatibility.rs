//! The page on compatibility in the documentation, written from the table of APIs.

use std::fmt::Write as _;

use ottla_wire::{ApiKey, VersionRange};

use super::table::Api;

const INTRODUCTION: &str = "\
# Compatibility

<!-- Written from crates/broker/src/api/table.rs; `UPDATE_EXPECT=1 cargo test -p ottla-broker` writes it again. -->

Ottla speaks the protocol of Apache Kafka 4.3.1. What it serves, it serves in all versions that Apache Kafka does, and
ApiVersions tells clients of nothing else. The tables have every API that Apache Kafka 4.3.1 advertises on a kind of
listener, with the versions that each of the two advertises; `-` stands for what is not there yet: authentication, access
rules, users and tokens, quotas, streams groups. A request for it closes the connection, as one for any unknown API does.

A request takes two bytes to name a group, and its answer hundreds of thousands. What a request for descriptions, settings
or committed offsets names twice is therefore answered once, and one that names more than some 200,000 closes the connection;
Apache Kafka tries to answer all of it.
";

/// What a client might stumble over, by API.
const NOTES: &[(ApiKey, &str)] = &[
    (ApiKey::Produce, "Versions 0 to 2 close the connection, as in Apache Kafka."),
    (ApiKey::DescribeConfigs, "A broker's loggers are the parts of this program, as RUST_LOG names them."),
];

/// The whole page.
pub fn compatibility_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "Listeners of brokers", false);
    section(&mut page, "Listeners of controllers", true);
    page
}

fn section(page: &mut String, title: &str, on_controller: bool) {
    let mut line = |text: String| {
        let _ = writeln!(page, "{text}");
    };
    line(format!("\n## {title}\n"));
    line("| Key | API | Apache Kafka 4.3.1 | Ottla | Note |".to_owned());
    line("| --- | --- | --- | --- | --- |".to_owned());
    for key in ApiKey::all() {
        let facts = key.facts();
        let of_kafka = if on_controller { facts.controller_versions } else { facts.broker_versions };
        let Some(of_kafka) = of_kafka else { continue };
        let own = Api::find(key).and_then(|api| api.advertised(on_controller));
        let note =
            NOTES.iter().find(|(noted, _)| *noted == key && own.is_some()).map_or("", |(_, note)| note);
        let (code, name) = (key.code(), key.name());
        line(format!("| {code} | {name} | {} | {} | {note} |", versions(Some(of_kafka)), versions(own)));
    }
}

fn versions(range: Option<VersionRange>) -> String {
    match range {
        Some(range) if range.min == range.max => range.min.to_string(),
        Some(range) => format!("{} to {}", range.min, range.max),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_up_to_date() {
        expect_test::expect_file!["../../../../docs/compatibility.md"]
            .assert_eq(&super::compatibility_markdown());
    }
}
