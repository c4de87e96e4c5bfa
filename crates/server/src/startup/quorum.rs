//! What the metadata quorum of a node starts from.

use std::path::Path;
use std::sync::Arc;

use ottla_broker::node_settings;
use ottla_broker::quorum::{
    BOOTSTRAP_CHECKPOINT, MetadataLog, PARTITION_DIR, Quorum, open_quorum_on, read_bootstrap,
};
use ottla_config::{Config, keys};
use ottla_log::LogContext;
use ottla_log::disk::Disk;
use ottla_log::names::{DirState, PARTITION_METADATA, PartitionDirName};
use ottla_metadata::image::VersionedRecord;
use ottla_metadata::{Feature, MetadataVersion};
use ottla_raft::{
    Endpoints, HostPort, LocalReplica, LogError, Node, QuorumSettings, ReplicaKey, RoleName, VoterSet,
};
use ottla_types::{NodeId, Now};
use ottla_wire::records::MetadataRecord;

use super::StartError;
use super::directories::Directories;
use super::listeners::BoundListeners;
use crate::storage::FeatureLevels;

/// Opens the quorum's replica in the metadata directory.
pub fn open(
    config: &Config,
    directories: &Directories,
    bound: &BoundListeners,
    context: Arc<LogContext>,
    seed: u64,
    now: Now,
) -> Result<Quorum, StartError> {
    let raft = node_settings::raft(config, &directories.cluster_id);
    let mut listeners = Endpoints::new();
    for endpoint in bound.advertised_controllers(config)? {
        listeners.insert(&endpoint.listener, HostPort::new(endpoint.host, endpoint.port));
    }
    let node_id = NodeId(config.get(keys::NODE_ID));
    let voters = config.quorum_voters().into_iter();
    let voters = voters.map(|voter| (NodeId(voter.id), HostPort::new(voter.host, voter.port)));
    // Their node ids are not known: negative ones stand for them.
    let bootstrap_servers = config.quorum_bootstrap_servers().into_iter().zip(2..);
    let bootstrap_servers: Vec<Node> = bootstrap_servers
        .map(|(at, number)| Node { id: NodeId(-number), address: HostPort::new(at.host, at.port) })
        .collect();
    let settings = QuorumSettings {
        static_voters: VoterSet::from_addresses(&raft.controller_listener, voters),
        config: raft,
        local: LocalReplica {
            key: ReplicaKey::new(node_id, directories.metadata_dir_id),
            listeners,
            supported_kraft_version: (0, 1),
        },
        bootstrap_servers: bootstrap_servers.clone(),
        seed,
    };
    let dir = directories.metadata_dir.as_path();
    let local = settings.local.clone();
    let failed = |source| StartError::Quorum { dir: dir.to_owned(), source };
    let log = MetadataLog::open(context, dir, node_settings::metadata_log(config), now);
    let log = log.map_err(|error| failed(error.into()))?;
    if log.is_empty() {
        let voters = log.voters().map_err(|error| failed(error.into()))?;
        if voters.as_ref().unwrap_or(&settings.static_voters).is_only_voter(&local.key) {
            check_nothing_is_lost(config, dir)?;
        }
    }
    let quorum = open_quorum_on(settings, log, now).map_err(failed)?;
    let history = quorum.core().voters();
    let voters = history.latest();
    let is_own = |server: &Node| local.listeners.iter().any(|(_, address)| *address == server.address);
    let others_are_named = !bootstrap_servers.iter().all(is_own);
    // Where the log has them, it tells also where they are reached.
    let others_are_known =
        history.latest_offset().is_some() && voters.iter().any(|voter| voter.key.id != local.id());
    // It led a quorum that its log does not name: one of the settings, which name none any more.
    let was_static_leader = quorum.core().role() == RoleName::Resigned;
    if config.is_for_one_node() && !others_are_named && !others_are_known {
        check_voters(voters, &local, dir)?;
    } else if voters.is_empty() && (was_static_leader || bootstrap_servers.is_empty()) {
        return Err(no_voters(&local, dir));
    }
    Ok(quorum)
}

/// A node whose settings name no other can only lead a quorum of itself: it would wait for others in vain.
pub(super) fn check_voters(voters: &VoterSet, local: &LocalReplica, dir: &Path) -> Result<(), StartError> {
    if voters.is_empty() {
        return Err(no_voters(local, dir));
    }
    let dir = dir.to_owned();
    if voters.is_only_voter(&local.key) {
        return Ok(());
    }
    let voters: Vec<_> = voters.iter().map(|voter| voter.key.to_string()).collect();
    Err(StartError::OtherVoters { dir, voters: voters.join(", "), local: local.key.to_string() })
}

/// A node that is alone and has no metadata would set all partitions' logs aside as those of topics that are gone.
fn check_nothing_is_lost(config: &Config, dir: &Path) -> Result<(), StartError> {
    for log_dir in config.log_dirs() {
        // What can't be read here fails, and is told of, where its logs are loaded.
        let Ok(entries) = std::fs::read_dir(log_dir) else { continue };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let is_partition = name.to_str().is_some_and(|name| {
                name != PARTITION_DIR
                    && PartitionDirName::parse(name).is_ok_and(|name| name.state == DirState::Live)
            });
            if is_partition && path.join(PARTITION_METADATA).exists() {
                return Err(StartError::LostMetadata {
                    dir: dir.to_owned(),
                    example: path,
                    metadata: PARTITION_DIR,
                });
            }
        }
    }
    Ok(())
}

fn no_voters(local: &LocalReplica, dir: &Path) -> StartError {
    let own = local.listeners.iter().next();
    let address = own.map_or_else(String::new, |(_, at)| format!("{}:{}", at.host, at.port));
    StartError::NoVoters { dir: dir.to_owned(), voter: format!("{}@{address}", local.id()) }
}

/// What an empty metadata log begins with: what formatting has left for it, or else the levels of this version.
pub fn bootstrap(disk: &dyn Disk, dir: &Path) -> Result<Vec<VersionedRecord>, StartError> {
    let path = dir.join(BOOTSTRAP_CHECKPOINT);
    let unreadable = |source| StartError::Bootstrap { path: path.clone(), source };
    let Some(values) = read_bootstrap(disk, dir).map_err(unreadable)? else {
        let records = FeatureLevels::latest(true).records();
        return Ok(records.into_iter().map(|record| (record, 0)).collect());
    };
    let decode = |value| MetadataRecord::decode(value).map_err(|error| LogError::Corrupt(error.to_string()));
    let records: Vec<_> = values.into_iter().map(decode).collect::<Result<_, _>>().map_err(unreadable)?;
    for (record, _) in &records {
        if let MetadataRecord::FeatureLevel(level) = record
            && Feature::from_name(&level.name) == Some(Feature::MetadataVersion)
            && level.feature_level > MetadataVersion::LATEST.level()
        {
            return Err(StartError::FutureMetadataVersion { path, level: level.feature_level });
        }
    }
    Ok(records)
}
