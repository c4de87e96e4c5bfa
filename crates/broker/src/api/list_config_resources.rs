//! ListConfigResources (KIP-1142; version 0 is KIP-714's, for client metrics alone).

use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::ResourceType;
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_wire::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use super::call::Call;
use super::describe_configs::BROKER_LOGGER;
use crate::metadata_cache::alive_endpoints;
use crate::node::Node;

const TOPIC: i8 = ResourceType::Topic as i8;
const BROKER: i8 = ResourceType::Broker as i8;
const CLIENT_METRICS: i8 = ResourceType::ClientMetrics as i8;
const GROUP: i8 = ResourceType::Group as i8;

/// In the order of the answer.
const LISTED: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];

pub(super) fn handle(node: &Arc<Node>, call: Call<ListConfigResourcesRequest>) {
    let listed: &[i8] = if call.context.version() == 0 { &[CLIENT_METRICS] } else { &LISTED };
    let asked = &call.request.resource_types;
    let mut response = ListConfigResourcesResponse::default();
    if asked.iter().all(|kind| listed.contains(kind)) {
        let image = node.metadata.image();
        let listener = &call.context.connection.listener;
        let kinds = listed.iter().filter(|kind| asked.is_empty() || asked.contains(kind));
        response.config_resources = kinds
            .flat_map(|kind| {
                names(&image, listener, *kind).into_iter().map(|resource_name| ConfigResource {
                    resource_name,
                    resource_type: *kind,
                    ..ConfigResource::default()
                })
            })
            .collect();
    } else {
        response.error_code = ErrorCode::UnsupportedVersion.code();
    }
    call.reply(&response);
}

/// Topics and brokers are listed whether or not anything is set for them.
fn names(image: &MetadataImage, listener: &str, kind: i8) -> Vec<String> {
    match kind {
        TOPIC => image.topics.iter().map(|topic| topic.name.to_string()).collect(),
        BROKER | BROKER_LOGGER => {
            alive_endpoints(image, listener).iter().map(|endpoint| endpoint.id.to_string()).collect()
        }
        _ => {
            let of_kind = image.configs.iter().filter(|(resource, _)| resource.kind as i8 == kind);
            let mut names: Vec<String> = of_kind.map(|(resource, _)| resource.name.to_string()).collect();
            names.sort_unstable();
            names
        }
    }
}
