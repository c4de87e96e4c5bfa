//! From texts to a configuration: precedence, rules, and what to tell about it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::config::{Config, Setting, Source};
use crate::environment::{self, Variable};
use crate::error::{ConfigError, ConfigErrors};
use crate::properties;
use crate::rules;
use crate::table::{Neglect, Table};
use crate::unknown::close_key;

/// Where settings come from, weakest first; keys that none of them sets have their defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// Normally those of Kafka's shipped single-node file, and only where there is no file.
    pub built_in: &'a [(String, String)],
    /// A `.properties` file: its path, for messages, and its bytes.
    pub file: Option<(&'a str, &'a [u8])>,
    /// All variables; those that are no settings are left alone.
    pub environment: &'a [(String, String)],
    /// `key=value` flags. The last of several for one key wins.
    pub overrides: &'a [String],
}

/// What a user should hear although the configuration is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// No such key: it is ignored, as Kafka does.
    Unknown { name: String, source: Source, did_you_mean: Option<&'static str> },
    /// Keys that have been set but that nothing acts on yet.
    NotActedOn { names: Vec<&'static str> },
    /// Accepted, but hardly meant.
    Doubtful { text: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unknown { name, source, did_you_mean } => {
                write!(f, "unknown setting {name} ({source}) is ignored")?;
                match did_you_mean {
                    Some(close) => write!(f, "; did you mean {close}?"),
                    None => Ok(()),
                }
            }
            Warning::NotActedOn { names } => {
                write!(f, "accepted, but nothing acts on these settings yet: {}", names.join(", "))
            }
            Warning::Doubtful { text } => f.write_str(text),
        }
    }
}

impl Config {
    /// The configuration that `inputs` make, after validation of each value and of the rules across keys; with what a
    /// user should hear. Everything wrong is reported at once, except that rules across keys need right values.
    pub fn load(inputs: &Inputs<'_>) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        let (settings, mut warnings) = collect(inputs)?;
        let needs_zookeeper =
            settings.contains_key("zookeeper.connect") && !settings.contains_key("process.roles");
        let places: Places =
            settings.iter().map(|(name, setting)| (name.clone(), setting.source.clone())).collect();
        let config = Config::from_settings(settings).map_err(|errors| {
            let mut errors = placed(errors.0, &places);
            if needs_zookeeper {
                errors.0.push(ConfigError::Rule(NO_ZOOKEEPER.to_owned()));
            }
            errors
        })?;
        let errors = rules::check(&config);
        if !errors.is_empty() {
            return Err(placed(errors, &places));
        }
        warnings.extend(unknown_keys(&config));
        warnings.extend(not_acted_on(&config));
        warnings.extend(rules::doubts(&config).into_iter().map(|text| Warning::Doubtful { text }));
        Ok((config, warnings))
    }
}

const NO_ZOOKEEPER: &str = "zookeeper.connect is set: this is a configuration for ZooKeeper, which Kafka has left behind with \
     4.0. Give process.roles, node.id, controller.listener.names and controller.quorum.bootstrap.servers instead.";

type Settings = BTreeMap<String, Setting>;
/// Where each of them stands.
type Places = BTreeMap<String, Source>;

fn placed(errors: Vec<ConfigError>, places: &Places) -> ConfigErrors {
    let placed = |error: ConfigError| match error.name().and_then(|name| places.get(name)) {
        Some(place) => ConfigError::Placed { place: place.clone(), error: Box::new(error) },
        None => error,
    };
    ConfigErrors(errors.into_iter().map(placed).collect())
}

fn collect(inputs: &Inputs<'_>) -> Result<(Settings, Vec<Warning>), ConfigErrors> {
    let mut settings = Settings::new();
    let mut warnings = Vec::new();
    let mut set = |name: &str, text: &str, source| {
        settings.insert(name.to_owned(), Setting { text: text.to_owned(), source });
    };
    for (name, text) in inputs.built_in {
        set(name, text, Source::BuiltIn);
    }
    if let Some((path, bytes)) = inputs.file {
        let shared: Arc<str> = path.into();
        let pairs = properties::parse(bytes).map_err(|error| one(syntax(path, &error)))?;
        for pair in pairs {
            set(&pair.key, &pair.value, Source::File { path: shared.clone(), line: pair.line });
        }
    }
    for (variable, text) in inputs.environment {
        let source = Source::Environment { variable: variable.clone() };
        match environment::classify(variable) {
            Variable::Setting(key) => set(&key, text, source),
            Variable::Misspelt(key) => {
                warnings.push(Warning::Unknown { name: variable.clone(), source, did_you_mean: Some(key) })
            }
            Variable::Other => {}
        }
    }
    for flag in inputs.overrides {
        let (name, text) = flag
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| one(ConfigError::Rule(format!("--override {flag}: write it as key=value"))))?;
        set(name.trim(), text, Source::Override);
    }
    Ok((settings, warnings))
}

fn one(error: ConfigError) -> ConfigErrors {
    ConfigErrors(vec![error])
}

fn syntax(path: &str, error: &properties::MalformedEscape) -> ConfigError {
    ConfigError::Syntax {
        file: path.to_owned(),
        line: error.line,
        reason: "a \\u must be followed by four hexadecimal digits".to_owned(),
    }
}

fn unknown_keys(config: &Config) -> Vec<Warning> {
    let unknown = config.settings().filter(|(name, _)| !environment::is_setting(name));
    let warning = |(name, setting): (&str, &Setting)| Warning::Unknown {
        name: name.to_owned(),
        source: setting.source.clone(),
        did_you_mean: close_key(name),
    };
    unknown.map(warning).collect()
}

fn not_acted_on(config: &Config) -> Option<Warning> {
    let known = config.settings().filter_map(|(name, setting)| Some((Table::Broker.find(name)?, setting)));
    let neglected = known.filter(|(row, setting)| {
        // What nobody wrote, or what is refused anyhow, needs no warning.
        let written = setting.source != Source::BuiltIn;
        !row.acted_on && written && row.neglect == Neglect::Harmless && !config.is_default(row)
    });
    let names: Vec<&'static str> = neglected.map(|(row, _)| row.name).collect();
    (!names.is_empty()).then_some(Warning::NotActedOn { names })
}

#[cfg(test)]
mod tests;
