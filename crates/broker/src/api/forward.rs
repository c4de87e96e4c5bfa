//! Handlers whose answer is the active controller's.

use std::sync::Arc;

use ottla_config::keys;
use ottla_controller::{Controller, Outcome};
use ottla_types::{MonoMs, Now};
use ottla_wire::{ErrorCode, Request};

use super::call::{Call, Context};
use crate::controller_channel::{Forwarded, Way};
use crate::node::Node;

/// Has the controller do what the request says. `refuse` makes the answer where the controller gives none.
pub(super) fn forward<R>(
    node: &Arc<Node>,
    call: Call<R>,
    due: MonoMs,
    operation: impl Fn(&mut Controller, &R, Now) -> Outcome<R::Response> + Send + 'static,
    refuse: impl FnOnce(&R, ErrorCode) -> R::Response + Send + 'static,
) where
    R: Request,
{
    let (context, request, answer) = call.into_parts();
    let asked = request.clone();
    node.ask_controller(due, way(&context), request, operation, move |result| match result {
        Ok(response) => answer.reply(&response),
        Err(code) => {
            if code == ErrorCode::NotController {
                answer.mark_elsewhere();
            }
            answer.reply(&refuse(&asked, code));
        }
    });
}

/// A broker passes on what a client asks of the controller; a controller answers for itself.
pub(super) fn way<R: Request>(context: &Context) -> Way<R> {
    if context.connection.is_controller_listener {
        return Way::Here;
    }
    Way::Envelope(Forwarded { header: context.header.clone(), peer: context.connection.peer })
}

/// When a request that may take `timeout_ms` is too late. A negative time is none at all.
pub(super) fn due(context: &Context, timeout_ms: i32) -> MonoMs {
    context.now.mono.plus_ms(timeout_ms.max(0).into())
}

/// When a request is too late that doesn't say how long it may take: what goes from broker to controller ends after
/// `request.timeout.ms`.
pub(super) fn default_due(node: &Node, context: &Context) -> MonoMs {
    due(context, node.config.get(keys::REQUEST_TIMEOUT_MS))
}

/// Code and words for a request that the controller did not answer.
pub(super) fn fields(code: ErrorCode) -> (i16, Option<String>) {
    (code.code(), Some(code.description().to_owned()))
}
