//! Settings that change while a node runs (KIP-226): layers over its static configuration.
//!
//! A key's value is that for this broker, or else that for all brokers, or else the static one, or else the default. A
//! dynamic value also silences the other keys that say the same in another unit. What a layer may not hold, or holds
//! wrongly, counts as not set: it comes from the metadata log, where other programs write too.

use std::collections::{BTreeMap, BTreeSet};

use crate::alter;
use crate::config::{Config, Setting, Source};
use crate::table::{BROKER, Row, Scope, Table, UpdateMode};
use crate::validate;
use crate::value::Value;

/// Keys and texts that somebody set for one resource.
pub type Overrides = BTreeMap<String, String>;

/// A node's configuration in its layers.
#[derive(Clone, Debug)]
pub struct DynamicConfig {
    pub(crate) fixed: Config,
    pub(crate) all_brokers: Overrides,
    pub(crate) this_broker: Overrides,
}

impl DynamicConfig {
    pub fn new(fixed: Config) -> DynamicConfig {
        DynamicConfig { fixed, all_brokers: Overrides::new(), this_broker: Overrides::new() }
    }

    /// Replaces what is set for all brokers (the broker resource without a name).
    pub fn set_all_brokers(&mut self, overrides: Overrides) {
        self.all_brokers = overrides;
    }

    /// Replaces what is set for this broker.
    pub fn set_this_broker(&mut self, overrides: Overrides) {
        self.this_broker = overrides;
    }

    /// What the node started with.
    pub fn fixed(&self) -> &Config {
        &self.fixed
    }

    /// What is set at run time, to something else than its default, and nothing acts on yet.
    pub fn not_acted_on(&self) -> BTreeSet<&'static str> {
        let set = self.all_brokers.iter().chain(&self.this_broker);
        let waiting = set.filter_map(|(name, text)| {
            let row = broker_row(name).filter(|row| !row.acted_on)?;
            (validate::parse(row, text).ok() != row.default_value()).then_some(row.name)
        });
        waiting.collect()
    }

    /// What the node runs with.
    pub fn effective(&self) -> Config {
        let mut config = self.fixed.clone();
        let layers = [
            (&self.all_brokers, Source::AllBrokers, UpdateMode::ClusterWide),
            (&self.this_broker, Source::ThisBroker, UpdateMode::PerBroker),
        ];
        for (overrides, source, mode) in layers {
            for (name, text) in overrides {
                if alter::may_be_dynamic(name, mode) {
                    config.override_with(name, text, source.clone());
                }
            }
        }
        config
    }
}

impl Config {
    /// This configuration as one listener sees it: what is set with the prefix `listener.name.NAME.` stands in for what is
    /// set without. `max.connections`, `max.connection.creation.rate` and `num.network.threads` without the prefix are
    /// those of the whole broker, for which a listener asks the broker's configuration.
    pub fn for_listener(&self, listener: &str) -> Config {
        let prefix = format!("listener.name.{}.", listener.to_lowercase());
        let mut config = self.clone();
        for (name, setting) in &self.settings {
            if let Some(key) = name.strip_prefix(&prefix).filter(|key| Table::Broker.find(key).is_some()) {
                config.override_with(key, &setting.text, setting.source.clone());
            }
        }
        config
    }

    fn override_with(&mut self, name: &str, text: &str, source: Source) {
        let value = match Table::Broker.find(name) {
            Some(row) => match validate::parse(row, text) {
                Ok(value) => Some((row, value)),
                Err(_) => return,
            },
            None => None,
        };
        for other in broker_synonyms(name).iter().filter(|other| **other != name) {
            self.settings.remove(*other);
            if let Some(row) = Table::Broker.find(other) {
                self.put(row, row.default_value());
            }
        }
        self.settings.insert(name.to_owned(), Setting { text: text.to_owned(), source });
        if let Some((row, value)) = value {
            self.put(row, Some(value));
        }
    }

    fn put(&mut self, row: &Row, value: Option<Value>) {
        if let Some(slot) = self.values.get_mut(row.index) {
            *slot = value;
        }
    }
}

/// Broker keys that say the same as `name` in different units, the strongest first; `name` is among them.
pub(crate) fn broker_synonyms(name: &str) -> &[&str] {
    const FAMILIES: [&[&str]; 3] = [
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    ];
    // The scheduler's interval is only the default of the other.
    const FLUSH: &[&str] = &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
    if name == "log.flush.interval.ms" {
        return FLUSH;
    }
    FAMILIES.into_iter().find(|family| family.contains(&name)).unwrap_or(&[])
}

/// The key behind a `listener.name.NAME.` prefix, as some row of the table names it; mechanisms may stand between.
pub(crate) fn behind_listener_prefix(name: &str) -> Option<&str> {
    const OF_MECHANISMS: [&str; 5] = [
        "sasl.jaas.config",
        "sasl.login.callback.handler.class",
        "sasl.login.class",
        "sasl.server.callback.handler.class",
        "connections.max.reauth.ms",
    ];
    let (_, base) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(OF_MECHANISMS.into_iter().find(|key| base.ends_with(key)).unwrap_or(base))
}

/// The row that says what type a broker resource's key has, with or without a listener's prefix.
pub(crate) fn broker_row(name: &str) -> Option<&'static Row> {
    let row = Table::Broker.find(behind_listener_prefix(name).unwrap_or(name))?;
    matches!(row.scope, Scope::Broker | Scope::DynamicOnly).then_some(row)
}

/// Rows of Kafka's own definition of a broker's configuration.
pub(crate) fn defined_rows() -> impl Iterator<Item = &'static Row> {
    BROKER.iter().filter(|row| row.scope == Scope::Broker)
}

#[cfg(test)]
mod tests;
