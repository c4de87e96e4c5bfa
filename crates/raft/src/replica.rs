//! Who takes part in the quorum and where: replica keys, endpoints, and positions in the log.

use std::collections::BTreeMap;
use std::fmt;

use ottla_types::{LeaderEpoch, NodeId, Offset, Uuid};

/// A position in the log together with the epoch of the record before it. Ordered as Raft compares logs: by epoch
/// first, then by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetAndEpoch {
    pub offset: Offset,
    pub epoch: LeaderEpoch,
}

impl OffsetAndEpoch {
    pub const fn new(offset: i64, epoch: i32) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }
}

impl PartialOrd for OffsetAndEpoch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OffsetAndEpoch {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.epoch, self.offset).cmp(&(other.epoch, other.offset))
    }
}

impl fmt::Display for OffsetAndEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (epoch {})", self.offset, self.epoch)
    }
}

/// A replica of the metadata partition: a node's id and the id of its metadata directory (KIP-853). A node whose
/// disk was replaced is another replica. The directory is unknown under `kraft.version` 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    pub id: NodeId,
    pub directory_id: Option<Uuid>,
}

impl ReplicaKey {
    /// A zero uuid stands for "no directory id", as on the wire.
    pub fn new(id: NodeId, directory_id: Uuid) -> ReplicaKey {
        ReplicaKey { id, directory_id: (!directory_id.is_zero()).then_some(directory_id) }
    }

    pub const fn without_directory(id: NodeId) -> ReplicaKey {
        ReplicaKey { id, directory_id: None }
    }

    /// The directory id as the wire and the disk have it.
    pub fn directory_id_or_zero(&self) -> Uuid {
        self.directory_id.unwrap_or(Uuid::ZERO)
    }

    /// Whether `other` is the replica that this key names: a key without a directory names every directory of its
    /// node.
    pub fn names(&self, other: &ReplicaKey) -> bool {
        self.id == other.id && (self.directory_id.is_none() || self.directory_id == other.directory_id)
    }
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.directory_id {
            Some(directory) => write!(f, "{}-{}", self.id, directory),
            None => write!(f, "{}", self.id),
        }
    }
}

/// Where one listener of a replica is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }
}

/// A replica's listeners by name; the names are compared in upper case, as Kafka normalises them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(BTreeMap<String, HostPort>);

impl Endpoints {
    pub fn new() -> Endpoints {
        Endpoints::default()
    }

    pub fn one(listener: &str, address: HostPort) -> Endpoints {
        let mut endpoints = Endpoints::new();
        endpoints.insert(listener, address);
        endpoints
    }

    pub fn insert(&mut self, listener: &str, address: HostPort) {
        self.0.insert(listener.to_uppercase(), address);
    }

    pub fn get(&self, listener: &str) -> Option<&HostPort> {
        self.0.get(&listener.to_uppercase())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostPort)> {
        self.0.iter().map(|(name, address)| (name.as_str(), address))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a request goes. Bootstrap servers whose node id is not known yet have ids from -2 downward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub address: HostPort,
}

/// The replica that a core runs as.
#[derive(Clone, Debug)]
pub struct LocalReplica {
    pub key: ReplicaKey,
    /// The controller listeners; empty for a node that is a broker only.
    pub listeners: Endpoints,
    /// Lowest and highest `kraft.version` that this node supports.
    pub supported_kraft_version: (i16, i16),
}

impl LocalReplica {
    pub fn id(&self) -> NodeId {
        self.key.id
    }
}
