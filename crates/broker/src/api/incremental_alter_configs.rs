//! IncrementalAlterConfigs (KIP-339).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::incremental_alter_configs_request::{IncrementalAlterConfigsRequest, Resource};
use ottla_wire::messages::incremental_alter_configs_response::{IncrementalAlterConfigsResponse, Response};

use super::call::Call;
use super::config_changes::{Judged, Wanted, change_loggers, complete, judge};
use super::forward;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<IncrementalAlterConfigsRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let wanted: Vec<Wanted<'_>> = request.resources.iter().map(wanted).collect();
    let mut judged = judge(node, &context, &wanted);
    if !request.validate_only {
        change_loggers(node, &wanted, &judged);
    }
    let mut open = judged.iter().map(Judged::is_open);
    request.resources.retain(|_| open.next() == Some(true));
    if request.resources.is_empty() {
        return answer.reply(&response(&judged));
    }
    node.ask_controller(
        forward::default_due(node, &context),
        forward::way(&context),
        request,
        |controller, request, _| controller.incremental_alter_configs(request),
        move |result| {
            if result.as_ref().is_err_and(|code| *code == ErrorCode::NotController) {
                answer.mark_elsewhere();
            }
            let answers = result.map(|answered| {
                let responses = answered.responses.into_iter();
                responses.map(|r| (r.resource_type, r.resource_name, r.error_code, r.error_message)).collect()
            });
            complete(&mut judged, answers);
            answer.reply(&response(&judged));
        },
    );
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
