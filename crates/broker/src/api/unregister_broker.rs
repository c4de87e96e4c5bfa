//! UnregisterBroker (KIP-631).

use std::sync::Arc;

use ottla_types::MonoMs;
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_wire::messages::unregister_broker_response::UnregisterBrokerResponse;

use super::call::Call;
use super::forward::{fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<UnregisterBrokerRequest>) {
    forward(
        node,
        call,
        MonoMs::NEVER,
        |controller, request, _| controller.unregister_broker(request),
        |_, code| {
            let (error_code, error_message) = fields(code);
            UnregisterBrokerResponse { error_code, error_message, ..UnregisterBrokerResponse::default() }
        },
    );
}
