//! What brokers and controllers ask of the active controller for themselves (KIP-497, 631, 730, 858, 919). Any other controller
//! says that it is not the one.

use std::sync::Arc;

use super::call::Call;
use super::forward::{default_due, forward};
use crate::controller_channel::ControllerRequest;
use crate::node::Node;

pub(super) fn handle<R: ControllerRequest>(node: &Arc<Node>, call: Call<R>) {
    let due = default_due(node, &call.context);
    forward(node, call, due, |controller, request, now| R::run(controller, request, now), R::refused);
}
