//! BrokerRegistration (KIP-631). Who is refused since a process with its id counts as alive is perhaps that broker's next process.

use std::sync::Arc;

use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::BrokerRegistrationRequest;

use super::call::Call;
use super::forward::{default_due, forward};
use crate::controller_channel::ControllerRequest;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<BrokerRegistrationRequest>) {
    let due = default_due(node, &call.context);
    let watch = Arc::clone(node);
    let register = move |controller: &mut _, request: &BrokerRegistrationRequest, now| {
        let outcome = BrokerRegistrationRequest::run(controller, request, now);
        if outcome.response.error_code == ErrorCode::DuplicateBrokerRegistration.code() {
            watch.doubt_broker(NodeId(request.broker_id));
        }
        outcome
    };
    forward(node, call, due, register, BrokerRegistrationRequest::refused);
}
