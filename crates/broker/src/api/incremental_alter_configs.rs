//! IncrementalAlterConfigs (KIP-339).

use std::sync::Arc;

use ottla_wire::messages::incremental_alter_configs_request::{IncrementalAlterConfigsRequest, Resource};
use ottla_wire::messages::incremental_alter_configs_response::{IncrementalAlterConfigsResponse, Response};

use super::call::Call;
use super::config_changes::{ChangesConfigs, Judged, OfController, Wanted, change};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<IncrementalAlterConfigsRequest>) {
    change(node, call, |controller, request, _| controller.incremental_alter_configs(request));
}

impl ChangesConfigs for IncrementalAlterConfigsRequest {
    fn wanted(&self) -> Vec<Wanted<'_>> {
        self.resources.iter().map(wanted).collect()
    }

    fn validates_only(&self) -> bool {
        self.validate_only
    }

    fn retain(&mut self, mut keep: impl FnMut() -> bool) {
        self.resources.retain(|_| keep());
    }

    fn outcomes(response: IncrementalAlterConfigsResponse) -> Vec<OfController> {
        let responses = response.responses.into_iter();
        responses.map(|r| (r.resource_type, r.resource_name, r.error_code, r.error_message)).collect()
    }

    fn response(judged: &[Judged]) -> IncrementalAlterConfigsResponse {
        let of = |resource: &Judged| {
            let (error_code, error_message) = resource.error();
            Response {
                error_code,
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                ..Response::default()
            }
        };
        IncrementalAlterConfigsResponse {
            responses: judged.iter().map(of).collect(),
            ..IncrementalAlterConfigsResponse::default()
        }
    }
}

fn wanted(resource: &Resource) -> Wanted<'_> {
    let keys = resource.configs.iter();
    Wanted {
        resource_type: resource.resource_type,
        resource_name: &resource.resource_name,
        keys: keys
            .map(|config| (config.name.as_str(), config.config_operation, config.value.as_deref()))
            .collect(),
        replaces: false,
    }
}
