//! Feature levels (KIP-584, KIP-778, KIP-1022): which there are, what each turns on, and what this node supports.

use std::fmt;

/// A feature of the cluster, with the levels that Apache Kafka 4.3.1 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    MetadataVersion,
    KRaftVersion,
    TransactionVersion,
    GroupVersion,
    EligibleLeaderReplicasVersion,
    ShareVersion,
    StreamsVersion,
}

/// What there is to know of a feature.
#[derive(Clone, Copy, Debug)]
pub struct FeatureFacts {
    pub feature: Feature,
    /// As it is written in records and on the wire.
    pub name: &'static str,
    /// Levels that a node of this version supports.
    pub min_level: i16,
    pub max_level: i16,
    /// For each level above the lowest: the metadata version from which on a new cluster gets it by default.
    default_since: &'static [(i16, i16)],
    /// For each level: the metadata version that must be finalized before it may be.
    requires_metadata_version: &'static [(i16, i16)],
}

static FEATURES: [FeatureFacts; 7] = [
    facts(Feature::MetadataVersion, "metadata.version", 7, 30, &[]),
    facts(Feature::KRaftVersion, "kraft.version", 0, 1, &[(1, 21)]),
    facts(Feature::TransactionVersion, "transaction.version", 0, 2, &[(2, 24)]),
    facts(Feature::GroupVersion, "group.version", 0, 1, &[(1, 22)]),
    FeatureFacts {
        requires_metadata_version: &[(1, 23)],
        ..facts(Feature::EligibleLeaderReplicasVersion, "eligible.leader.replicas.version", 0, 1, &[(1, 26)])
    },
    facts(Feature::ShareVersion, "share.version", 0, 1, &[(1, 28)]),
    facts(Feature::StreamsVersion, "streams.version", 0, 1, &[(1, 29)]),
];

const fn facts(
    feature: Feature,
    name: &'static str,
    min_level: i16,
    max_level: i16,
    default_since: &'static [(i16, i16)],
) -> FeatureFacts {
    FeatureFacts { feature, name, min_level, max_level, default_since, requires_metadata_version: &[] }
}

impl Feature {
    pub fn all() -> impl Iterator<Item = &'static FeatureFacts> {
        FEATURES.iter()
    }

    pub fn from_name(name: &str) -> Option<Feature> {
        FEATURES.iter().find(|facts| facts.name == name).map(|facts| facts.feature)
    }

    pub fn facts(self) -> &'static FeatureFacts {
        // The table is in the order of the variants: a test holds it so.
        &FEATURES[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The level that a cluster formatted at `version` has unless told otherwise.
    pub fn default_level(self, version: MetadataVersion) -> i16 {
        if self == Feature::MetadataVersion {
            return version.level();
        }
        let facts = self.facts();
        let reached = facts.default_since.iter().rev().find(|(_, since)| version.level() >= *since);
        reached.map_or(facts.min_level, |(level, _)| *level)
    }

    /// The metadata version that must be finalized before `level` may be.
    pub fn required_metadata_version(self, level: i16) -> Option<MetadataVersion> {
        let required = self.facts().requires_metadata_version.iter().find(|(of, _)| *of == level)?;
        MetadataVersion::from_level(required.1)
    }
}

impl FeatureFacts {
    pub fn supports(&self, level: i16) -> bool {
        (self.min_level..=self.max_level).contains(&level)
    }
}

/// A level of `metadata.version` that this node can run at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

/// The names of the levels from [`MetadataVersion::MINIMUM`] on.
const NAMES: [&str; 24] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0",
    "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2",
    "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];

impl MetadataVersion {
    pub const MINIMUM: MetadataVersion = MetadataVersion(7);
    /// 4.3-IV0, the default for new clusters.
    pub const LATEST: MetadataVersion = MetadataVersion(30);

    /// None for levels that this node does not know.
    pub fn from_level(level: i16) -> Option<MetadataVersion> {
        let version = MetadataVersion(level);
        (MetadataVersion::MINIMUM..=MetadataVersion::LATEST).contains(&version).then_some(version)
    }

    /// Takes `4.3-IV0`, or `4.3` and `4.3.1` for the newest level of a release.
    pub fn from_name(name: &str) -> Option<MetadataVersion> {
        let release = |name: &str| name.split(['.', '-']).take(2).map(str::to_owned).collect::<Vec<_>>();
        let index = match NAMES.iter().position(|known| *known == name) {
            Some(index) => index,
            None if name.contains("IV") => return None,
            None => NAMES.iter().rposition(|known| release(known) == release(name))?,
        };
        MetadataVersion::from_level(MetadataVersion::MINIMUM.0 + i16::try_from(index).ok()?)
    }

    pub fn level(self) -> i16 {
        self.0
    }

    pub fn name(self) -> &'static str {
        NAMES[usize::from((self.0 - MetadataVersion::MINIMUM.0).unsigned_abs())]
    }

    pub fn all() -> impl Iterator<Item = MetadataVersion> {
        (MetadataVersion::MINIMUM.0..=MetadataVersion::LATEST.0).map(MetadataVersion)
    }

    /// Whether records can be written at this level that the level before does not have, so that going back loses them.
    pub fn did_metadata_change(self) -> bool {
        matches!(self.0, 7 | 8 | 11 | 13 | 14 | 15 | 17 | 23 | 30)
    }

    pub fn is_scram_supported(self) -> bool {
        self.0 >= 11
    }

    pub fn are_metadata_transactions_supported(self) -> bool {
        self.0 >= 13
    }

    pub fn are_delegation_tokens_supported(self) -> bool {
        self.0 >= 14
    }

    pub fn is_controller_registration_supported(self) -> bool {
        self.0 >= 15
    }

    pub fn is_directory_assignment_supported(self) -> bool {
        self.0 >= 17
    }

    pub fn is_elr_supported(self) -> bool {
        self.0 >= 23
    }

    pub fn are_cordoned_log_dirs_supported(self) -> bool {
        self.0 >= 30
    }

    pub fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    pub fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }

    /// Of PartitionChangeRecord too the version follows from the level, not from the content.
    pub fn partition_change_record_version(self) -> i16 {
        self.partition_record_version()
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (index, facts) in FEATURES.iter().enumerate() {
            assert_eq!(facts.feature as usize, index);
            assert_eq!(Feature::from_name(facts.name), Some(facts.feature));
        }
        assert_eq!(Feature::from_name("no.such.version"), None);
    }

    #[test]
    fn levels_have_kafkas_names() {
        assert_eq!(MetadataVersion::LATEST.name(), "4.3-IV0");
        assert_eq!(MetadataVersion::MINIMUM.name(), "3.3-IV3");
        let of_name = |name| MetadataVersion::from_name(name).map(MetadataVersion::level);
        assert_eq!(of_name("4.0"), Some(25));
        assert_eq!(of_name("3.9"), Some(21));
        assert_eq!(of_name("3.9.1"), Some(21));
        assert_eq!(of_name("4.0-IV1"), Some(23));
        assert_eq!(of_name("4.4-IV0"), None);
        assert_eq!(of_name("5"), None);
        assert_eq!(MetadataVersion::from_level(31), None);
        assert_eq!(MetadataVersion::all().count(), NAMES.len());
    }

    #[test]
    fn default_levels_follow_the_metadata_version() {
        let defaults = |name| {
            let version = MetadataVersion::from_name(name).expect("a version");
            Feature::all().map(|facts| facts.feature.default_level(version)).collect::<Vec<_>>()
        };
        assert_eq!(defaults("4.3"), [30, 1, 2, 1, 1, 1, 1]);
        assert_eq!(defaults("4.0"), [25, 1, 2, 1, 0, 0, 0]);
        assert_eq!(defaults("3.9"), [21, 1, 0, 0, 0, 0, 0]);
        assert_eq!(defaults("3.8"), [20, 0, 0, 0, 0, 0, 0]);
    }
}
