//! UpdateFeatures (KIP-584, KIP-778).

use std::sync::Arc;

use ottla_wire::messages::update_features_request::UpdateFeaturesRequest;
use ottla_wire::messages::update_features_response::UpdateFeaturesResponse;

use super::call::Call;
use super::forward::{due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<UpdateFeaturesRequest>) {
    let due = due(&call.context, call.request.timeout_ms);
    let version = call.context.version();
    forward(
        node,
        call,
        due,
        move |controller, request, _| controller.update_features(request, version),
        |_, code| {
            let (error_code, error_message) = fields(code);
            UpdateFeaturesResponse { error_code, error_message, ..UpdateFeaturesResponse::default() }
        },
    );
}
