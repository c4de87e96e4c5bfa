//! UnregisterBroker (KIP-631).

use std::sync::Arc;

use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_wire::messages::unregister_broker_response::UnregisterBrokerResponse;

use super::call::Call;
use super::forward::{default_due, fields, forward};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<UnregisterBrokerRequest>) {
    let due = default_due(node, &call.context);
    forward(
        node,
        call,
        due,
        |controller, request, _| controller.unregister_broker(request),
        |_, code| {
            let (error_code, error_message) = fields(code);
            UnregisterBrokerResponse { error_code, error_message, ..UnregisterBrokerResponse::default() }
        },
    );
}
