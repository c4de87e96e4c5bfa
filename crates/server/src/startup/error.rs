//! Why a node does not start: each says what is wrong, where, and how to mend it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use ottla_config::ConfigError;
use ottla_log::dir_lock::DirLockError;
use ottla_log::disk::is_out_of_files;
use ottla_log::meta_properties::MetaPropertiesError;
use ottla_metadata::MetadataVersion;
use ottla_raft::{LogError, RaftDriverError};
use thiserror::Error;

use crate::random::RandomError;
use crate::storage::{FormatError, LogDirsError};

#[derive(Debug, Error)]
pub enum StartError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(
        "listener {listener}: {address} is in use: another program, or another node, listens there. Stop it, or give the \
         listener another port (listeners=...)"
    )]
    PortTaken { listener: String, address: SocketAddr },
    #[error("listener {listener}: can't listen on {address}: {source}{}", remedy_of_bind(source))]
    Bind { listener: String, address: SocketAddr, source: io::Error },
    #[error(
        "listener {listener}: the host {host} has no address here ({reason}): write one of this machine's in listeners, or \
         none for all of them"
    )]
    Resolve { listener: String, host: String, reason: String },
    #[error(
        "max.connections.per.ip.overrides: the host {host} has no address ({reason}): write an address, or a name that can \
         be resolved"
    )]
    ResolveOverride { host: String, reason: String },
    #[error(
        "{} is not a directory, but log.dirs names it as one: move the file away, or name another directory",
        dir.display()
    )]
    NotADirectory { dir: PathBuf },
    #[error("the log directory {} can't be used: {source}{}", dir.display(), remedy_of_directory(source))]
    Directory { dir: PathBuf, source: io::Error },
    #[error(transparent)]
    Lock(#[from] DirLockError),
    #[error(transparent)]
    MetaProperties(#[from] MetaPropertiesError),
    #[error("{}/meta.properties has no {what}: take the line from another log directory of this node", dir.display())]
    Incomplete { dir: PathBuf, what: &'static str },
    #[error(transparent)]
    LogDirs(#[from] LogDirsError),
    #[error(
        "{} is not formatted, while other log directories of this node are. If a disk is missing there, mount it; if the \
         directory is new, run: ottla storage format --ignore-formatted with this configuration and --cluster-id {cluster_id}",
        dir.display()
    )]
    NotFormatted { dir: PathBuf, cluster_id: String },
    #[error(
        "{} is not formatted, and these settings are those of one node of several, whose directories must all have the \
         cluster's id: run on each of them, with its settings, ottla storage format --cluster-id ID (ottla storage \
         random-uuid makes one)",
        dir.display()
    )]
    NotFormattedForCluster { dir: PathBuf },
    #[error(
        "{} has no meta.properties but is not empty ({found} is in it): only an empty directory is formatted. Name another \
         directory in log.dirs, move away what is in this one, or bring meta.properties back",
        dir.display()
    )]
    HasData { dir: PathBuf, found: String },
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(
        "found the metadata log in {}, but this node's metadata directory is {}: set metadata.log.dir to where it is",
        dir.display(), metadata_dir.display()
    )]
    StrayMetadata { dir: PathBuf, metadata_dir: PathBuf },
    #[error(
        "nothing is in the metadata log in {}, but there are logs of partitions ({} is one): without the metadata, nobody \
         knows their topics. Restore {metadata} from a copy; or, to begin anew without them, move them away",
        dir.display(), example.display()
    )]
    LostMetadata { dir: PathBuf, example: PathBuf, metadata: &'static str },
    #[error(
        "{} can't be read: {source}. If the file is damaged, restore it from a copy, or remove it: a cluster that has been \
         running before does not need it any more",
        path.display()
    )]
    Bootstrap { path: PathBuf, source: LogError },
    #[error(
        "{}: the directory was formatted for metadata.version {level}, which is newer than this program knows (up to \
         {latest} = {name}): start a newer version",
        path.display(), latest = MetadataVersion::LATEST.level(), name = MetadataVersion::LATEST.name()
    )]
    FutureMetadataVersion { path: PathBuf, level: i16 },
    #[error("the metadata log in {} can't be opened: {source}{}", dir.display(), remedy_of(source))]
    Quorum { dir: PathBuf, source: RaftDriverError },
    #[error(
        "the metadata log in {} names no voters: its directory was formatted for a static quorum. Set \
         controller.quorum.voters={voter}",
        dir.display()
    )]
    NoVoters { dir: PathBuf, voter: String },
    #[error(
        "the voters of the metadata quorum in {} are {voters}, but this node is {local}, and its settings name no other: \
         set controller.quorum.bootstrap.servers (or controller.quorum.voters) to the controllers of the cluster, or start \
         it with the node.id and the directory of the only voter",
        dir.display()
    )]
    OtherVoters { dir: PathBuf, voters: String, local: String },
    #[error("a thread could not be started: {0}")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What can be done about an error that the system gives wherever something is used up.
pub fn remedy_of_shortage(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>() {
            Some(error) if is_out_of_files(error) => {
                return Some("Raise the limit of open files (ulimit -n)");
            }
            Some(error) if error.kind() == io::ErrorKind::StorageFull => {
                return Some("Make room on that disk");
            }
            _ => cause = error.source(),
        }
    }
    None
}

fn remedy_of_directory(error: &io::Error) -> &'static str {
    match remedy_of_shortage(error) {
        Some(_) => "",
        None => ". Make it one that this user may read and write, or name another in log.dirs",
    }
}

fn remedy_of_bind(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            ". Write an address of this machine in listeners, or none for all of them"
        }
        io::ErrorKind::PermissionDenied => ". Take a port from 1024 on, which need no privileges",
        _ => "",
    }
}

/// What can be done about a metadata log that can't be read, unless its error says so itself.
pub fn remedy_of(error: &RaftDriverError) -> &'static str {
    match error {
        RaftDriverError::Log(LogError::Corrupt(what)) if what.contains(".checkpoint") => {
            ". Restore the file from a copy; if an older snapshot (.checkpoint) lies beside it, moving this one away may be enough"
        }
        _ => "",
    }
}
