//! With which feature levels a directory is formatted, and what `version-mapping` and `feature-dependencies` tell.

use std::collections::BTreeMap;
use std::fmt::Write;

use ottla_metadata::{Feature, MetadataVersion};
use ottla_wire::records::{FeatureLevelRecord, MetadataRecord};
use thiserror::Error;

/// Why levels are not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FeatureError {
    #[error("Unknown metadata.version '{0}'. Supported metadata.version are: {names}", names = version_names())]
    UnknownRelease(String),
    #[error(
        "No MetadataVersion with feature level {0}. Valid feature levels are from {min} to {max}.",
        min = MetadataVersion::MINIMUM.level(), max = MetadataVersion::LATEST.level()
    )]
    UnknownMetadataLevel(i16),
    #[error("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")]
    Ambiguous,
    #[error("Can't parse feature=level string {0}: {1}")]
    Unparsable(String, String),
    #[error("Unsupported feature: {0}. Supported features are: {names}", names = feature_names())]
    Unsupported(String),
    #[error("No feature:{0} with feature level {1}")]
    UnknownLevel(&'static str, i16),
    #[error("{feature} could not be set to {level} because it depends on metadata.version level {required}")]
    Dependency { feature: &'static str, level: i16, required: i16 },
    #[error(
        "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, \
         --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing the \
         --feature flag for kraft.version."
    )]
    StaticKRaftOfDynamicQuorum,
    #[error(
        "Cannot set kraft.version to {0} unless controller.quorum.voters is empty and one of the flags --standalone, \
         --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try using one of \
         --standalone, --initial-controllers, or --no-initial-controllers and removing controller.quorum.voters."
    )]
    DynamicKRaftOfStaticQuorum(i16),
    /// Of `feature-dependencies`, which words things in its own way.
    #[error("{0}")]
    Dependencies(String),
}

/// The levels of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureLevels {
    metadata_version: MetadataVersion,
    /// Of the other features, by name.
    levels: BTreeMap<&'static str, i16>,
}

impl FeatureLevels {
    /// From `--release-version`, each `--feature` (`name=level`), and whether the quorum is a dynamic one. What isn't
    /// given follows from the release.
    pub fn new(
        release: Option<&str>,
        features: &[String],
        has_dynamic_quorum: bool,
    ) -> Result<FeatureLevels, FeatureError> {
        let given = features.iter().map(|text| parse_level(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
        let metadata_version =
            metadata_version(release, given.get(Feature::MetadataVersion.name()).copied())?;
        if let Some(name) = given.keys().find(|name| Feature::from_name(name).is_none()) {
            return Err(FeatureError::Unsupported(name.clone()));
        }
        let mut levels = BTreeMap::new();
        for facts in others() {
            let level = match (facts.feature, given.get(facts.name)) {
                (Feature::KRaftVersion, level) => kraft_version(level.copied(), has_dynamic_quorum)?,
                (_, Some(level)) => *level,
                (feature, None) => feature.default_level(metadata_version),
            };
            if !facts.supports(level) {
                return Err(FeatureError::UnknownLevel(facts.name, level));
            }
            match facts.feature.required_metadata_version(level) {
                Some(required) if required > metadata_version => {
                    let (feature, required) = (facts.name, required.level());
                    return Err(FeatureError::Dependency { feature, level, required });
                }
                _ => levels.insert(facts.name, level),
            };
        }
        Ok(FeatureLevels { metadata_version, levels })
    }

    /// The newest levels.
    pub fn latest(has_dynamic_quorum: bool) -> FeatureLevels {
        let metadata_version = MetadataVersion::LATEST;
        let level = |feature: Feature| match feature {
            Feature::KRaftVersion => i16::from(has_dynamic_quorum),
            other => other.default_level(metadata_version),
        };
        let levels = others().map(|facts| (facts.name, level(facts.feature))).collect();
        FeatureLevels { metadata_version, levels }
    }

    pub fn metadata_version(&self) -> MetadataVersion {
        self.metadata_version
    }

    /// What `bootstrap.checkpoint` says of them: the metadata version first, then by name. Level 0 needs no record, and
    /// `kraft.version` stands in the quorum's own control records.
    pub fn records(&self) -> Vec<MetadataRecord> {
        let metadata_version = (Feature::MetadataVersion.name(), self.metadata_version.level());
        let others = self.levels.iter().map(|(name, level)| (*name, *level));
        let others = others.filter(|(name, level)| *level > 0 && *name != Feature::KRaftVersion.name());
        let record = |(name, level): (&str, i16)| {
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: name.into(),
                feature_level: level,
                ..Default::default()
            })
        };
        std::iter::once(metadata_version).chain(others).map(record).collect()
    }
}

fn others() -> impl Iterator<Item = &'static ottla_metadata::features::FeatureFacts> {
    Feature::all().filter(|facts| facts.feature != Feature::MetadataVersion)
}

fn metadata_version(release: Option<&str>, level: Option<i16>) -> Result<MetadataVersion, FeatureError> {
    match (release, level) {
        (Some(_), Some(_)) => Err(FeatureError::Ambiguous),
        (Some(name), None) => parse_release(name),
        (None, Some(level)) => {
            MetadataVersion::from_level(level).ok_or(FeatureError::UnknownMetadataLevel(level))
        }
        (None, None) => Ok(MetadataVersion::LATEST),
    }
}

fn kraft_version(given: Option<i16>, has_dynamic_quorum: bool) -> Result<i16, FeatureError> {
    match given {
        Some(0) if has_dynamic_quorum => Err(FeatureError::StaticKRaftOfDynamicQuorum),
        Some(level) if level != 0 && !has_dynamic_quorum => {
            Err(FeatureError::DynamicKRaftOfStaticQuorum(level))
        }
        Some(level) => Ok(level),
        None => Ok(i16::from(has_dynamic_quorum)),
    }
}

fn parse_level(text: &str) -> Result<(String, i16), FeatureError> {
    let wrong = |why: &str| FeatureError::Unparsable(text.to_owned(), why.to_owned());
    let (name, level) = text.split_once('=').ok_or_else(|| wrong("equals sign not found."))?;
    let level = level.trim().parse().map_err(|_| wrong(&format!("unable to parse {level} as a short.")))?;
    Ok((name.trim().to_owned(), level))
}

fn parse_release(name: &str) -> Result<MetadataVersion, FeatureError> {
    MetadataVersion::from_name(name).ok_or_else(|| FeatureError::UnknownRelease(name.to_owned()))
}

fn version_names() -> String {
    MetadataVersion::all().map(MetadataVersion::name).collect::<Vec<_>>().join(", ")
}

fn feature_names() -> String {
    let mut names: Vec<_> = others().map(|facts| facts.name).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The levels that a cluster formatted with a release, or with the latest one, has by default.
pub fn version_mapping(release: Option<&str>) -> Result<String, FeatureError> {
    let name = release.unwrap_or(MetadataVersion::LATEST.name());
    let version = parse_release(name)?;
    let mut text = format!("metadata.version={} ({name})\n", version.level());
    for facts in others() {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{}={}", facts.name, facts.feature.default_level(version));
    }
    Ok(text)
}

/// What each `name=level` needs of other features.
pub fn feature_dependencies(features: &[String]) -> Result<String, FeatureError> {
    features.iter().map(|text| dependencies_of(text)).collect()
}

fn dependencies_of(text: &str) -> Result<String, FeatureError> {
    let wrong = |problem: String| FeatureError::Dependencies(problem);
    let (name, level_text) = text.split_once('=').ok_or_else(|| {
        wrong(format!(
            "Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')"
        ))
    })?;
    let level: i16 = level_text
        .parse()
        .map_err(|_| wrong(format!("Invalid version format: {level_text} for feature {name}")))?;
    let feature = Feature::from_name(name).ok_or_else(|| wrong(format!("Unknown feature: {name}")))?;
    if feature == Feature::MetadataVersion {
        let version = MetadataVersion::from_level(level)
            .ok_or_else(|| wrong(format!("Unknown metadata.version {level}")))?;
        return Ok(format!("{name}={level} ({}) has no dependencies.\n", version.name()));
    }
    if !feature.facts().supports(level) {
        return Err(wrong(format!("Feature level {level} is not supported for feature {name}")));
    }
    Ok(match feature.required_metadata_version(level) {
        None => format!("{name}={level} has no dependencies.\n"),
        Some(version) => format!(
            "{name}={level} requires:\n    metadata.version={} ({})\n",
            version.level(),
            version.name()
        ),
    })
}
