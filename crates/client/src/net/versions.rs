//! Which versions of which requests a broker serves, and its cluster's features.

use std::collections::HashMap;

use ottla_wire::messages::ApiVersionsResponse;
use ottla_wire::{ApiKey, Request, VersionRange};

/// What a broker said when it was connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedVersions {
    ranges: HashMap<i16, VersionRange>,
    features: HashMap<String, i16>,
    features_epoch: i64,
}

impl ServedVersions {
    pub(crate) fn of(answer: &ApiVersionsResponse) -> ServedVersions {
        let ranges = answer.api_keys.iter();
        let ranges = ranges.map(|api| (api.api_key, VersionRange::new(api.min_version, api.max_version)));
        let features = answer.finalized_features.iter();
        ServedVersions {
            ranges: ranges.collect(),
            features: features.map(|feature| (feature.name.clone(), feature.max_version_level)).collect(),
            features_epoch: answer.finalized_features_epoch,
        }
    }

    /// What the broker serves of an API, whether this client knows these versions or not.
    pub fn of_api(&self, key: ApiKey) -> Option<VersionRange> {
        self.ranges.get(&key.code()).copied()
    }

    /// All APIs that the broker named, by number: also such as this client doesn't know.
    pub fn all(&self) -> impl Iterator<Item = (i16, VersionRange)> {
        self.ranges.iter().map(|(key, range)| (*key, *range))
    }

    /// The level of a feature of the cluster such as `transaction.version`; 0 if it isn't in effect.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Counts changes of features; -1 where the broker doesn't say.
    pub fn features_epoch(&self) -> i64 {
        self.features_epoch
    }

    /// The newest version of a request that both sides have and that isn't above `version_max`.
    pub fn choose<R: Request>(&self, version_max: Option<i16>) -> Option<i16> {
        let served = self.of_api(R::API_KEY)?;
        let unstable = i16::from(R::API_KEY.facts().is_latest_unstable);
        let newest = served.max.min(R::VERSIONS.max - unstable).min(version_max.unwrap_or(i16::MAX));
        (newest >= served.min.max(R::VERSIONS.min)).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::Message;
    use ottla_wire::messages::{FetchRequest, InitProducerIdRequest, ProduceRequest, api_versions_response};

    use super::*;

    fn serving(key: ApiKey, min_version: i16, max_version: i16) -> ServedVersions {
        let api_key = key.code();
        let api = api_versions_response::ApiKey { api_key, min_version, max_version, ..Default::default() };
        ServedVersions::of(&ApiVersionsResponse { api_keys: vec![api], ..Default::default() })
    }

    #[test]
    fn the_newest_common_version_is_chosen() {
        let newest = ProduceRequest::VERSIONS.max;
        for (min, max, limit, expected) in [
            (0, 9, None, Some(9)),
            (0, 99, None, Some(newest)),
            (0, 99, Some(11), Some(11)),
            (0, 2, None, None),
            (98, 99, None, None),
            (12, 13, Some(11), None),
        ] {
            let served = serving(ApiKey::Produce, min, max);
            assert_eq!(served.choose::<ProduceRequest>(limit), expected, "{min}-{max} up to {limit:?}");
        }
        assert_eq!(serving(ApiKey::Produce, 0, 9).choose::<FetchRequest>(None), None);
    }

    #[test]
    fn unstable_versions_are_never_chosen() {
        let served = serving(ApiKey::InitProducerId, 0, InitProducerIdRequest::VERSIONS.max);
        assert_eq!(
            served.choose::<InitProducerIdRequest>(None),
            Some(InitProducerIdRequest::VERSIONS.max - 1)
        );
    }
}
