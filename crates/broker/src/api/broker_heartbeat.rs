//! BrokerHeartbeat (KIP-631). When the connection on which a broker's heartbeats come is gone, the broker may be.

use std::sync::Arc;

use ottla_types::NodeId;
use ottla_wire::messages::BrokerHeartbeatRequest;

use super::call::Call;
use super::for_controllers;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<BrokerHeartbeatRequest>) {
    let broker = NodeId(call.request.broker_id);
    node.probes.heartbeat_on(call.context.connection.id, broker);
    for_controllers::handle(node, call);
}
