//! What a command line of kafka-streams-application-reset means.

use ottla_config::parse_iso_duration_ms;

use crate::client_config::{ClientConfig, properties};
use crate::deprecation::Deprecated;
use crate::flags::Parsed;
use crate::group_flags;
use crate::net::Connection;
use crate::time;
use crate::tool::{Failure, said};

/// Where input topics are read from again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Earliest,
    Latest,
    Offset(i64),
    ShiftBy(i64),
    /// In milliseconds.
    At(i64),
    /// So many milliseconds ago.
    Ago(i64),
    InFile(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Of the application, and so of its group.
    pub(super) application: String,
    servers: Option<String>,
    pub(super) config: Option<String>,
    pub(super) input_topics: Vec<String>,
    pub(super) intermediate_topics: Vec<String>,
    /// `None`: all that look as if they were the application's own.
    pub(super) internal_topics: Option<Vec<String>>,
    pub(super) to: Position,
    pub(super) removes_members: bool,
    pub(super) is_dry_run: bool,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

const POSITIONS: [&str; 7] =
    ["to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "from-file", "shift-by"];
const SERVERS: &str = "localhost:9092";

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let application = parsed
            .value("--application-id")
            .ok_or_else(|| Failure::Usage("Missing required option(s) [application-id]".to_owned()))?;
        group_flags::check_positions(parsed, &POSITIONS)?;
        let mut deprecated = Deprecated::new(
            "Option \"[config-file]\" can't be used with option \"[command-config]\"",
            "Option {old} has been deprecated and will be removed in a future version. Use {new} instead.",
        );
        let config =
            deprecated.either(parsed, "--config-file", "--command-config").map_err(Failure::Usage)?;
        let mut warnings = Vec::new();
        if parsed.has("--intermediate-topics") {
            warnings.push(
                "WARN: `--intermediate-topics` is deprecated and will be removed in a future release"
                    .to_owned(),
            );
        }
        warnings.extend(deprecated.warnings());
        let list =
            |flag| parsed.values(flag).iter().flat_map(|of| of.split(',')).map(str::to_owned).collect();
        let internal_topics: Vec<String> = list("--internal-topics");
        Ok(Plan {
            application: application.to_owned(),
            servers: parsed.value("--bootstrap-server").map(str::to_owned),
            config: parsed.value(config).map(str::to_owned),
            input_topics: list("--input-topics"),
            intermediate_topics: list("--intermediate-topics"),
            internal_topics: Some(internal_topics).filter(|topics| !topics.is_empty()),
            to: position(parsed)?,
            removes_members: parsed.has("--force"),
            is_dry_run: parsed.has("--dry-run"),
            warnings,
        })
    }

    /// The brokers that a flag names, or the file of settings, or those of this machine.
    pub(super) fn connection(&self) -> Result<Connection, Failure> {
        let named = match (&self.servers, &self.config) {
            (Some(servers), _) => Some(servers.clone()),
            (None, Some(path)) => properties(path)?.remove("bootstrap.servers"),
            (None, None) => None,
        };
        let connection = Connection::to(named.as_deref().unwrap_or(SERVERS));
        Ok(connection.with_config(self.config.as_deref()).sharing_config())
    }

    /// Where a partition is read from of which the group has no offset: the end, unless the file says otherwise.
    pub(super) fn is_from_earliest(&self) -> Result<bool, Failure> {
        let config = ClientConfig::new(self.config.as_deref(), &[]).read()?;
        Ok(config.get("auto.offset.reset").is_some_and(|reset| reset == "earliest"))
    }

    pub(super) fn is_inferred(&self, topic: &str) -> bool {
        let is_named = self.input_topics.iter().chain(&self.intermediate_topics).any(|of| of == topic);
        let rest = topic.strip_prefix(self.application.as_str()).and_then(|rest| rest.strip_prefix('-'));
        !is_named && rest.is_some() && is_internal(topic)
    }
}

fn position(parsed: &Parsed) -> Result<Position, Failure> {
    let text = |flag: &str| parsed.value(flag).unwrap_or_default().to_owned();
    let number = |flag| parsed.number(flag).unwrap_or_default();
    let chosen = POSITIONS.into_iter().find(|position| parsed.has(&format!("--{position}")));
    Ok(match chosen {
        Some("to-offset") => Position::Offset(number("--to-offset")),
        Some("to-latest") => Position::Latest,
        Some("shift-by") => Position::ShiftBy(number("--shift-by")),
        Some("to-datetime") => Position::At(time::parse_instant(&text("--to-datetime")).map_err(said)?),
        Some("by-duration") => Position::Ago(
            parse_iso_duration_ms(&text("--by-duration"))
                .ok_or_else(|| said("ERROR: Text cannot be parsed to a Duration"))?,
        ),
        Some("from-file") => Position::InFile(text("--from-file")),
        _ => Position::Earliest,
    })
}

/// Kafka Streams ends the names of topics of its own so.
fn is_internal(topic: &str) -> bool {
    const ENDS: [&str; 4] =
        ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
    if ENDS.iter().any(|end| topic.ends_with(end)) {
        return true;
    }
    // With a number in front of the last word.
    let Some((stem, number)) = topic.strip_suffix("-topic").and_then(|stem| stem.rsplit_once('-')) else {
        return false;
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_join = ["REGISTRATION", "RESPONSE"].into_iter().any(|kind| {
        let name = stem.strip_suffix(&format!("-KTABLE-FK-JOIN-SUBSCRIPTION-{kind}"));
        name.is_some_and(|name| !name.is_empty())
    });
    is_number && is_join
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_kafka_streams_are_known_by_their_names() {
        for (topic, expected) in [
            ("app-counts-changelog", true),
            ("app-by-key-repartition", true),
            ("app-x-subscription-response-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000012-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000012-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE--topic", false),
            ("-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-1-topic", false),
            ("app-counts", false),
            ("app-changelog-2", false),
        ] {
            assert_eq!(is_internal(topic), expected, "{topic}");
        }
    }
}
