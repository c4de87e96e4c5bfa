//! The first voters of a dynamic quorum (KIP-853), as `--initial-controllers` names them: `id@host:port:directory`,
//! separated by commas.

use std::collections::BTreeMap;

use ottla_raft::{Endpoints, HostPort, ReplicaKey, VoterNode, VoterSet};
use ottla_types::{NodeId, Uuid};
use thiserror::Error;

/// Why a text names no voters.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DynamicVotersError {
    #[error("No voters given.")]
    None,
    #[error("Node id {0} was specified more than once.")]
    Twice(NodeId),
    #[error("{problem} '{voter}' should read id@host:port:directory.")]
    Voter { voter: String, problem: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DynamicVoter {
    directory_id: Uuid,
    host: String,
    port: u16,
}

/// Voters by node id; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicVoters(BTreeMap<NodeId, DynamicVoter>);

impl DynamicVoters {
    /// A quorum of one.
    pub fn standalone(id: NodeId, host: &str, port: u16, directory_id: Uuid) -> DynamicVoters {
        let voter = DynamicVoter { directory_id, host: host.to_owned(), port };
        DynamicVoters(BTreeMap::from([(id, voter)]))
    }

    pub fn parse(text: &str) -> Result<DynamicVoters, DynamicVotersError> {
        let mut voters = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (id, voter) = parse_voter(entry)
                .map_err(|problem| DynamicVotersError::Voter { voter: entry.to_owned(), problem })?;
            if voters.insert(id, voter).is_some() {
                return Err(DynamicVotersError::Twice(id));
            }
        }
        if voters.is_empty() { Err(DynamicVotersError::None) } else { Ok(DynamicVoters(voters)) }
    }

    /// The id that a voter's metadata directory must have.
    pub fn directory_id(&self, id: NodeId) -> Option<Uuid> {
        self.0.get(&id).map(|voter| voter.directory_id)
    }

    /// As the log records them; all are reached through `listener`.
    pub fn to_voter_set(&self, listener: &str) -> VoterSet {
        VoterSet::new(self.0.iter().map(|(id, voter)| VoterNode {
            key: ReplicaKey::new(*id, voter.directory_id),
            listeners: Endpoints::one(listener, HostPort::new(voter.host.clone(), voter.port)),
            supported_kraft_version: (0, 1),
        }))
    }
}

fn parse_voter(text: &str) -> Result<(NodeId, DynamicVoter), String> {
    let (id, rest) = text.split_once('@').ok_or("No @ found in dynamic voter string.")?;
    let id: i32 = id.parse().map_err(|_| "Failed to parse node id in dynamic voter string.")?;
    if id < 0 {
        return Err(format!("Invalid negative node id {id} in dynamic voter string."));
    }
    let (host, rest) = split_host(rest)?;
    let (port, directory) = rest.split_once(':').ok_or("No colon following port could be found.")?;
    let port: i64 = port.parse().map_err(|_| "Failed to parse port in dynamic voter string.")?;
    let port = u16::try_from(port).map_err(|_| format!("Invalid port {port} in dynamic voter string."))?;
    let directory_id =
        directory.parse().map_err(|_| "Failed to parse directory ID in dynamic voter string.")?;
    Ok((NodeId(id), DynamicVoter { directory_id, host: host.to_owned(), port }))
}

/// The host, without brackets, and what stands behind its colon.
fn split_host(text: &str) -> Result<(&str, &str), String> {
    if text.is_empty() {
        return Err("No hostname found after node id.".into());
    }
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed
            .split_once(']')
            .ok_or("Hostname began with left bracket, but no right bracket was found.")?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let rest = rest.strip_prefix(':').ok_or("No colon following hostname could be found.")?;
    Ok((host, rest))
}
