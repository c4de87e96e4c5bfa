//! Makes empty log directories those of a node. `meta.properties` is written last: a directory whose formatting was cut off
//! is not formatted.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ottla_broker::quorum::{write_bootstrap, write_first_voters};
use ottla_log::disk::Disk;
use ottla_log::meta_properties::{MetaProperties, MetaPropertiesError};
use ottla_raft::LogError;
use ottla_types::{NodeId, Now};
use ottla_wire::EncodeError;
use ottla_wire::records::{MetadataRecord, UserScramCredentialRecord};
use thiserror::Error;

use super::dynamic_voters::DynamicVoters;
use super::features::FeatureLevels;
use super::log_dirs::{LogDirs, LogDirsError};
use crate::random::{self, RandomError};

/// Why nothing, or not everything, was formatted.
#[derive(Debug, Error)]
pub enum FormatError {
    #[error("You must specify at least one directory to format")]
    NoDirectory,
    #[error(
        "Log directory {0} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
    )]
    AlreadyFormatted(String),
    #[error("No available log directories to format.")]
    NoneAvailable,
    #[error("SCRAM is only supported in metadata.version 3.5-IV2 or later.")]
    ScramTooEarly,
    #[error(transparent)]
    LogDirs(#[from] LogDirsError),
    #[error("Error while writing meta.properties file {dir}: {source}")]
    MetaProperties { dir: String, source: MetaPropertiesError },
    #[error("Error while formatting {dir}: {source}")]
    Write { dir: String, source: LogError },
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What to format, and with what.
#[derive(Clone, Debug)]
pub struct Formatter {
    pub node_id: NodeId,
    pub cluster_id: String,
    pub log_dirs: BTreeSet<String>,
    /// One of `log_dirs`.
    pub metadata_log_dir: String,
    /// The listener through which the first voters are reached.
    pub controller_listener: String,
    pub features: FeatureLevels,
    pub scram_credentials: Vec<UserScramCredentialRecord>,
    /// Of a dynamic quorum whose first voters are known.
    pub initial_controllers: Option<DynamicVoters>,
    /// Leave directories that are formatted as they are, rather than to fail.
    pub ignores_formatted: bool,
}

impl Formatter {
    /// Formats every directory that isn't; `tell` is given a line about each step.
    pub fn run(&self, disk: &Arc<dyn Disk>, now: Now, tell: &mut dyn FnMut(&str)) -> Result<(), FormatError> {
        if self.log_dirs.is_empty() {
            return Err(FormatError::NoDirectory);
        }
        let records = self.records()?;
        tell(&bootstrap_text(&records));
        let dirs = LogDirs::load(&**disk, self.log_dirs.iter().map(String::as_str));
        dirs.verify(Some(&self.cluster_id), self.node_id)?;
        if let (false, Some((dir, _))) = (self.ignores_formatted, dirs.formatted().next()) {
            return Err(FormatError::AlreadyFormatted(dir.to_owned()));
        }
        for (dir, _) in dirs.failed() {
            tell(&format!("I/O error trying to read log directory {dir}. Ignoring..."));
        }
        if dirs.unformatted().next().is_none() {
            if dirs.formatted().next().is_none() {
                return Err(FormatError::NoneAvailable);
            }
            tell("All of the log directories are already formatted.");
            return Ok(());
        }
        for dir in dirs.unformatted() {
            let what = self.kind_of(dir);
            tell(&format!(
                "Formatting {what} {dir} with metadata.version {}.",
                self.features.metadata_version()
            ));
            self.format(disk, dir, &records, now)?;
        }
        Ok(())
    }

    fn records(&self) -> Result<Vec<MetadataRecord>, FormatError> {
        if !self.scram_credentials.is_empty() && !self.features.metadata_version().is_scram_supported() {
            return Err(FormatError::ScramTooEarly);
        }
        let mut records = self.features.records();
        records.extend(self.scram_credentials.iter().cloned().map(MetadataRecord::UserScramCredential));
        Ok(records)
    }

    fn kind_of(&self, dir: &str) -> &'static str {
        match &self.initial_controllers {
            _ if dir != self.metadata_log_dir => "data directory",
            None => "metadata directory",
            Some(voters) if voters.directory_id(self.node_id).is_some() => "dynamic metadata voter directory",
            Some(_) => "dynamic metadata directory",
        }
    }

    fn format(
        &self,
        disk: &Arc<dyn Disk>,
        dir: &str,
        records: &[MetadataRecord],
        now: Now,
    ) -> Result<(), FormatError> {
        let path = Path::new(dir);
        let write = |source| FormatError::Write { dir: dir.to_owned(), source };
        disk.create_dir_all(path).map_err(|error| write(error.into()))?;
        let values = records.iter().map(|record| record.encode(0)).collect::<Result<_, _>>()?;
        write_bootstrap(disk, path, values, now).map_err(write)?;
        let voters = self.initial_controllers.as_ref().filter(|_| dir == self.metadata_log_dir);
        if let Some(voters) = voters {
            write_first_voters(disk, path, &voters.to_voter_set(&self.controller_listener), now)
                .map_err(write)?;
        }
        let directory_id = match voters.and_then(|voters| voters.directory_id(self.node_id)) {
            Some(id) => id,
            None => random::uuid()?,
        };
        MetaProperties::new(self.cluster_id.as_str(), self.node_id, directory_id)
            .write(&**disk, path)
            .map_err(|source| FormatError::MetaProperties { dir: dir.to_owned(), source })
    }
}

/// What the cluster begins with; of users only the names.
fn bootstrap_text(records: &[MetadataRecord]) -> String {
    let level = |record: &MetadataRecord| match record {
        MetadataRecord::FeatureLevel(record) => Some(format!("{} {}", record.name, record.feature_level)),
        _ => None,
    };
    let user = |record: &MetadataRecord| match record {
        MetadataRecord::UserScramCredential(record) => Some(record.name.clone()),
        _ => None,
    };
    let levels: Vec<_> = records.iter().filter_map(level).collect();
    let mut users: Vec<_> = records.iter().filter_map(user).collect();
    users.dedup();
    let users = if users.is_empty() { String::new() } else { format!("; users: {}", users.join(", ")) };
    format!("The metadata begins with these feature levels: {}{users}.", levels.join(", "))
}
