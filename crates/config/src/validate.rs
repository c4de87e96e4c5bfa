//! What values a key allows beyond its type.

use crate::error::ConfigError;
use crate::offset_reset::OffsetResetStrategy;
use crate::table::Row;
use crate::value::{Value, java_double};

/// A rule on single values, as a row of the tables states it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validator {
    Any,
    /// A number between two bounds, each included.
    Range {
        min: Option<f64>,
        max: Option<f64>,
    },
    /// -1 for the codec's own default, or 1 to 9.
    GzipLevel,
    OneOf(&'static [&'static str]),
    OneOfIgnoringCase(&'static [&'static str]),
    NonNullString,
    NonEmptyString,
    /// A list without empty entries, whose repetitions are dropped; of any words where `of` is empty.
    UniqueList {
        empty_allowed: bool,
        of: &'static [&'static str],
    },
    /// `{id}@{host}:{port}` entries.
    QuorumVoters,
    /// `{host}:{port}` entries.
    BootstrapServers,
    /// `*`, or `{partition}:{broker}` entries (KIP-73).
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` with an ISO 8601 duration.
    OffsetResetStrategy,
}

/// Parses and validates `text` as a value of `row`'s key.
pub fn parse(row: &Row, text: &str) -> Result<Value, ConfigError> {
    let mut value = Value::parse(row.name, row.kind, text)?;
    if let (Validator::UniqueList { .. }, Value::List(entries)) = (row.validator, &mut value) {
        drop_repetitions(entries);
    }
    row.validator.check(row.name, &value)?;
    Ok(value)
}

impl Validator {
    pub fn check(&self, name: &str, value: &Value) -> Result<(), ConfigError> {
        match (self, value) {
            (Validator::Range { min, max }, _) => in_range(name, value, *min, *max),
            (Validator::GzipLevel, Value::Int(level)) => match level {
                -1 | 1..=9 => Ok(()),
                _ => Err(ConfigError::invalid(name, level, "Value must be between 1 and 9 or equal to -1")),
            },
            (Validator::OneOf(words), Value::String(word)) => one_of(name, word, words),
            (Validator::OneOfIgnoringCase(words), Value::String(word)) => {
                let found = words.iter().any(|w| w.eq_ignore_ascii_case(word));
                let reason = || format!("String must be one of (case insensitive): {}", words.join(", "));
                if found { Ok(()) } else { Err(ConfigError::invalid(name, word, reason())) }
            }
            (Validator::NonEmptyString, Value::String(text)) if text.is_empty() => {
                Err(ConfigError::invalid(name, text, "String must be non-empty"))
            }
            (Validator::UniqueList { empty_allowed, of }, Value::List(entries)) => {
                unique_list(name, entries, *empty_allowed, of)
            }
            (Validator::QuorumVoters, Value::List(entries)) => {
                entries.iter().try_for_each(|entry| QuorumVoter::parse(name, entry).map(drop))
            }
            (Validator::BootstrapServers, Value::List(entries)) => {
                entries.iter().try_for_each(|entry| HostPort::parse(name, entry).map(drop))
            }
            (Validator::ThrottledReplicas, Value::List(entries)) => throttled_replicas(name, entries),
            (Validator::OffsetResetStrategy, Value::String(text)) => offset_reset_strategy(name, text),
            _ => Ok(()),
        }
    }
}

fn drop_repetitions(entries: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    entries.retain(|entry| seen.insert(entry.clone()));
}

fn in_range(name: &str, value: &Value, min: Option<f64>, max: Option<f64>) -> Result<(), ConfigError> {
    let Some(number) = value.as_f64() else { return Ok(()) };
    match (min, max) {
        (Some(min), _) if number < min => {
            Err(ConfigError::invalid(name, value, format!("Value must be at least {}", bound(min))))
        }
        (_, Some(max)) if number > max => {
            Err(ConfigError::invalid(name, value, format!("Value must be no more than {}", bound(max))))
        }
        _ => Ok(()),
    }
}

/// Bounds are whole numbers in Kafka's definitions unless they have a fraction.
fn bound(bound: f64) -> String {
    if bound.fract() == 0.0 { format!("{bound}") } else { java_double(bound) }
}

fn one_of(name: &str, word: &str, words: &[&str]) -> Result<(), ConfigError> {
    if words.contains(&word) {
        return Ok(());
    }
    Err(ConfigError::invalid(name, word, format!("String must be one of: {}", words.join(", "))))
}

fn unique_list(name: &str, entries: &[String], empty_allowed: bool, of: &[&str]) -> Result<(), ConfigError> {
    if entries.is_empty() && !empty_allowed {
        let valid =
            if of.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", of.join(", ")) };
        return Err(ConfigError::Rule(format!(
            "Configuration '{name}' must not be empty. Valid values include: {valid}"
        )));
    }
    for entry in entries {
        if entry.is_empty() {
            return Err(ConfigError::Rule(format!("Configuration '{name}' values must not be empty.")));
        }
        if !of.is_empty() {
            one_of(name, entry, of)?;
        }
    }
    Ok(())
}

/// One entry of `controller.quorum.voters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumVoter {
    pub id: i32,
    pub host: String,
    pub port: u16,
}

impl QuorumVoter {
    pub fn parse(name: &str, entry: &str) -> Result<QuorumVoter, ConfigError> {
        const FORM: &str = "Each entry should be in the form `{id}@{host}:{port}`.";
        let (id, address) = entry
            .split_once('@')
            .ok_or_else(|| ConfigError::Rule(format!("Invalid configuration value for {name}. {FORM}")))?;
        let id = id
            .parse()
            .map_err(|_| ConfigError::Rule(format!("Failed to parse voter ID as an integer from {id}")))?;
        let (host, port) = split_host_port(address).ok_or_else(|| {
            ConfigError::Rule(format!(
                "Failed to parse host name from entry {entry} for the configuration {name}. {FORM}"
            ))
        })?;
        Ok(QuorumVoter { id, host, port })
    }
}

/// One entry of `controller.quorum.bootstrap.servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    pub fn parse(name: &str, entry: &str) -> Result<HostPort, ConfigError> {
        split_host_port(entry).map(|(host, port)| HostPort { host, port }).ok_or_else(|| {
            ConfigError::Rule(format!(
                "Failed to parse host name from {entry} for the configuration {name}. Each entry should be in the \
                 form \"{{host}}:{{port}}\""
            ))
        })
    }
}

/// The last colon parts host and port; an IPv6 address may stand in brackets, which go. The host may be empty.
pub(crate) fn split_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._%:~".contains(c);
    bare.chars().all(plain).then(|| (bare.to_owned(), port))
}

fn throttled_replicas(name: &str, entries: &[String]) -> Result<(), ConfigError> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let replica = |entry: &String| {
        entry.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
    };
    let empty = entries.iter().all(String::is_empty);
    let every = matches!(entries, [only] if only == "*");
    if empty || every || entries.iter().all(replica) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        name,
        format_args!("[{}]", entries.join(", ")),
        format!(
            "{name} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        ),
    ))
}

fn offset_reset_strategy(name: &str, text: &str) -> Result<(), ConfigError> {
    if !matches!(OffsetResetStrategy::parse(text), None | Some(OffsetResetStrategy::None)) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        name,
        text,
        format!(
            "Invalid value `{text}` for configuration {name}. The value must be either 'earliest', 'latest' or of \
             the format 'by_duration:<PnDTnHnMn.nS>'."
        ),
    ))
}

#[cfg(test)]
mod tests;
