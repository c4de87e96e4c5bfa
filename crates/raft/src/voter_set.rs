//! Who votes: the static set of `controller.quorum.voters` (`kraft.version` 0) or the sets that VotersRecords in the
//! log define (`kraft.version` 1, KIP-853), with their history by offset.
//!
//! A voter set counts from the moment that its record is appended, committed or not; truncating the log takes it back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ottla_types::{NodeId, Offset};

use crate::replica::{Endpoints, HostPort, Node, ReplicaKey};

/// One voter as VotersRecord describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterNode {
    pub key: ReplicaKey,
    pub listeners: Endpoints,
    /// Lowest and highest `kraft.version` that it supports.
    pub supported_kraft_version: (i16, i16),
}

impl VoterNode {
    pub fn supports(&self, kraft_version: i16) -> bool {
        let (lowest, highest) = self.supported_kraft_version;
        (lowest..=highest).contains(&kraft_version)
    }
}

/// The voters at one offset. Node ids are unique in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, VoterNode>,
}

impl VoterSet {
    pub fn new(voters: impl IntoIterator<Item = VoterNode>) -> VoterSet {
        VoterSet { voters: voters.into_iter().map(|voter| (voter.key.id, voter)).collect() }
    }

    /// The voters of `controller.quorum.voters`, reached through `listener`.
    pub fn from_addresses(
        listener: &str,
        addresses: impl IntoIterator<Item = (NodeId, HostPort)>,
    ) -> VoterSet {
        VoterSet::new(addresses.into_iter().map(|(id, address)| VoterNode {
            key: ReplicaKey::without_directory(id),
            listeners: Endpoints::one(listener, address),
            supported_kraft_version: (0, 0),
        }))
    }

    pub fn len(&self) -> usize {
        self.voters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// By ascending node id.
    pub fn iter(&self) -> impl Iterator<Item = &VoterNode> {
        self.voters.values()
    }

    pub fn ids(&self) -> BTreeSet<NodeId> {
        self.voters.keys().copied().collect()
    }

    pub fn get(&self, id: NodeId) -> Option<&VoterNode> {
        self.voters.get(&id)
    }

    pub fn is_voter(&self, replica: &ReplicaKey) -> bool {
        self.voters.get(&replica.id).is_some_and(|voter| voter.key.names(replica))
    }

    pub fn is_only_voter(&self, replica: &ReplicaKey) -> bool {
        self.voters.len() == 1 && self.is_voter(replica)
    }

    /// Endpoints of a voter; empty when it is none.
    pub fn endpoints(&self, id: NodeId) -> Endpoints {
        self.voters.get(&id).map(|voter| voter.listeners.clone()).unwrap_or_default()
    }

    /// Where to send requests to a voter.
    pub fn node(&self, id: NodeId, listener: &str) -> Option<Node> {
        let address = self.voters.get(&id)?.listeners.get(listener)?.clone();
        Some(Node { id, address })
    }

    /// Whether `voter` is in the set, but with other endpoints or versions.
    pub fn needs_update(&self, voter: &VoterNode) -> bool {
        self.voters.get(&voter.key.id).is_some_and(|known| known.key.names(&voter.key) && known != voter)
    }

    /// The set with one voter more; `None` when a voter with this node id is there already.
    pub fn with_voter(&self, voter: VoterNode) -> Option<VoterSet> {
        if self.voters.contains_key(&voter.key.id) {
            return None;
        }
        let mut voters = self.voters.clone();
        voters.insert(voter.key.id, voter);
        Some(VoterSet { voters })
    }

    /// The set without a voter; `None` when it is no voter or the last one.
    pub fn without_voter(&self, key: &ReplicaKey) -> Option<VoterSet> {
        if self.voters.len() < 2 || self.voters.get(&key.id)?.key != *key {
            return None;
        }
        let mut voters = self.voters.clone();
        voters.remove(&key.id);
        Some(VoterSet { voters })
    }

    /// The set with a voter's endpoints, versions and directory replaced; `None` when it is no voter.
    pub fn with_updated_voter(&self, voter: VoterNode) -> Option<VoterSet> {
        if !self.is_voter(&voter.key) {
            return None;
        }
        let mut voters = self.voters.clone();
        voters.insert(voter.key.id, voter);
        Some(VoterSet { voters })
    }

    /// The same, where the set does not know directories: the node's id is enough.
    pub fn with_updated_node(&self, voter: VoterNode) -> Option<VoterSet> {
        let id = voter.key.id;
        let mut voters = self.voters.clone();
        *voters.get_mut(&id)? = voter;
        Some(VoterSet { voters })
    }

    /// Whether all voters support a `kraft.version`.
    pub fn supports(&self, kraft_version: i16) -> bool {
        self.iter().all(|voter| voter.supports(kraft_version))
    }

    /// Whether any majority of one set meets any majority of the other: at most one voter differs in each direction.
    pub fn has_overlapping_majority(&self, other: &VoterSet) -> bool {
        let differing = |a: &VoterSet, b: &VoterSet| {
            a.iter().filter(|voter| !b.iter().any(|known| known.key == voter.key)).count()
        };
        differing(self, other) <= 1 && differing(other, self) <= 1
    }
}

/// The voter sets and `kraft.version`s that the log holds, by the offset of their record; what comes from a snapshot
/// stands at the offset before the snapshot's end (-1 for `bootstrap.checkpoint`).
#[derive(Clone, Debug, Default)]
pub struct VoterHistory {
    static_voters: VoterSet,
    sets: BTreeMap<Offset, VoterSet>,
    kraft_versions: BTreeMap<Offset, i16>,
}

impl VoterHistory {
    pub fn new(static_voters: VoterSet) -> VoterHistory {
        VoterHistory { static_voters, sets: BTreeMap::new(), kraft_versions: BTreeMap::new() }
    }

    pub fn latest(&self) -> &VoterSet {
        self.sets.last_key_value().map_or(&self.static_voters, |(_, set)| set)
    }

    /// Where the latest set was recorded; `None` for the static one.
    pub fn latest_offset(&self) -> Option<Offset> {
        self.sets.last_key_value().map(|(offset, _)| *offset)
    }

    /// Whether a replica may stand for election: it votes by the latest set, or did by the one before, and the latest is not
    /// known to be committed. It may be the only one to have that record, and then nobody else can lead before it has.
    pub fn may_stand(&self, replica: &ReplicaKey, committed: Option<Offset>) -> bool {
        let Some((latest_offset, latest)) = self.sets.last_key_value() else {
            return self.static_voters.is_voter(replica);
        };
        if latest.is_voter(replica) {
            return true;
        }
        let is_committed = committed.is_some_and(|committed| *latest_offset < committed);
        let before = self.sets.range(..latest_offset).next_back();
        !is_committed && before.map_or(&self.static_voters, |(_, set)| set).is_voter(replica)
    }

    pub fn latest_kraft_version(&self) -> i16 {
        self.kraft_versions.last_key_value().map_or(0, |(_, version)| *version)
    }

    /// What a snapshot whose last record is at `offset` must say.
    pub fn at(&self, offset: Offset) -> (i16, Option<&VoterSet>) {
        let version = self.kraft_versions.range(..=offset).next_back().map_or(0, |(_, version)| *version);
        (version, self.sets.range(..=offset).next_back().map(|(_, set)| set))
    }

    pub fn add_voters(&mut self, offset: Offset, voters: VoterSet) {
        self.sets.insert(offset, voters);
    }

    pub fn add_kraft_version(&mut self, offset: Offset, version: i16) {
        self.kraft_versions.insert(offset, version);
    }

    /// Forgets what the log lost: records at `end_offset` and after it.
    pub fn truncate_new(&mut self, end_offset: Offset) {
        self.sets.split_off(&end_offset);
        self.kraft_versions.split_off(&end_offset);
    }

    /// Forgets what a snapshot ending at `start_offset` covers, except the last of it.
    pub fn truncate_old(&mut self, start_offset: Offset) {
        fn keep_last<V>(map: &mut BTreeMap<Offset, V>, start: Offset) {
            let newer = map.split_off(&start);
            let last = map.pop_last();
            *map = newer;
            map.extend(last);
        }
        keep_last(&mut self.sets, start_offset);
        keep_last(&mut self.kraft_versions, start_offset);
    }

    /// Everything but the static voters is forgotten: a downloaded snapshot replaces the log.
    pub fn clear(&mut self) {
        self.sets.clear();
        self.kraft_versions.clear();
    }
}

impl fmt::Display for VoterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, voter) in self.voters.values().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}", voter.key)?;
        }
        f.write_str("]")
    }
}
