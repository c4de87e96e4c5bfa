//! The page on settings in the documentation, written from the tables.

use std::fmt::Write as _;

use crate::table::{BROKER, DefaultValue, ENTITY, GROUP, Neglect, Row, Scope, TOPIC, Type, UpdateMode};
use crate::validate::Validator;
use crate::waiting::why_not_acted_on;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from crates/config/tables; `UPDATE_EXPECT=1 cargo test -p ottla-config` writes it again. -->

Ottla takes Apache Kafka's `server.properties` unchanged. A setting comes from the strongest of these that has it:

1. `--override key=value`, as often as you like;
2. the environment: `KAFKA_LOG_RETENTION_MS=...` is `log.retention.ms` (`_` is a dot, `__` an underscore, `___` a hyphen);
3. the file given with `--config` (of a repeated key the last wins), or the built-in configuration of a single node where there is no file;
4. the default below.

`--check-config` prints each value with its source and starts nothing. An unknown key is ignored with a warning.
A known key that nothing acts on yet is accepted with a warning, unless neglecting it would weaken security or durability:
then Ottla refuses to start and says why. [Which they are](#not-acted-on-yet), and why, stands at the end.

How a setting of a running broker can be changed: *read-only* by a restart, *per-broker* for one broker, *cluster-wide* for one
broker or for all. Settings of topics and groups can be changed at any time.
";

/// The whole page.
pub fn configuration_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let of = |scope: Scope| BROKER.iter().filter(move |row| row.scope == scope && !row.internal);
    section(&mut page, "Nodes", of(Scope::Broker).chain(of(Scope::Authorizer)), true);
    section(&mut page, "Brokers, only at run time", of(Scope::DynamicOnly), true);
    section(&mut page, "Topics", TOPIC.iter().filter(|row| !row.internal), false);
    section(&mut page, "Groups", GROUP.iter(), false);
    let entity = |scope: Scope| ENTITY.iter().filter(move |row| row.scope == scope);
    section(&mut page, "Users and clients", entity(Scope::UserClientId).chain(entity(Scope::User)), false);
    section(&mut page, "Addresses", entity(Scope::Ip), false);
    section(&mut page, "Client metrics subscriptions", entity(Scope::ClientMetrics), false);
    not_acted_on(&mut page);
    page
}

fn section(page: &mut String, title: &str, rows: impl Iterator<Item = &'static Row>, with_mode: bool) {
    let mode_heads = if with_mode { (" Change |", " --- |") } else { ("", "") };
    line(page, &format!("\n## {title}\n"));
    line(page, &format!("| Setting | Type | Default | Values |{} Meaning |", mode_heads.0));
    line(page, &format!("| --- | --- | --- | --- |{} --- |", mode_heads.1));
    for row in rows {
        let mode = if with_mode { format!(" {} |", mode_name(row.update_mode)) } else { String::new() };
        line(
            page,
            &format!(
                "| `{}` | {} | {} | {} |{mode} {} |",
                row.name,
                type_name(row.kind),
                default_name(row),
                values(row.validator),
                meaning(row)
            ),
        );
    }
}

fn meaning(row: &Row) -> String {
    if row.acted_on {
        return row.doc.to_owned();
    }
    let what = if row.doc.is_empty() { "" } else { " " };
    format!("*Not acted on yet.*{what}{}", row.doc)
}

fn not_acted_on(page: &mut String) {
    line(page, "\n## Not acted on yet\n");
    line(
        page,
        "These are parsed, validated and described like all others, and change nothing yet. Those marked *refused* must keep",
    );
    line(page, "their default.\n");
    for (title, rows) in [("Nodes", &BROKER[..]), ("Topics", &TOPIC), ("Groups", &GROUP), ("Others", &ENTITY)]
    {
        let mut waiting = rows.iter().filter(|row| !row.acted_on && !row.internal).peekable();
        if waiting.peek().is_some() {
            line(page, &format!("### {title}\n"));
        }
        for row in waiting {
            let refused = if row.neglect == Neglect::Refuse { " *refused*" } else { "" };
            let why = why_not_acted_on(row).map_or_else(String::new, |why| format!(": {why}"));
            line(page, &format!("- `{}`{refused}{why}", row.name));
        }
        line(page, "");
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
}

fn line(page: &mut String, text: &str) {
    // Writing to a string doesn't fail.
    let _ = writeln!(page, "{text}");
}

fn default_name(row: &Row) -> String {
    match row.default {
        DefaultValue::Required => "*required*".to_owned(),
        DefaultValue::Null => "*unset*".to_owned(),
        DefaultValue::Text("") => "*empty*".to_owned(),
        DefaultValue::Text(text) => format!("`{text}`"),
    }
}

fn values(validator: Validator) -> String {
    match validator {
        Validator::Any | Validator::NonNullString => String::new(),
        Validator::Range { min, max } => match (min, max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("{min} or more"),
            (None, Some(max)) => format!("{max} or less"),
            (None, None) => String::new(),
        },
        Validator::GzipLevel => "-1, 1 to 9".to_owned(),
        Validator::OneOf(words) | Validator::OneOfIgnoringCase(words) => words.join(", "),
        Validator::NonEmptyString => "not empty".to_owned(),
        Validator::UniqueList { empty_allowed, of } => match (of.is_empty(), empty_allowed) {
            (true, true) => String::new(),
            (true, false) => "not empty".to_owned(),
            (false, true) => format!("any of {}", of.join(", ")),
            (false, false) => format!("one or more of {}", of.join(", ")),
        },
        Validator::QuorumVoters => "id@host:port, ...".to_owned(),
        Validator::BootstrapServers => "host:port, ...".to_owned(),
        Validator::ThrottledReplicas => "partition:broker, ... or \\*".to_owned(),
        Validator::OffsetResetStrategy => "latest, earliest, by_duration:PnDTnHnMn.nS".to_owned(),
    }
}

fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "boolean",
        Type::Int => "int",
        Type::Short => "short",
        Type::Long => "long",
        Type::Double => "double",
        Type::String => "string",
        Type::List => "list",
        Type::Class => "class",
        Type::Password => "password",
    }
}

fn mode_name(mode: UpdateMode) -> &'static str {
    match mode {
        UpdateMode::ReadOnly => "read-only",
        UpdateMode::PerBroker => "per-broker",
        UpdateMode::ClusterWide => "cluster-wide",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_up_to_date() {
        expect_test::expect_file!["../../../docs/configuration.md"]
            .assert_eq(&super::configuration_markdown());
    }
}
