//! What the handlers of groups have in common.

use std::sync::Arc;

use ottla_config::keys;
use ottla_coordinator::group::RequestContext;
use ottla_metadata::Feature;

use super::call::Context;
use crate::node::Node;

/// All that can be done to a group, a bit for each operation's code: read (3), delete (6), describe (8), describe configs
/// (10), alter configs (11).
pub(super) const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Whether `group.version` and `group.coordinator.rebalance.protocols` let consumer groups be.
pub(super) fn serves_consumer_groups(node: &Node) -> bool {
    let is_configured =
        node.config.get(keys::GROUP_COORDINATOR_REBALANCE_PROTOCOLS).iter().any(|name| name == "consumer");
    is_configured && node.metadata.image().features.level(Feature::GroupVersion) > 0
}

/// A request's context as coordinators take it.
pub(super) fn request_context(node: &Node, context: &Context) -> RequestContext {
    RequestContext {
        api_version: context.version(),
        client_id: context.client_id().to_owned(),
        client_host: Arc::clone(&context.connection.host),
        now: context.now,
        fresh_id: node.ids.uuid(),
    }
}
