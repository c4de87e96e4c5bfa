//! What the handlers of groups have in common.

use ottla_coordinator::group::RequestContext;

use super::call::Context;
use crate::node::Node;

/// A request's context as coordinators take it.
pub(super) fn request_context(node: &Node, context: &Context) -> RequestContext {
    RequestContext {
        api_version: context.version(),
        client_id: context.client_id().to_owned(),
        client_host: format!("/{}", context.connection.peer),
        now: context.now,
        fresh_id: node.ids.uuid(),
    }
}
