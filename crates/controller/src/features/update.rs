//! UpdateFeatures (KIP-584, KIP-778).

use std::collections::BTreeMap;

use ottla_metadata::{Feature, MetadataVersion};
use ottla_types::NodeId;
use ottla_wire::messages::update_features_request::{FeatureUpdate, UpdateFeaturesRequest};
use ottla_wire::messages::update_features_response::{Result as FeatureResult, UpdateFeaturesResponse};
use ottla_wire::records::MetadataRecord;

use super::{Levels, check_dependencies, invalid_update, level_record, lost_metadata};
use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::Outcome;

/// The last version whose answer has a result for each feature.
const RESULT_EACH_UNTIL: i16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl UpgradeType {
    fn from_code(code: i8) -> Option<UpgradeType> {
        match code {
            1 => Some(UpgradeType::Upgrade),
            2 => Some(UpgradeType::SafeDowngrade),
            3 => Some(UpgradeType::UnsafeDowngrade),
            _ => None,
        }
    }
}

impl Controller {
    /// All of the updates are made, or none.
    pub fn update_features(
        &self,
        request: &UpdateFeaturesRequest,
        api_version: i16,
    ) -> Outcome<UpdateFeaturesResponse> {
        let changes = match self.feature_changes(&request.feature_updates) {
            Ok(changes) => changes,
            Err(error) => {
                tracing::info!(%error, "refusing to update features");
                let why = error.message.unwrap_or_default();
                return Outcome::answer(UpdateFeaturesResponse {
                    error_code: error.code.code(),
                    error_message: Some(format!(
                        "The update failed for all features since the following feature had an error: {why}"
                    )),
                    ..UpdateFeaturesResponse::default()
                });
            }
        };
        let mut records = self.records();
        if !request.validate_only {
            for update in &request.feature_updates {
                let from = self.finalized_levels().get(&update.feature).copied().unwrap_or(0);
                tracing::info!(feature = %update.feature, from, to = update.max_version_level, "updating a feature");
            }
            records.extend(changes);
        }
        let results = request
            .feature_updates
            .iter()
            .filter(|_| api_version <= RESULT_EACH_UNTIL)
            .map(|update| FeatureResult { feature: update.feature.clone(), ..FeatureResult::default() });
        let results = results.collect();
        records.with(UpdateFeaturesResponse {
            results,
            error_message: None,
            ..UpdateFeaturesResponse::default()
        })
    }

    fn finalized_levels(&self) -> Levels {
        let quorum = (Feature::KRaftVersion.name(), self.quorum.level);
        let finalized = self.image.features.finalized().chain([quorum]);
        finalized.map(|(name, level)| (name.to_owned(), level)).collect()
    }

    fn feature_changes(&self, updates: &[FeatureUpdate]) -> Result<Vec<MetadataRecord>, ApiError> {
        let finalized = self.finalized_levels();
        let mut proposed = finalized.clone();
        proposed.extend(updates.iter().map(|update| (update.feature.clone(), update.max_version_level)));
        // Of a feature that is named twice, the last counts.
        let wanted: BTreeMap<&str, &FeatureUpdate> =
            updates.iter().map(|update| (update.feature.as_str(), update)).collect();
        let mut changes = Vec::new();
        for update in wanted.values() {
            changes.extend(self.feature_change(update, &finalized, &proposed)?);
        }
        let elr = Feature::EligibleLeaderReplicasVersion.name();
        if wanted.get(elr).is_some_and(|update| update.max_version_level > 0) {
            let mut safe = self.elr_safety_records();
            safe.append(&mut changes);
            changes = safe;
        }
        Ok(changes)
    }

    fn feature_change(
        &self,
        update: &FeatureUpdate,
        finalized: &Levels,
        proposed: &Levels,
    ) -> Result<Option<MetadataRecord>, ApiError> {
        let (name, level) = (update.feature.as_str(), update.max_version_level);
        let refuse = |why: &str| Err(invalid_update(name, level, why));
        let Some(upgrade_type) = UpgradeType::from_code(update.upgrade_type) else {
            return refuse("The controller does not support the given upgrade type.");
        };
        let current = finalized.get(name).copied().unwrap_or(0);
        if level < 0 {
            return refuse("A feature version cannot be less than 0.");
        }
        if let Some(why) = self.reason_not_supported(name, level) {
            return refuse(&why);
        }
        if level < current && upgrade_type == UpgradeType::Upgrade {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
            );
        }
        if level > current && upgrade_type != UpgradeType::Upgrade {
            return refuse("Can't downgrade to a newer version.");
        }
        match Feature::from_name(name) {
            Some(Feature::MetadataVersion) => self.check_metadata_version(level, upgrade_type)?,
            Some(Feature::KRaftVersion) => match self.quorum.cannot_rise {
                _ if level == current => return Ok(None),
                _ if level < current => return refuse("Can't downgrade the version of this feature."),
                Some(why) => return refuse(why),
                None => {}
            },
            Some(feature) => {
                check_dependencies(feature, level, proposed)
                    .map_err(|why| invalid_update(name, level, &why))?;
            }
            None => return refuse(&format!("Feature {name} not found.")),
        }
        Ok(Some(level_record(name, level)))
    }

    fn check_metadata_version(&self, level: i16, upgrade_type: UpgradeType) -> Result<(), ApiError> {
        let current = self.image.features.metadata_version();
        let name = Feature::MetadataVersion.name();
        let Some(wanted) = MetadataVersion::from_level(level) else {
            let (min, max) = (MetadataVersion::MINIMUM.level(), MetadataVersion::LATEST.level());
            return Err(invalid_update(name, level, &format!("Valid versions are from {min} to {max}.")));
        };
        if wanted < current && lost_metadata(current, wanted) {
            let why = match upgrade_type {
                UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
                _ => {
                    "Refusing to perform the requested downgrade because it might delete metadata information."
                }
            };
            let (from, to) = (current.level(), wanted.level());
            let message = format!("Unsupported metadata.version downgrade from {from} to {to}. {why}");
            return Err(ApiError::new(ottla_wire::ErrorCode::InvalidUpdateVersion, message));
        }
        Ok(())
    }

    /// Every node must know a level before it is finalized.
    fn reason_not_supported(&self, name: &str, level: i16) -> Option<String> {
        let local =
            Feature::from_name(name).map(|feature| (feature.facts().min_level, feature.facts().max_level));
        let me = self.settings.node_id;
        if let Some(why) = not_in_range(&format!("Local controller {me}"), local, level) {
            return Some(why);
        }
        for broker in self.image.brokers.values() {
            let range = broker.record.features.iter().find(|feature| feature.name == name);
            let range = range.map(|feature| (feature.min_supported_version, feature.max_supported_version));
            if let Some(why) = not_in_range(&format!("Broker {}", broker.id()), range, level) {
                return Some(why);
            }
        }
        if !self.image.features.metadata_version().is_controller_registration_supported() {
            return None;
        }
        for (id, controller) in self.image.controllers.iter().filter(|(id, _)| **id != me) {
            let range = controller.features.iter().find(|feature| feature.name == name);
            let range = range.map(|feature| (feature.min_supported_version, feature.max_supported_version));
            if let Some(why) = not_in_range(&format!("Controller {id}"), range, level) {
                return Some(why);
            }
        }
        let missing = |id: &&NodeId| **id != me && !self.image.controllers.contains_key(*id);
        let missing = self.settings.voters.iter().find(missing)?;
        Some(format!("controller {missing} has not registered, and may not support this feature"))
    }
}

/// A node that tells no range of a feature supports its level 0 alone.
fn not_in_range(who: &str, range: Option<(i16, i16)>, level: i16) -> Option<String> {
    let (min, max) = range.unwrap_or((0, 0));
    if (min..=max).contains(&level) {
        return None;
    }
    Some(match (min, max) {
        (_, 0) => format!("{who} does not support this feature."),
        (min, max) if min == max => format!("{who} only supports versions {min}"),
        (min, max) => format!("{who} only supports versions {min}-{max}"),
    })
}
