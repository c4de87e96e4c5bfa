//! AlterConfigs (KIP-133): what a request says of a resource replaces all that is set for it.

use std::sync::Arc;

use ottla_wire::messages::alter_configs_request::{AlterConfigsRequest, Resource};
use ottla_wire::messages::alter_configs_response::{AlterConfigsResponse, Response};

use super::call::Call;
use super::config_changes::{ChangesConfigs, Judged, OfController, Wanted, change};
use crate::node::Node;

/// The number that IncrementalAlterConfigs has for it.
const SET: i8 = 0;

pub(super) fn handle(node: &Arc<Node>, call: Call<AlterConfigsRequest>) {
    change(node, call, |controller, request, _| controller.alter_configs(request));
}

impl ChangesConfigs for AlterConfigsRequest {
    fn wanted(&self) -> Vec<Wanted<'_>> {
        self.resources.iter().map(wanted).collect()
    }

    fn validates_only(&self) -> bool {
        self.validate_only
    }

    fn retain(&mut self, mut keep: impl FnMut() -> bool) {
        self.resources.retain(|_| keep());
    }

    fn outcomes(response: AlterConfigsResponse) -> Vec<OfController> {
        let responses = response.responses.into_iter();
        responses.map(|r| (r.resource_type, r.resource_name, r.error_code, r.error_message)).collect()
    }

    fn response(judged: &[Judged]) -> AlterConfigsResponse {
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
        AlterConfigsResponse { responses: judged.iter().map(of).collect(), ..AlterConfigsResponse::default() }
    }
}

fn wanted(resource: &Resource) -> Wanted<'_> {
    let keys = resource.configs.iter();
    Wanted {
        resource_type: resource.resource_type,
        resource_name: &resource.resource_name,
        keys: keys.map(|config| (config.name.as_str(), SET, config.value.as_deref())).collect(),
        replaces: true,
    }
}
