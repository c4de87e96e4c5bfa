//! Settings by Apache Kafka's names: properties in, checked values out.
//!
//! The tables under `tables/` say everything about a key once, with what becomes of it here: `honoured`, `refused` with a
//! reason when it has another value than its default, `forbidden` with any value, or `warned`: accepted, and named in
//! [`Settings::warnings`] with the reason why it has no effect. What differs for a share consumer from a consumer is in a
//! table of its own. No key is accepted in silence that nothing reads.

mod table;

use std::collections::BTreeMap;
use std::fmt;

use ottla_config::{Password, Value};
use thiserror::Error;

pub(crate) use table::Handling;
pub use table::Scope;

/// Settings of a producer, a consumer or an administrator, checked one by one. What they mean together is for those to
/// check that are built from them.
///
/// ```
/// use ottla_client::{Scope, Settings};
///
/// let settings = Settings::parse(Scope::Producer, [("bootstrap.servers", "localhost:9092"), ("linger.ms", "20")])?;
/// assert_eq!(settings.long("linger.ms"), 20);
/// assert_eq!(settings.text("compression.type"), Some("none"));
/// assert!(Settings::parse(Scope::Producer, [("linger.ms", "-1")]).is_err());
/// # Ok::<(), ottla_client::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    scope: Scope,
    given: BTreeMap<&'static str, Value>,
    warnings: Vec<String>,
}

/// What is wrong with settings: all of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct SettingsError {
    pub problems: Vec<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl From<SettingsError> for crate::ClientError {
    fn from(error: SettingsError) -> crate::ClientError {
        crate::ClientError::settings(error.to_string())
    }
}

impl Settings {
    /// Reads pairs of key and value; of a key that repeats, the last one counts. Keys that nobody knows become
    /// warnings, for others may be meant to read them.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(
        scope: Scope,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Settings, SettingsError> {
        let mut settings = Settings { scope, given: BTreeMap::new(), warnings: Vec::new() };
        let mut problems = Vec::new();
        for (key, value) in pairs {
            if let Err(problem) = settings.take(key.as_ref(), value.as_ref()) {
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }

    /// Reads a file of Java's `.properties` format.
    pub fn parse_properties(scope: Scope, file: &[u8]) -> Result<Settings, SettingsError> {
        let properties = ottla_config::properties::parse(file)
            .map_err(|error| SettingsError { problems: vec![error.to_string()] })?;
        Settings::parse(scope, properties.into_iter().map(|property| (property.key, property.value)))
    }

    fn take(&mut self, key: &str, text: &str) -> Result<(), String> {
        let Some(row) = self.scope.row(key) else {
            let close = self.scope.close_key(key);
            let hint = close.map(|close| format!("; did you mean {close}?")).unwrap_or_default();
            self.warnings.push(format!("{key} is not a setting of a {}{hint}", self.scope));
            return Ok(());
        };
        let value = row.parse(text)?;
        match row.handling {
            Handling::Honoured => check_class(row.name, &value)?,
            Handling::Warned => self.warnings.push(format!("{key} has no effect: {}", row.reason)),
            Handling::Refused if Some(&value) == row.default_value().as_ref() => {}
            Handling::Forbidden => {
                return Err(format!("{key} can't be set for a {}: {}", self.scope, row.reason));
            }
            Handling::Refused => return Err(format!("{key}={value} is not supported: {}", row.reason)),
        }
        self.given.insert(row.name, value);
        Ok(())
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Which settings have no effect, and why: for the log, or for whoever gave them.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether it was given, and isn't only a default.
    pub fn is_set(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// The value that was given, else the default; `None` if that is null, or if there is no such key.
    pub fn value(&self, key: &str) -> Option<Value> {
        let given = self.given.get(key).cloned();
        given.or_else(|| self.scope.row(key)?.default_value())
    }

    /// A string or class; `None` if it is null.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.given.get(key) {
            Some(Value::String(text)) => Some(text),
            Some(_) => None,
            None => self.scope.row(key)?.default_text(),
        }
    }

    pub fn password(&self, key: &str) -> Option<Password> {
        match self.value(key)? {
            Value::Password(password) => Some(password),
            _ => None,
        }
    }

    /// Empty if it is null.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::List(entries)) => entries,
            _ => Vec::new(),
        }
    }

    /// False if it is null.
    pub fn bool(&self, key: &str) -> bool {
        self.value(key) == Some(Value::Boolean(true))
    }

    /// 0 if it is null.
    pub fn long(&self, key: &str) -> i64 {
        self.value(key).and_then(|value| value.as_i64()).unwrap_or(0)
    }

    /// 0 if it is null.
    pub fn int(&self, key: &str) -> i32 {
        i32::try_from(self.long(key)).unwrap_or(i32::MAX)
    }

    /// A time or size that is not negative; 0 if it is.
    pub(crate) fn unsigned(&self, key: &str) -> u64 {
        u64::try_from(self.long(key)).unwrap_or(0)
    }
}

/// Java classes that turn keys and values into bytes, or back. Here it is the types that do so; a class whose bytes are those
/// of the type that is used anyhow may stand in settings.
const PLAIN_CLASSES: [&str; 4] = ["ByteArray", "Bytes", "ByteBuffer", "String"];

fn check_class(key: &str, value: &Value) -> Result<(), String> {
    let Value::String(class) = value else { return Ok(()) };
    let kind = match key {
        "key.serializer" | "value.serializer" => "Serializer",
        "key.deserializer" | "value.deserializer" => "Deserializer",
        _ => return Ok(()),
    };
    let simple = class.strip_prefix("org.apache.kafka.common.serialization.").unwrap_or(class);
    let is_plain = simple.strip_suffix(kind).is_some_and(|name| PLAIN_CLASSES.contains(&name));
    if is_plain {
        return Ok(());
    }
    Err(format!(
        "{key}={class} is not supported: Java classes can't be loaded; keys and values are bytes here"
    ))
}

#[cfg(test)]
mod tests;
