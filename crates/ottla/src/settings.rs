//! From flags, environment and file to a node's configuration, and what to tell the user on the way.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ottla_config::{BuiltIn, Config, Inputs, Refusal, Supported, Warning, cautions, refusals};

/// Flags that decide on settings.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// Settings in the format of Apache Kafka's server.properties
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting, stronger than environment and file; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Why there is no configuration to start with. Each says what is wrong and, where it can, how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("can't read {path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error(transparent)]
    Invalid(#[from] ottla_config::ConfigErrors),
    #[error("{}", .0.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
}

/// No configuration is this large; something else has been named.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl SettingsArgs {
    pub fn is_given(&self) -> bool {
        self.config.is_some() || !self.overrides.is_empty()
    }

    /// The configuration, if a program that can do `supported` may start with it, and what its user should hear.
    pub fn load(
        &self,
        environment: &[(String, String)],
        supported: &Supported,
    ) -> Result<(Config, Vec<Warning>), SettingsError> {
        let (config, mut warnings) = self.read(environment)?;
        let refused = refusals(&config, supported);
        if !refused.is_empty() {
            return Err(SettingsError::Refused(refused));
        }
        warnings.extend(cautions(&config));
        Ok((config, warnings))
    }

    /// A valid configuration, whether or not this program may start with it.
    pub fn read(&self, environment: &[(String, String)]) -> Result<(Config, Vec<Warning>), SettingsError> {
        let file = self.config.as_deref().map(read).transpose()?;
        let built_in = if file.is_some() { Vec::new() } else { BuiltIn::default().settings() };
        let inputs = Inputs {
            built_in: &built_in,
            file: file.as_ref().map(|(path, bytes)| (path.as_str(), bytes.as_slice())),
            environment,
            overrides: &self.overrides,
        };
        Ok(Config::load(&inputs)?)
    }
}

/// Variables of this process that may be settings. Names or values that aren't Unicode can't be.
pub fn environment() -> Vec<(String, String)> {
    let unicode = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    unicode.filter(|(name, _)| name.starts_with("KAFKA_")).collect()
}

fn read(path: &Path) -> Result<(String, Vec<u8>), SettingsError> {
    let unreadable = |reason: String| SettingsError::Unreadable { path: path.display().to_string(), reason };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok((path.display().to_string(), bytes))
}

#[cfg(test)]
mod tests {
    use ottla_config::keys;

    use super::*;

    fn load(config: Option<&Path>, overrides: &[&str]) -> Result<(Config, Vec<Warning>), SettingsError> {
        let overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
        let args = SettingsArgs { config: config.map(Path::to_owned), overrides };
        args.load(&[], &Supported::plaintext_node())
    }

    #[test]
    fn without_a_file_there_is_the_built_in_node() {
        let (config, warnings) = load(None, &["num.partitions=3"]).unwrap();
        assert_eq!(config.get(keys::NUM_PARTITIONS), 3);
        assert_eq!(config.log_dirs(), ["./ottla-data"]);
        assert!(warnings.iter().all(|warning| matches!(warning, Warning::NotActedOn { .. })), "{warnings:?}");
    }

    #[test]
    fn a_file_replaces_the_built_in_node() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.properties");
        std::fs::write(
            &path,
            "process.roles=broker,controller\nnode.id=7\ncontroller.listener.names=C\ncontroller.quorum.voters=7@h:1\n\
             listeners=PLAINTEXT://h:2,C://h:1\noffsets.topic.replication.factor=1\n",
        )
        .unwrap();
        let (config, warnings) = load(Some(&path), &[]).unwrap();
        assert_eq!(config.get(keys::NODE_ID), 7);
        assert_eq!(config.log_dirs(), ["/tmp/kafka-logs"]);
        assert!(
            warnings
                .iter()
                .any(|warning| warning.to_string().starts_with("transaction.state.log.replication.factor"))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said =
            |config: Option<&Path>, overrides: &[&str]| load(config, overrides).unwrap_err().to_string();
        assert!(said(Some(Path::new("/no/such/file")), &[]).starts_with("can't read /no/such/file: "));
        assert!(said(Some(Path::new("/")), &[]).starts_with("can't read /: "));
        assert_eq!(
            said(None, &["num.partitions=0"]),
            "Invalid value 0 for configuration num.partitions: Value must be at least 1 (--override)"
        );
        assert!(
            said(None, &["super.users=User:a"]).starts_with("super.users=User:a (--override) is refused: ")
        );
    }
}
