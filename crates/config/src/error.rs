//! What can be wrong with a setting. Messages that clients see are worded as Kafka's own, since tools and people search
//! for them.

use std::fmt;

use crate::config::Source;

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("Invalid value {value} for configuration {name}: Not a number of type {name_of_type}")]
    NotANumber { name: String, value: String, name_of_type: &'static str },
    #[error("Invalid value {value} for configuration {name}: Expected value to be either true or false")]
    NotABoolean { name: String, value: String },
    /// The key's validator, or a rule across keys, doesn't allow it.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid { name: String, value: String, reason: String },
    #[error("Missing required configuration \"{name}\" which has no default value.")]
    Missing { name: &'static str },
    /// A rule across keys, in a sentence of its own.
    #[error("{0}")]
    Rule(String),
    /// A line of a file that can't be read.
    #[error("{file}:{line}: {reason}")]
    Syntax { file: String, line: usize, reason: String },
    /// With where the setting stands that is wrong.
    #[error("{error} ({place})")]
    Placed { error: Box<ConfigError>, place: Source },
}

impl ConfigError {
    /// The setting that is wrong, where it is a single one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            ConfigError::NotANumber { name, .. }
            | ConfigError::NotABoolean { name, .. }
            | ConfigError::Invalid { name, .. } => Some(name),
            ConfigError::Missing { .. } | ConfigError::Rule(_) | ConfigError::Syntax { .. } => None,
            ConfigError::Placed { error, .. } => error.name(),
        }
    }

    pub(crate) fn invalid(name: &str, value: impl fmt::Display, reason: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { name: name.to_owned(), value: value.to_string(), reason: reason.into() }
    }
}

/// Everything that is wrong with a configuration, so that one start shows it all.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
