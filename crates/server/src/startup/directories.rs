//! The log directories of a node before anything in them is opened: locked, known to belong to it, formatted if all are
//! empty.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_broker::quorum::PARTITION_DIR;
use ottla_config::{Config, keys};
use ottla_log::dir_lock::{DirLock, DirLockError};
use ottla_log::disk::Disk;
use ottla_log::meta_properties::MetaProperties;
use ottla_types::{NodeId, Now, Uuid};

use super::StartError;
use super::listeners::BoundListeners;
use crate::random;
use crate::storage::{DynamicVoters, FeatureLevels, Formatter, LogDirState, LogDirs};

/// The directories of a node, held against other processes.
#[derive(Debug)]
pub struct Directories {
    pub cluster_id: String,
    pub metadata_dir: PathBuf,
    pub metadata_dir_id: Uuid,
    pub was_formatted: bool,
    _locks: Vec<DirLock>,
}

/// Makes sure of the directories. One that can't be used is left out, as Kafka does, unless it is that of the metadata.
pub fn open(
    config: &Config,
    bound: &BoundListeners,
    disk: &Arc<dyn Disk>,
    now: Now,
) -> Result<Directories, StartError> {
    let node_id = NodeId(config.get(keys::NODE_ID));
    let metadata_dir = config.metadata_log_dir();
    let mut locks = Vec::new();
    let mut usable = BTreeSet::new();
    for dir in config.log_dirs().iter().map(String::as_str).chain([metadata_dir]) {
        if usable.contains(dir) {
            continue;
        }
        match prepare(dir) {
            Ok(()) => {
                locks.push(lock(dir)?);
                usable.insert(dir.to_owned());
            }
            Err(error) if dir == metadata_dir => return Err(error),
            Err(error) => tracing::error!("{error}; going on without it"),
        }
    }
    let mut dirs = LogDirs::load(&**disk, usable.iter().map(String::as_str));
    let was_formatted = dirs.formatted().next().is_none() && dirs.failed().next().is_none();
    if was_formatted {
        if !config.is_for_one_node() {
            let dir = PathBuf::from(metadata_dir);
            return Err(StartError::NotFormattedForCluster { dir });
        }
        format(config, bound, disk, usable, node_id, now)?;
        dirs = LogDirs::load(&**disk, dirs.states.keys().map(String::as_str));
    }
    let (cluster_id, metadata_dir_id) = check(&mut dirs, disk, metadata_dir, node_id)?;
    Ok(Directories {
        cluster_id,
        metadata_dir: PathBuf::from(metadata_dir),
        metadata_dir_id,
        was_formatted,
        _locks: locks,
    })
}

fn prepare(dir: &str) -> Result<(), StartError> {
    let path = Path::new(dir);
    let failed = |source| StartError::Directory { dir: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => return Err(StartError::NotADirectory { dir: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    std::fs::read_dir(path).map(drop).map_err(failed)
}

fn lock(dir: &str) -> Result<DirLock, StartError> {
    DirLock::acquire(Path::new(dir)).map_err(|error| match error {
        DirLockError::Io { dir, source } => StartError::Directory { dir, source },
        other => other.into(),
    })
}

fn check(
    dirs: &mut LogDirs,
    disk: &Arc<dyn Disk>,
    metadata_dir: &str,
    node_id: NodeId,
) -> Result<(String, Uuid), StartError> {
    dirs.verify(None, node_id)?;
    if let Some(LogDirState::Failed(_)) = dirs.states.get(metadata_dir)
        && let Some(LogDirState::Failed(error)) = dirs.states.remove(metadata_dir)
    {
        return Err(error.into());
    }
    for (dir, error) in dirs.failed() {
        tracing::error!(dir, "{error}; going on without the directory");
    }
    let cluster_id = dirs.formatted().find_map(|(_, properties)| properties.cluster_id.clone());
    let incomplete = |what| StartError::Incomplete { dir: PathBuf::from(metadata_dir), what };
    let cluster_id = cluster_id.ok_or_else(|| incomplete("cluster.id"))?;
    if let Some(dir) = dirs.unformatted().next() {
        return Err(StartError::NotFormatted { dir: PathBuf::from(dir), cluster_id });
    }
    let mut metadata_dir_id = None;
    for (dir, properties) in dirs.formatted() {
        let path = Path::new(dir);
        if dir != metadata_dir && path.join(PARTITION_DIR).exists() {
            let metadata_dir = PathBuf::from(metadata_dir);
            return Err(StartError::StrayMetadata { dir: path.to_owned(), metadata_dir });
        }
        let id = directory_id(disk, path, properties)?;
        if dir == metadata_dir {
            metadata_dir_id = Some(id);
        }
    }
    Ok((cluster_id, metadata_dir_id.ok_or_else(|| incomplete("directory.id"))?))
}

/// Directories of older versions get their id now.
fn directory_id(disk: &Arc<dyn Disk>, dir: &Path, properties: &MetaProperties) -> Result<Uuid, StartError> {
    if properties.node_id.is_none() {
        return Err(StartError::Incomplete { dir: dir.to_owned(), what: "node.id" });
    }
    if let Some(id) = properties.directory_id {
        return Ok(id);
    }
    let id = random::uuid()?;
    tracing::info!(dir = %dir.display(), %id, "giving the log directory an id");
    MetaProperties { directory_id: Some(id), ..properties.clone() }.write(&**disk, dir)?;
    Ok(id)
}

/// Formats directories of which none is: as the only voter of a new cluster.
fn format(
    config: &Config,
    bound: &BoundListeners,
    disk: &Arc<dyn Disk>,
    log_dirs: BTreeSet<String>,
    node_id: NodeId,
    now: Now,
) -> Result<(), StartError> {
    for dir in &log_dirs {
        let path = Path::new(dir);
        if let Some(found) =
            foreign_entry(path).map_err(|source| StartError::Directory { dir: path.to_owned(), source })?
        {
            return Err(StartError::HasData { dir: path.to_owned(), found });
        }
    }
    let has_dynamic_quorum = config.quorum_voters().is_empty();
    let controller = bound.advertised_controllers(config)?.into_iter().next();
    let initial_controllers = match controller.filter(|_| has_dynamic_quorum) {
        Some(own) => Some(DynamicVoters::standalone(node_id, &own.host, own.port, random::uuid()?)),
        None => None,
    };
    let formatter = Formatter {
        node_id,
        cluster_id: random::uuid()?.to_string(),
        log_dirs,
        metadata_log_dir: config.metadata_log_dir().to_owned(),
        controller_listener: config.controller_listener_names().into_iter().next().unwrap_or_default(),
        features: FeatureLevels::latest(has_dynamic_quorum),
        scram_credentials: Vec::new(),
        initial_controllers,
        ignores_formatted: false,
    };
    formatter.run(disk, now, &mut |line| tracing::info!("{line}"))?;
    Ok(())
}

/// Something in a directory that formatting, cut off or not begun, has not put there.
fn foreign_entry(dir: &Path) -> io::Result<Option<String>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = match name.as_str() {
            ".lock" | "bootstrap.checkpoint" | "bootstrap.checkpoint.tmp" | "meta.properties.tmp" => true,
            // What mkfs leaves.
            "lost+found" => true,
            PARTITION_DIR => has_only_first_voters(&entry.path())?,
            _ => false,
        };
        if !is_ours {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn has_only_first_voters(dir: &Path) -> io::Result<bool> {
    const FIRST_VOTERS: &str = "00000000000000000000-0000000000.checkpoint";
    for entry in std::fs::read_dir(dir)? {
        if !entry?.file_name().to_string_lossy().starts_with(FIRST_VOTERS) {
            return Ok(false);
        }
    }
    Ok(true)
}
