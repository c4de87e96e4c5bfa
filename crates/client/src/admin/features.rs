//! Features of the cluster: which levels nodes support, and which is finalized.

use std::collections::BTreeMap;

use ottla_types::NodeId;
use ottla_wire::messages::{ApiVersionsRequest, UpdateFeaturesRequest, update_features_request};

use super::{Admin, check};
use crate::client::Target;
use crate::error::ClientError;

/// What a node says of features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureMetadata {
    pub supported: BTreeMap<String, FeatureRange>,
    pub finalized: BTreeMap<String, FinalizedFeature>,
    /// `None` where the node doesn't tell.
    pub epoch: Option<i64>,
}

/// Levels that a node supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    pub min: i16,
    pub max: i16,
}

/// The level that the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalizedFeature {
    pub min_level: i16,
    pub max_level: i16,
}

/// In which direction a level may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    Upgrade = 1,
    SafeDowngrade = 2,
    /// Metadata may be lost.
    UnsafeDowngrade = 3,
}

/// A level that a feature is to have; 0 switches it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub level: i16,
    pub upgrade_type: UpgradeType,
}

impl Admin {
    /// What a node says of features; without one, whichever answers.
    pub async fn describe_features(&self, node: Option<NodeId>) -> Result<FeatureMetadata, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let target = node.map_or(Target::AnyNode, Target::Node);
        let answer = self.ask(target, &request, |answer| answer.error_code).await?;
        check(answer.error_code, None, || "describing features".to_owned())?;
        let supported = answer.supported_features.into_iter().map(|feature| {
            (feature.name, FeatureRange { min: feature.min_version, max: feature.max_version })
        });
        let finalized = answer.finalized_features.into_iter().map(|feature| {
            let level = FinalizedFeature {
                min_level: feature.min_version_level,
                max_level: feature.max_version_level,
            };
            (feature.name, level)
        });
        Ok(FeatureMetadata {
            supported: supported.collect(),
            finalized: finalized.collect(),
            epoch: Some(answer.finalized_features_epoch).filter(|&epoch| epoch >= 0),
        })
    }

    /// Changes levels, or only tells whether it could. All of them, or none.
    pub async fn update_features(
        &self,
        updates: &BTreeMap<String, FeatureUpdate>,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let update = |(name, update): (&String, &FeatureUpdate)| update_features_request::FeatureUpdate {
            feature: name.clone(),
            max_version_level: update.level,
            upgrade_type: update.upgrade_type as i8,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            timeout_ms: self.request_timeout_ms(),
            feature_updates: updates.iter().map(update).collect(),
            validate_only,
            ..Default::default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || "changing features".to_owned())?;
        match answer.results.into_iter().find(|result| result.error_code != 0) {
            Some(failed) => check(failed.error_code, failed.error_message, || failed.feature),
            None => Ok(()),
        }
    }
}
