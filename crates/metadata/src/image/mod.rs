//! The cluster's metadata at one offset of the metadata log.
//!
//! An image is a value: cloning it is cheap, and a clone stays what it was while the original goes on.

mod configs;
#[cfg(test)]
mod damage_tests;
mod partition;
mod quotas;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;
mod topics;

use std::sync::Arc;

use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, Timestamp, Uuid};
use ottla_wire::records::{
    AccessControlEntryRecord, DelegationTokenRecord, RegisterBrokerRecord, RegisterControllerRecord,
    UserScramCredentialRecord, ZkMigrationStateRecord,
};
use rpds::RedBlackTreeMapSync;
use thiserror::Error;

pub use configs::{ConfigResource, ConfigsImage, ResourceType};
pub use partition::{LeaderRecoveryState, NO_LEADER_CHANGE, PartitionRegistration};
pub use quotas::{QuotaEntity, QuotasImage};
pub use snapshot::{VersionedRecord, feature_record, metadata_version_record, record_version};
pub use topics::{TopicImage, TopicsImage};

use crate::features::{Feature, MetadataVersion};

/// Which part of the log an image stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The last offset that was replayed; [`Offset::UNKNOWN`] before the first.
    pub last_offset: Offset,
    pub last_epoch: LeaderEpoch,
    /// The append time of the last batch.
    pub last_append_time: Timestamp,
}

impl Default for Provenance {
    fn default() -> Provenance {
        Provenance {
            last_offset: Offset::UNKNOWN,
            last_epoch: LeaderEpoch(0),
            last_append_time: Timestamp::NONE,
        }
    }
}

/// Everything that the metadata log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    pub provenance: Provenance,
    pub features: FeaturesImage,
    pub brokers: RedBlackTreeMapSync<NodeId, Arc<BrokerRegistration>>,
    pub controllers: RedBlackTreeMapSync<NodeId, Arc<RegisterControllerRecord>>,
    pub topics: TopicsImage,
    pub configs: ConfigsImage,
    pub quotas: QuotasImage,
    /// The first producer id that no block has.
    pub next_producer_id: i64,
    pub acls: RedBlackTreeMapSync<Uuid, Arc<AccessControlEntryRecord>>,
    /// By user and mechanism.
    pub scram_credentials: RedBlackTreeMapSync<(String, i8), Arc<UserScramCredentialRecord>>,
    /// By token id.
    pub delegation_tokens: RedBlackTreeMapSync<String, Arc<DelegationTokenRecord>>,
    /// Written by 3.x controllers; of no meaning, and kept.
    pub zk_migration_state: Option<Arc<ZkMigrationStateRecord>>,
}

/// The finalized feature levels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeaturesImage {
    /// None until the log has said it; the lowest level that there is holds until then.
    metadata_version: Option<MetadataVersion>,
    /// The other features' levels, by name, without those at level 0.
    levels: RedBlackTreeMapSync<String, i16>,
}

impl FeaturesImage {
    pub fn metadata_version(&self) -> MetadataVersion {
        self.metadata_version.unwrap_or(MetadataVersion::MINIMUM)
    }

    pub fn has_metadata_version(&self) -> bool {
        self.metadata_version.is_some()
    }

    /// The finalized level; 0 where none is. `kraft.version` is kept by the quorum and not here.
    pub fn level(&self, feature: Feature) -> i16 {
        match feature {
            Feature::MetadataVersion => self.metadata_version().level(),
            _ => self.levels.get(feature.name()).copied().unwrap_or(0),
        }
    }

    /// Every finalized feature but `kraft.version`, by name.
    pub fn finalized(&self) -> impl Iterator<Item = (&str, i16)> {
        let metadata_version =
            self.metadata_version.map(|version| (Feature::MetadataVersion.name(), version.level()));
        metadata_version.into_iter().chain(self.levels.iter().map(|(name, level)| (name.as_str(), *level)))
    }
}

/// A broker as it registered, and what has become of it since.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRegistration {
    /// With `fenced`, `in_controlled_shutdown`, `log_dirs` and `cordoned_log_dirs` as they are now.
    pub record: RegisterBrokerRecord,
}

impl BrokerRegistration {
    pub fn id(&self) -> NodeId {
        NodeId(self.record.broker_id)
    }

    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.record.broker_epoch)
    }

    pub fn is_fenced(&self) -> bool {
        self.record.fenced
    }

    pub fn is_in_controlled_shutdown(&self) -> bool {
        self.record.in_controlled_shutdown
    }

    /// Neither fenced nor leaving: it may lead, and may get new replicas.
    pub fn is_active(&self) -> bool {
        !self.is_fenced() && !self.is_in_controlled_shutdown()
    }

    pub fn rack(&self) -> Option<&str> {
        self.record.rack.as_deref()
    }

    /// Host and port of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<(&str, u16)> {
        let endpoint = self.record.end_points.iter().find(|endpoint| endpoint.name == listener)?;
        Some((&endpoint.host, endpoint.port))
    }

    /// The directory that a new replica gets: the only one, or a mark that the broker is to choose (KIP-858).
    pub fn default_directory(&self) -> Uuid {
        match self.record.log_dirs.as_slice() {
            [only] => *only,
            [] => directory::MIGRATING,
            _ => directory::UNASSIGNED,
        }
    }

    /// Whether it may get new replicas: not if all its directories are cordoned (KIP-1066).
    pub fn has_uncordoned_directory(&self) -> bool {
        let cordoned = self.record.cordoned_log_dirs.as_deref().unwrap_or_default();
        self.record.log_dirs.is_empty() || self.record.log_dirs.iter().any(|dir| !cordoned.contains(dir))
    }

    /// Whether a replica in that directory may be served. A broker that tells no directories has all of them online.
    pub fn has_online_directory(&self, id: Uuid) -> bool {
        let is_online =
            id != directory::LOST && (directory::is_reserved(id) || self.record.log_dirs.contains(&id));
        self.record.log_dirs.is_empty() || is_online
    }
}

/// Directory ids with a meaning of their own (KIP-858).
pub mod directory {
    use ottla_types::Uuid;

    const fn reserved(last: u8) -> Uuid {
        Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
    }

    /// The broker has not told where the replica is.
    pub const UNASSIGNED: Uuid = reserved(1);
    /// The broker knows no directories' ids yet.
    pub const MIGRATING: Uuid = reserved(0);
    /// A directory that is offline.
    pub const LOST: Uuid = reserved(2);

    pub fn is_reserved(id: Uuid) -> bool {
        id.0[..15] == [0; 15] && id.0[15] < 100
    }
}

/// The log says something that can't be so. It is corrupt, or was written by a version with other rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    #[error("the metadata log names topic id {0}, which does not exist")]
    UnknownTopic(Uuid),
    #[error("the metadata log creates topic {name} with id {id}, but its name or its id is in use")]
    TopicExists { name: Arc<str>, id: Uuid },
    #[error("the metadata log names partition {partition} of topic {topic}, which does not exist")]
    UnknownPartition { topic: Arc<str>, partition: i32 },
    #[error("the metadata log names broker {broker} with epoch {epoch}, which is not registered")]
    UnknownBroker { broker: NodeId, epoch: BrokerEpoch },
    #[error("the metadata log sets {feature} to level {level}; this version supports {min} to {max}")]
    UnsupportedFeature { feature: String, level: i16, min: i16, max: i16 },
    #[error("the metadata log has a record of type {0}, which this version does not know")]
    UnknownRecord(u32),
    #[error("the metadata log has resource type {0} in a ConfigRecord, which this version does not know")]
    UnknownResourceType(i8),
}
