use ottla_metadata::image::{VersionedRecord, metadata_version_record};
use ottla_metadata::{Feature, MetadataVersion};
use ottla_wire::ErrorCode;
use ottla_wire::records::{
    AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, MetadataRecord,
};

use super::{Levels, check_dependencies, level_record};
use crate::configs::config_record;
use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::Outcome;

/// What formatting writes into `bootstrap.checkpoint`: the metadata version, then the other features' levels above 0 by
/// name. `kraft.version` is the quorum's and not here. `overrides` are levels that the user asked for.
///
/// # Errors
/// A level that this version does not have, or that `version` is too low for: INVALID_UPDATE_VERSION.
pub fn bootstrap_records(
    version: MetadataVersion,
    overrides: &[(Feature, i16)],
) -> Result<Vec<VersionedRecord>, ApiError> {
    let mut levels = Levels::new();
    for facts in Feature::all() {
        let asked = overrides.iter().rev().find(|(feature, _)| *feature == facts.feature);
        let level = asked.map_or_else(|| facts.feature.default_level(version), |(_, level)| *level);
        levels.insert(facts.name.to_owned(), level);
    }
    levels.insert(Feature::MetadataVersion.name().to_owned(), version.level());
    for facts in Feature::all() {
        let level = levels.get(facts.name).copied().unwrap_or(0);
        check_dependencies(facts.feature, level, &levels)
            .map_err(|why| ApiError::new(ErrorCode::InvalidUpdateVersion, why))?;
    }
    let not_here = [Feature::MetadataVersion.name(), Feature::KRaftVersion.name()];
    let others = levels.iter().filter(|(name, level)| **level > 0 && !not_here.contains(&name.as_str()));
    Ok(std::iter::once(metadata_version_record(version))
        .chain(others.map(|(name, level)| (level_record(name, *level), 0)))
        .collect())
}

impl Controller {
    /// What a controller writes first when it becomes active.
    ///
    /// Into a log that says no metadata version yet: `bootstrap`, the records of `bootstrap.checkpoint`, in a metadata
    /// transaction (KIP-868) where their metadata version has those. `has_open_transaction`: the log ends within a
    /// transaction, which is aborted; the controller's image must be that from before it.
    pub fn activate(&self, bootstrap: &[VersionedRecord], has_open_transaction: bool) -> Outcome<()> {
        let is_empty = !self.image.features.has_metadata_version();
        let version =
            if is_empty { bootstrap_version(bootstrap) } else { self.image.features.metadata_version() };
        let mut records = Vec::new();
        if has_open_transaction {
            records.push(MetadataRecord::AbortTransaction(AbortTransactionRecord {
                reason: Some("Controller failover".into()),
                ..AbortTransactionRecord::default()
            }));
        }
        if is_empty {
            let brackets = version.are_metadata_transactions_supported();
            if brackets {
                records.push(MetadataRecord::BeginTransaction(BeginTransactionRecord {
                    name: Some("Bootstrap records".into()),
                    ..BeginTransactionRecord::default()
                }));
            }
            records.extend(bootstrap.iter().map(|(record, _)| record.clone()));
            if bootstrap_level(bootstrap, Feature::EligibleLeaderReplicasVersion) > 0 {
                let value = self.settings.min_insync_replicas.to_string();
                let kind = ottla_metadata::image::ResourceType::Broker;
                records.push(config_record(kind, "", "min.insync.replicas", Some(value)));
            }
            if brackets {
                records.push(MetadataRecord::EndTransaction(EndTransactionRecord::default()));
            }
        }
        tracing::info!(is_empty, has_open_transaction, records = records.len(),
            metadata_version = %version, "activating the controller");
        // All of these have one version only.
        Outcome { records: records.into_iter().map(|record| (record, 0)).collect(), response: () }
    }
}

fn bootstrap_level(bootstrap: &[VersionedRecord], feature: Feature) -> i16 {
    let level = |record: &MetadataRecord| match record {
        MetadataRecord::FeatureLevel(record) if record.name == feature.name() => Some(record.feature_level),
        _ => None,
    };
    bootstrap.iter().rev().find_map(|(record, _)| level(record)).unwrap_or(0)
}

fn bootstrap_version(bootstrap: &[VersionedRecord]) -> MetadataVersion {
    let level = bootstrap_level(bootstrap, Feature::MetadataVersion);
    MetadataVersion::from_level(level).unwrap_or(MetadataVersion::MINIMUM)
}
