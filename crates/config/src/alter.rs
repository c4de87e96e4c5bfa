//! Changes to the settings of topics, brokers, groups and client metrics subscriptions: what they come to, and whether
//! they are allowed. Errors are of the classes and in the words that clients of Kafka know.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::dynamic::{DynamicConfig, Overrides, behind_listener_prefix, broker_row};
use crate::error::ConfigError;
use crate::refusal::must_be_acted_on;
use crate::rules;
use crate::table::{GROUP, Row, Scope, TOPIC, Table, Type, UpdateMode, keys, topic_keys};
use crate::topic::broker_default;
use crate::validate;
use crate::value::{Value, parse_boolean};

/// Why a change isn't allowed, by the error code that says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterError {
    /// INVALID_REQUEST
    #[error("{0}")]
    InvalidRequest(String),
    /// INVALID_CONFIG
    #[error("{0}")]
    InvalidConfig(String),
}

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    Topic,
    /// With an empty name: all brokers.
    Broker,
    ClientMetrics,
    Group,
}

/// Operations of IncrementalAlterConfigs (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterOp {
    pub fn of_id(id: i8) -> Option<AlterOp> {
        match id {
            0 => Some(AlterOp::Set),
            1 => Some(AlterOp::Delete),
            2 => Some(AlterOp::Append),
            3 => Some(AlterOp::Subtract),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            AlterOp::Set => "SET",
            AlterOp::Delete => "DELETE",
            AlterOp::Append => "APPEND",
            AlterOp::Subtract => "SUBTRACT",
        }
    }
}

/// One change of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alteration<'a> {
    pub name: &'a str,
    pub op: AlterOp,
    /// May be absent only where a key is deleted.
    pub value: Option<&'a str>,
}

/// Keys, and what they are to be set to; `None` deletes.
pub type Changes = Vec<(String, Option<String>)>;

/// What `alterations` of a resource with the settings `current` come to, one entry a key in their order. Keys whose value
/// stays the same are left out, except for brokers, where writing it again makes them load it again.
pub fn changes(
    kind: ResourceKind,
    current: &Overrides,
    alterations: &[Alteration<'_>],
) -> Result<Changes, AlterError> {
    check_form(alterations)?;
    let mut changes = Changes::new();
    for alteration in alterations {
        let before = current.get(alteration.name);
        let after = match (alteration.op, alteration.value) {
            (AlterOp::Delete, _) => None,
            (AlterOp::Set, value) => value.map(str::to_owned),
            (op, value) => Some(changed_list(kind, before, alteration.name, op, value.unwrap_or(""))?),
        };
        if before != after.as_ref() || kind == ResourceKind::Broker {
            changes.push((alteration.name.to_owned(), after));
        }
    }
    Ok(changes)
}

/// What the legacy AlterConfigs comes to: `new` replaces everything.
pub fn replacement(kind: ResourceKind, current: &Overrides, new: &Overrides) -> Changes {
    let set =
        new.iter().filter(|(name, text)| kind == ResourceKind::Broker || current.get(*name) != Some(text));
    let deleted = current.keys().filter(|name| !new.contains_key(*name));
    set.map(|(name, text)| (name.clone(), Some(text.clone())))
        .chain(deleted.map(|name| (name.clone(), None)))
        .collect()
}

/// `current` after `changes`.
pub fn applied(current: &Overrides, changes: &Changes) -> Overrides {
    let mut new = current.clone();
    for (name, value) in changes {
        match value {
            Some(value) => new.insert(name.clone(), value.clone()),
            None => new.remove(name),
        };
    }
    new
}

fn check_form(alterations: &[Alteration<'_>]) -> Result<(), AlterError> {
    let names: BTreeSet<&str> = alterations.iter().map(|alteration| alteration.name).collect();
    if names.len() < alterations.len() {
        return Err(AlterError::InvalidRequest("Error due to duplicate config keys".into()));
    }
    let missing = |a: &&Alteration<'_>| a.op != AlterOp::Delete && a.value.is_none();
    let nulls: Vec<&str> = alterations.iter().filter(missing).map(|a| a.name).collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for : {}", nulls.join(", "));
        return Err(AlterError::InvalidRequest(text));
    }
    Ok(())
}

fn changed_list(
    kind: ResourceKind,
    before: Option<&String>,
    name: &str,
    op: AlterOp,
    value: &str,
) -> Result<String, AlterError> {
    let row = match kind {
        ResourceKind::Topic => Table::Topic.find(name),
        ResourceKind::Broker => Some(
            broker_row(name)
                .ok_or_else(|| AlterError::InvalidConfig(format!("Unknown config name: {name}")))?,
        ),
        // Kafka knows no lists of these.
        ResourceKind::ClientMetrics | ResourceKind::Group => None,
    };
    let Some(row) = row.filter(|row| row.kind == Type::List) else {
        let text = match kind {
            ResourceKind::Broker => {
                format!("Config value {} is not allowed for config key: {name}", op.name().to_lowercase())
            }
            _ => format!("Can't {} to key {name} because its type is not LIST.", op.name()),
        };
        return Err(AlterError::InvalidConfig(text));
    };
    let text = before.map(String::as_str).or(row.default_text()).unwrap_or("");
    let mut entries: Vec<&str> = text.split(',').filter(|entry| !entry.is_empty()).collect();
    for entry in value.split(',') {
        let at = entries.iter().position(|present| *present == entry);
        match (op, at) {
            (AlterOp::Append, None) => entries.push(entry),
            (AlterOp::Subtract, Some(at)) => drop(entries.remove(at)),
            _ => {}
        }
    }
    Ok(entries.join(","))
}

/// Whether a topic on a broker with the effective configuration `broker` may have the settings `new`. `old` are those that
/// it has, for rules on what may not change.
pub fn validate_topic(broker: &Config, old: &Overrides, new: &Overrides) -> Result<(), AlterError> {
    known_and_valid(&TOPIC, "topic", new)?;
    let number = |row: &'static Row| {
        let own = new.get(row.name).and_then(|text| validate::parse(row, text).ok());
        own.or_else(|| broker_default(broker, row)).and_then(|value| value.as_i64())
    };
    let lag_min = number(topic_keys::MIN_COMPACTION_LAG_MS.row()).unwrap_or(0);
    let lag_max = number(topic_keys::MAX_COMPACTION_LAG_MS.row()).unwrap_or(i64::MAX);
    if lag_min > lag_max {
        return Err(AlterError::InvalidConfig(format!(
            "conflict topic config setting min.compaction.lag.ms ({lag_min}) > max.compaction.lag.ms ({lag_max})"
        )));
    }
    remote_storage(broker, old, new)
}

fn remote_storage(broker: &Config, old: &Overrides, new: &Overrides) -> Result<(), AlterError> {
    let is_true = |overrides: &Overrides, name: &str| {
        overrides.get(name).and_then(|text| parse_boolean(text)) == Some(true)
    };
    let key = topic_keys::REMOTE_STORAGE_ENABLE.name();
    if is_true(new, key) && !broker.get(crate::keys::REMOTE_LOG_STORAGE_SYSTEM_ENABLE) {
        return Err(AlterError::InvalidConfig(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                .into(),
        ));
    }
    let deleting = is_true(new, topic_keys::REMOTE_LOG_DELETE_ON_DISABLE.name());
    if is_true(old, key) && !is_true(new, key) && !deleting {
        return Err(AlterError::InvalidConfig(
            "It is invalid to disable remote storage without deleting remote data. If you want to keep the remote data and \
             turn to read only, please set `remote.storage.enable=true,remote.log.copy.disable=true`. If you want to \
             disable remote storage and delete all remote data, please set \
             `remote.storage.enable=false,remote.log.delete.on.disable=true`."
                .into(),
        ));
    }
    Ok(())
}

/// Whether a group may have the settings `new`, within the bounds that `broker` sets.
pub fn validate_group(broker: &Config, new: &Overrides) -> Result<(), AlterError> {
    known_and_valid(&GROUP, "group", new)?;
    let of_broker =
        |name: &str| Table::Broker.find(name).and_then(|row| broker.value(row)).and_then(Value::as_i64);
    for row in GROUP.iter() {
        let own = new.get(row.name).and_then(|text| validate::parse(row, text).ok());
        let Some(number) = own.and_then(|value| value.as_i64()) else { continue };
        if let Some(bound) = row.lower_bound.filter(|bound| of_broker(bound).is_some_and(|min| number < min))
        {
            return Err(AlterError::InvalidConfig(format!(
                "{} must be greater than or equal to {bound}",
                row.name
            )));
        }
        if let Some(bound) = row.upper_bound.filter(|bound| of_broker(bound).is_some_and(|max| number > max))
        {
            return Err(AlterError::InvalidConfig(format!(
                "{} must be less than or equal to {bound}",
                row.name
            )));
        }
    }
    let effective = |name: &str| {
        let row = Table::Group.find(name)?;
        let own = new.get(name).and_then(|text| validate::parse(row, text).ok());
        own.or_else(|| broker_default(broker, row)).and_then(|value| value.as_i64())
    };
    for kind in ["consumer", "share", "streams"] {
        let (heartbeat, session) =
            (format!("{kind}.heartbeat.interval.ms"), format!("{kind}.session.timeout.ms"));
        if effective(&heartbeat) >= effective(&session) {
            return Err(AlterError::InvalidConfig(format!("{heartbeat} must be less than {session}")));
        }
    }
    dead_letters(broker, new)
}

/// Where letters would never be written (KIP-1191).
fn dead_letters(broker: &Config, new: &Overrides) -> Result<(), AlterError> {
    const NAME: &str = "errors.deadletterqueue.topic.name";
    let Some(topic) = new.get(NAME).map(|text| text.trim()).filter(|topic| !topic.is_empty()) else {
        return Ok(());
    };
    let prefix = crate::keys::ERRORS_DEADLETTERQUEUE_TOPIC_NAME_PREFIX;
    let needed = broker.get(prefix);
    if topic.starts_with("__") {
        return Err(AlterError::InvalidConfig(format!("{NAME} must not begin with '__': {topic}")));
    }
    if !topic.starts_with(needed) {
        let prefix = prefix.name();
        return Err(AlterError::InvalidConfig(format!(
            "{NAME} must begin with {prefix}, '{needed}': {topic}"
        )));
    }
    Ok(())
}

/// Whether a client metrics subscription may have the settings `new` (KIP-714).
pub fn validate_client_metrics(new: &Overrides) -> Result<(), AlterError> {
    const LABELS: [&str; 6] = [
        "client_id",
        "client_instance_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    for (name, text) in new {
        let row =
            Table::Entity.find(name).filter(|row| row.scope == Scope::ClientMetrics).ok_or_else(|| {
                AlterError::InvalidRequest(format!("Unknown client metrics configuration: {name}"))
            })?;
        match validate::parse(row, text).map_err(in_config)? {
            Value::Int(interval) if !(100..=3_600_000).contains(&interval) => {
                return Err(AlterError::InvalidRequest(format!(
                    "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            Value::List(patterns) if name == "match" => {
                let known = |pattern: &&String| {
                    pattern.split_once('=').is_some_and(|(label, _)| LABELS.contains(&label.trim()))
                };
                if let Some(wrong) = patterns.iter().find(|pattern| !known(pattern)) {
                    return Err(AlterError::InvalidConfig(format!(
                        "Illegal client matching pattern: {wrong}"
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn known_and_valid(rows: &'static [Row], kind: &str, new: &Overrides) -> Result<(), AlterError> {
    let find = |name: &String| rows.iter().find(|row| row.name == *name);
    if let Some(name) = new.keys().find(|name| find(name).is_none()) {
        return Err(AlterError::InvalidConfig(format!("Unknown {kind} config name: {name}")));
    }
    for (name, text) in new {
        if let Some(row) = find(name) {
            validate::parse(row, text).map_err(in_config)?;
        }
    }
    Ok(())
}

fn in_config(error: ConfigError) -> AlterError {
    AlterError::InvalidConfig(error.to_string())
}

fn in_request(error: impl ToString) -> AlterError {
    AlterError::InvalidRequest(error.to_string())
}

/// Whether a broker may run with these dynamic settings: `per_broker` says whether they are for it alone or for all
/// brokers. Checked on the broker itself, which knows the static configuration below. As at the start, a value that must not
/// be neglected is refused while nothing acts on it.
pub fn validate_broker(layers: &DynamicConfig, new: &Overrides, per_broker: bool) -> Result<(), AlterError> {
    rules_of_kafka(layers, new, per_broker)?;
    for (name, text) in new {
        let row = broker_row(name).filter(|row| must_be_acted_on(row));
        if row.is_some_and(|row| validate::parse(row, text).ok() != row.default_value()) {
            return Err(in_request(format!(
                "{name} can't be set: nothing acts on it yet, and to neglect it would weaken security or lose data"
            )));
        }
        let fixed = Table::Broker.find(name).filter(|row| FIXED_WHILE_RUNNING.contains(&row.name));
        if fixed.is_some_and(|row| validate::parse(row, text).ok().as_ref() != layers.fixed().value(row)) {
            return Err(in_request(format!(
                "{name} can't be changed while the broker runs: set it in its configuration file and start it again"
            )));
        }
    }
    Ok(())
}

/// What Kafka can change on a running broker, and this can't: sockets are bound once.
const FIXED_WHILE_RUNNING: [&str; 2] = [keys::LISTENERS.name(), keys::LISTENER_SECURITY_PROTOCOL_MAP.name()];

fn rules_of_kafka(layers: &DynamicConfig, new: &Overrides, per_broker: bool) -> Result<(), AlterError> {
    let refuse = |names: Vec<&str>, why: &str| {
        if names.is_empty() { Ok(()) } else { Err(in_request(format!("{why}: [{}]", names.join(", ")))) }
    };
    let named =
        |matches: &dyn Fn(&str) -> bool| new.keys().map(String::as_str).filter(|n| matches(n)).collect();
    refuse(named(&is_read_only), "Cannot update these configs dynamically")?;
    refuse(
        named(&needs_listener_prefix),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )?;
    for (name, text) in new {
        if let Some(row) = broker_row(name) {
            validate::parse(row, text).map_err(in_request)?;
        }
    }
    if !per_broker {
        refuse(
            named(&is_of_single_brokers),
            "Cannot update these configs at default cluster level, broker id must be specified",
        )?;
    }
    let before = layers.effective();
    let mut after = layers.clone();
    if per_broker {
        after.set_this_broker(new.clone());
    } else {
        after.set_all_brokers(new.clone());
    }
    let after = after.effective();
    if let Some(error) = rules::check(&after).into_iter().next() {
        return Err(in_request(error));
    }
    thread_counts(&before, &after)
}

/// Thread pools grow and shrink by at most a factor of two a step.
fn thread_counts(before: &Config, after: &Config) -> Result<(), AlterError> {
    let cleaners = |config: &Config| config.get(crate::keys::LOG_CLEANER_THREADS);
    let (current, wanted) = (cleaners(before), cleaners(after));
    if i64::from(wanted) > i64::from(current) * 2 {
        return Err(in_request(format!(
            "Log cleaner threads cannot be increased to more than double the current value {current}"
        )));
    }
    if wanted < current / 2 {
        return Err(in_request(format!(
            "Log cleaner threads cannot be reduced to less than half the current value {current}"
        )));
    }
    const POOLS: [&str; 5] = [
        "num.io.threads",
        "num.network.threads",
        "num.replica.fetchers",
        "num.recovery.threads.per.data.dir",
        "background.threads",
    ];
    for name in POOLS {
        let number = |config: &Config| {
            Table::Broker.find(name).and_then(|row| config.value(row)).and_then(Value::as_i64).unwrap_or(0)
        };
        let (current, wanted) = (number(before), number(after));
        let wrong = if wanted > current * 2 {
            "value should not be greater than double"
        } else if wanted < current / 2 {
            "value should be at least half"
        } else {
            continue;
        };
        return Err(in_request(format!(
            "Dynamic thread count update validation failed for {name}={wanted}, {wrong} the current value {current}"
        )));
    }
    Ok(())
}

fn is_read_only(name: &str) -> bool {
    Table::Broker
        .find(name)
        .is_some_and(|row| row.scope == Scope::Broker && row.update_mode == UpdateMode::ReadOnly)
}

/// Key stores and the like can be reloaded only for one listener.
fn needs_listener_prefix(name: &str) -> bool {
    name.starts_with("ssl.")
        && name != "ssl.client.auth"
        && Table::Broker.find(name).is_some_and(|row| row.update_mode == UpdateMode::PerBroker)
}

fn is_of_single_brokers(name: &str) -> bool {
    const OF_ALL_LISTENERS: [&str; 3] =
        ["max.connections", "max.connection.creation.rate", "num.network.threads"];
    match behind_listener_prefix(name) {
        Some(base) => !OF_ALL_LISTENERS.contains(&base),
        None => Table::Broker.find(name).is_some_and(|row| row.update_mode == UpdateMode::PerBroker),
    }
}

/// Whether a layer of that mode may hold the key at all.
pub(crate) fn may_be_dynamic(name: &str, layer: UpdateMode) -> bool {
    let too_special = layer == UpdateMode::ClusterWide && is_of_single_brokers(name);
    !(is_read_only(name) || needs_listener_prefix(name) || too_special)
}

#[cfg(test)]
mod tests;
