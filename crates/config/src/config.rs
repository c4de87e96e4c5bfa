//! The static configuration of a node: each broker key's value, and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::dynamic::behind_listener_prefix;
use crate::error::{ConfigError, ConfigErrors};
use crate::key::{FromValue, Key};
use crate::table::{BROKER, DefaultValue, Row, Scope, Table};
use crate::validate;
use crate::value::Value;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Override,
    Environment {
        variable: String,
    },
    File {
        path: Arc<str>,
        /// Counted from 1: where the key stands.
        line: usize,
    },
    /// What `ottla` brings for a start without a file.
    BuiltIn,
    /// Set at run time for all brokers.
    AllBrokers,
    /// Set at run time for this broker.
    ThisBroker,
    /// The key's own default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Override => f.write_str("--override"),
            Source::Environment { variable } => write!(f, "environment {variable}"),
            Source::File { path, line } => write!(f, "{path}:{line}"),
            Source::BuiltIn => f.write_str("built-in"),
            Source::AllBrokers => f.write_str("dynamic, all brokers"),
            Source::ThisBroker => f.write_str("dynamic, this broker"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A setting as somebody wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub text: String,
    pub source: Source,
}

/// The effective configuration of a node as it starts. Every value has passed its key's validation.
#[derive(Clone, Debug)]
pub struct Config {
    /// By row; `None` is null.
    pub(crate) values: Vec<Option<Value>>,
    /// What somebody set, by name; also keys that no table lists, among them those with a `listener.name.` prefix.
    pub(crate) settings: BTreeMap<String, Setting>,
}

impl Config {
    /// Parses and validates single values; rules across keys are for [`Config::load`].
    pub fn from_settings(mut settings: BTreeMap<String, Setting>) -> Result<Config, ConfigErrors> {
        // Either of the two names of a node's id stands for both.
        let mut copied = "";
        for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let (Some(setting), false) = (settings.get(from).cloned(), settings.contains_key(to)) {
                settings.insert(to.to_owned(), setting);
                copied = to;
            }
        }
        let mut values: Vec<Option<Value>> = BROKER.iter().map(Row::default_value).collect();
        let mut errors = Vec::new();
        for (row, slot) in BROKER.iter().zip(&mut values) {
            match settings.get(row.name).filter(|_| row.scope != Scope::DynamicOnly) {
                Some(setting) => match validate::parse(row, &setting.text) {
                    Ok(value) => *slot = Some(value),
                    Err(_) if row.name == copied && copied == "broker.id" => {}
                    Err(error) => errors.push(error),
                },
                None if row.default == DefaultValue::Required => {
                    errors.push(ConfigError::Missing { name: row.name });
                }
                None => {}
            }
        }
        errors
            .extend(settings.iter().filter_map(|(name, setting)| wrong_for_a_listener(name, &setting.text)));
        if errors.is_empty() { Ok(Config { values, settings }) } else { Err(ConfigErrors(errors)) }
    }

    /// A combined node with these settings over the least that one needs, each parsed and validated, without rules across
    /// keys: for code that is handed its settings, such as a simulated node.
    pub fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Config, ConfigErrors> {
        let minimum = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("controller.listener.names", "CONTROLLER"),
        ];
        let settings = minimum.into_iter().chain(pairs).map(|(name, text)| {
            (name.to_owned(), Setting { text: text.to_owned(), source: Source::Override })
        });
        Config::from_settings(settings.collect())
    }

    /// The effective value of a broker key.
    pub fn get<T: FromValue>(&self, key: Key<T>) -> T::Out<'_> {
        let value = self.value(key.row());
        match T::from_value(value) {
            Some(value) => value,
            None => unreachable!("{} has the type that its table gives it", key.name()),
        }
    }

    /// The effective value of a row of the broker table; `None` is null.
    pub fn value(&self, row: &Row) -> Option<&Value> {
        debug_assert_eq!(row.table, Table::Broker);
        self.values.get(row.index).and_then(Option::as_ref)
    }

    /// The text that somebody set, whether or not a table lists the key.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name)
    }

    /// Everything that somebody set, by name.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().map(|(name, setting)| (name.as_str(), setting))
    }

    /// Whether somebody set the key, if only to its default.
    pub fn is_set(&self, name: &str) -> bool {
        self.settings.contains_key(name)
    }

    /// Whether a row of the broker table has its default, set or not.
    pub fn is_default(&self, row: &Row) -> bool {
        self.value(row) == row.default_value().as_ref()
    }

    pub fn source(&self, name: &str) -> &Source {
        self.settings.get(name).map_or(&Source::Default, |setting| &setting.source)
    }
}

/// What is wrong with a setting whose key has a listener's prefix before that of a row.
fn wrong_for_a_listener(name: &str, text: &str) -> Option<ConfigError> {
    let row = Table::Broker.find(behind_listener_prefix(name)?)?;
    validate::parse(row, text).err()
}
