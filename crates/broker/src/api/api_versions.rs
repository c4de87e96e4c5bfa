//! ApiVersions (KIP-35, KIP-511, KIP-584): what is served, which features there are and which are finalized.

use std::sync::Arc;

use ottla_metadata::{Feature, MetadataImage};
use ottla_wire::ErrorCode;
use ottla_wire::messages::api_versions_request::ApiVersionsRequest;
use ottla_wire::messages::api_versions_response::{
    ApiKey, ApiVersionsResponse, FinalizedFeature, SupportedFeature,
};

use super::call::{Call, Context};
use super::table::Api;
use crate::exchange::{ClientSoftware, ReplySlot};
use crate::node::Node;
use crate::process_identity::{self, ProcessIdentity};

pub(super) fn handle(node: &Arc<Node>, call: Call<ApiVersionsRequest>) {
    let (context, request, answer) = call.into_parts();
    if context.version() >= 3 {
        if !is_valid(&request.client_software_name) || !is_valid(&request.client_software_version) {
            let error_code = ErrorCode::InvalidRequest.code();
            return answer.reply(&ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() });
        }
        *context.connection.software.lock() =
            ClientSoftware { name: request.client_software_name, version: request.client_software_version };
    }
    let image = node.metadata.image();
    let mut response = ApiVersionsResponse {
        api_keys: api_keys(context.connection.is_controller_listener),
        supported_features: supported_features(context.version()),
        finalized_features_epoch: image.provenance.last_offset.value(),
        finalized_features: finalized_features(&image, node.metadata.kraft_version()),
        ..ApiVersionsResponse::default()
    };
    if process_identity::is_asked(&request.unknown_tagged_fields) {
        let (node, incarnation_id) = (node.identity.node_id, node.registration.incarnation_id);
        ProcessIdentity { node, incarnation_id }.tell(&mut response.unknown_tagged_fields);
    }
    answer.reply(&response);
}

/// A version that is not served is answered in version 0, with the range of this API alone (KIP-511).
pub(super) fn refuse_version(_: &Arc<Node>, mut context: Context, slot: ReplySlot) {
    let on_controller = context.connection.is_controller_listener;
    context.header.api_version = 0;
    let own = api_keys(on_controller)
        .into_iter()
        .filter(|api| api.api_key == ottla_wire::ApiKey::ApiVersions.code());
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own.collect(),
        ..ApiVersionsResponse::default()
    };
    Call::new(context, ApiVersionsRequest::default(), slot).reply(&response);
}

fn api_keys(on_controller: bool) -> Vec<ApiKey> {
    Api::all()
        .filter_map(|api| {
            let versions = api.advertised(on_controller)?;
            Some(ApiKey {
                api_key: api.key.code(),
                min_version: versions.min,
                max_version: versions.max,
                ..ApiKey::default()
            })
        })
        .collect()
}

/// Before version 4 a client can't take a minimum of 0 (KAFKA-17011): features that have one are left out.
fn supported_features(version: i16) -> Vec<SupportedFeature> {
    Feature::all()
        .filter(|facts| version >= 4 || facts.min_level > 0)
        .map(|facts| SupportedFeature {
            name: facts.name.to_owned(),
            min_version: facts.min_level,
            max_version: facts.max_level,
            ..SupportedFeature::default()
        })
        .collect()
}

/// Level 0 is the same as not finalized, and left out.
fn finalized_features(image: &MetadataImage, kraft_version: i16) -> Vec<FinalizedFeature> {
    let kraft_version = (kraft_version > 0).then_some((Feature::KRaftVersion.name(), kraft_version));
    image
        .features
        .finalized()
        .chain(kraft_version)
        .map(|(name, level)| FinalizedFeature {
            name: name.to_owned(),
            max_version_level: level,
            min_version_level: level,
            ..FinalizedFeature::default()
        })
        .collect()
}

/// Letters and digits, and `-` and `.` between them (KIP-511).
fn is_valid(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.iter().all(|b| inner(*b)) && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quorum_s_own_level_is_among_the_finalized_ones() {
        let image = MetadataImage::default();
        let levels = |kraft_version| {
            let finalized = finalized_features(&image, kraft_version);
            finalized
                .into_iter()
                .map(|f| (f.name, f.min_version_level, f.max_version_level))
                .collect::<Vec<_>>()
        };
        assert_eq!(levels(0), []);
        assert_eq!(levels(1), [("kraft.version".to_owned(), 1, 1)]);
    }

    #[test]
    fn software_names_are_checked_as_kafka_does() {
        for good in ["librdkafka", "apache-kafka-java", "4.3.1", "a", "v2.3.0-RC1"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a_b", "ä"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn old_clients_are_spared_minimum_levels_of_zero() {
        assert!(supported_features(3).iter().all(|feature| feature.min_version > 0));
        assert_eq!(supported_features(4).len(), Feature::all().count());
    }
}
