//! What the `meta.properties` of all log directories of a node say together.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_log::disk::Disk;
use ottla_log::meta_properties::{MetaProperties, MetaPropertiesError};
use ottla_log::names::META_PROPERTIES;
use ottla_types::{NodeId, Uuid};
use thiserror::Error;

/// A log directory as its `meta.properties` shows it.
#[derive(Debug)]
pub enum LogDirState {
    /// There is no such file, or no such directory.
    Unformatted,
    Formatted(MetaProperties),
    /// It can't be read.
    Failed(MetaPropertiesError),
}

/// Why directories don't belong together, or to this node.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LogDirsError {
    #[error(
        "Invalid cluster.id in: {dir}/{META_PROPERTIES}. Expected {expected}, but read {found}: the directory belongs to \
         another cluster. Remove it from log.dirs, or empty it if nothing in it is needed."
    )]
    ClusterId { dir: String, expected: String, found: String },
    #[error(
        "Stored node id {found} doesn't match previous node id {expected} in {dir}/{META_PROPERTIES}. If you moved your \
         data, make sure your configured node id matches. If you intend to create a new node, you should remove all data \
         in your data directories."
    )]
    NodeId { dir: String, expected: NodeId, found: NodeId },
    #[error("Invalid reserved directory ID {id} found in {dir}")]
    ReservedDirectoryId { dir: String, id: Uuid },
    #[error("Duplicate directory ID {id} found. It was the ID of {first}, but also of {dir}")]
    DuplicateDirectoryId { dir: String, first: String, id: Uuid },
}

/// The log directories by path.
#[derive(Debug)]
pub struct LogDirs {
    pub states: BTreeMap<String, LogDirState>,
}

impl LogDirs {
    pub fn load<'a>(disk: &dyn Disk, dirs: impl IntoIterator<Item = &'a str>) -> LogDirs {
        let state = |dir: &str| match MetaProperties::read(disk, Path::new(dir)) {
            Ok(None) => LogDirState::Unformatted,
            Ok(Some(properties)) => LogDirState::Formatted(properties),
            Err(error) => LogDirState::Failed(error),
        };
        LogDirs { states: dirs.into_iter().map(|dir| (dir.to_owned(), state(dir))).collect() }
    }

    pub fn formatted(&self) -> impl Iterator<Item = (&str, &MetaProperties)> {
        self.states.iter().filter_map(|(dir, state)| match state {
            LogDirState::Formatted(properties) => Some((dir.as_str(), properties)),
            _ => None,
        })
    }

    pub fn unformatted(&self) -> impl Iterator<Item = &str> {
        let is_unformatted = |state: &LogDirState| matches!(state, LogDirState::Unformatted);
        self.states.iter().filter(move |(_, state)| is_unformatted(state)).map(|(dir, _)| dir.as_str())
    }

    pub fn failed(&self) -> impl Iterator<Item = (&str, &MetaPropertiesError)> {
        self.states.iter().filter_map(|(dir, state)| match state {
            LogDirState::Failed(error) => Some((dir.as_str(), error)),
            _ => None,
        })
    }

    /// All directories that can be read must be of one cluster, that of `cluster_id` where it is known, and of one node,
    /// and have ids of their own.
    pub fn verify(&self, cluster_id: Option<&str>, node_id: NodeId) -> Result<(), LogDirsError> {
        let mut expected = cluster_id;
        let mut ids: BTreeMap<Uuid, &str> = BTreeMap::new();
        for (dir, properties) in self.formatted() {
            let own_dir = || dir.to_owned();
            match (expected, properties.cluster_id.as_deref()) {
                (Some(expected), Some(found)) if found != expected => {
                    let (expected, found) = (expected.to_owned(), found.to_owned());
                    return Err(LogDirsError::ClusterId { dir: own_dir(), expected, found });
                }
                (None, found) => expected = found,
                _ => {}
            }
            if let Some(found) = properties.node_id.filter(|found| *found != node_id) {
                return Err(LogDirsError::NodeId { dir: own_dir(), expected: node_id, found });
            }
            let Some(id) = properties.directory_id else { continue };
            if is_reserved(id) {
                return Err(LogDirsError::ReservedDirectoryId { dir: own_dir(), id });
            }
            if let Some(first) = ids.insert(id, dir) {
                let first = first.to_owned();
                return Err(LogDirsError::DuplicateDirectoryId { dir: own_dir(), first, id });
            }
        }
        Ok(())
    }
}

/// The first hundred ids stand for other things than directories (KIP-858).
fn is_reserved(id: Uuid) -> bool {
    u128::from_be_bytes(id.0) < 100
}
