//! Feature levels: what formatting begins with, what becoming active writes, and UpdateFeatures.

mod activation;
mod update;

pub use activation::bootstrap_records;

use std::collections::BTreeMap;

use ottla_metadata::{Feature, MetadataVersion};
use ottla_wire::ErrorCode;
use ottla_wire::records::{FeatureLevelRecord, MetadataRecord};

use crate::error::ApiError;

/// Levels by feature name.
type Levels = BTreeMap<String, i16>;

fn level_record(name: &str, feature_level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: name.to_owned(),
        feature_level,
        ..FeatureLevelRecord::default()
    })
}

/// Whether `feature` may have `level` beside the other features' `levels`.
fn check_dependencies(feature: Feature, level: i16, levels: &Levels) -> Result<(), String> {
    let name = feature.name();
    if !feature.facts().supports(level) {
        return Err(format!("No feature:{name} with feature level {level}"));
    }
    let metadata_version = levels.get(Feature::MetadataVersion.name()).copied().unwrap_or(0);
    match feature.required_metadata_version(level) {
        Some(required) if metadata_version < required.level() => Err(format!(
            "{name} could not be set to {level} because it depends on {} level {}",
            Feature::MetadataVersion.name(),
            required.level()
        )),
        _ => Ok(()),
    }
}

fn invalid_update(name: &str, level: i16, why: &str) -> ApiError {
    let message = format!("Invalid update version {level} for feature {name}. {why}");
    ApiError::new(ErrorCode::InvalidUpdateVersion, message)
}

fn lost_metadata(from: MetadataVersion, to: MetadataVersion) -> bool {
    MetadataVersion::all().any(|version| to < version && version <= from && version.did_metadata_change())
}
