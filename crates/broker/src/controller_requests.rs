//! Requests that the active controller answers, with a limit on how long that may take.

use std::sync::Arc;

use ottla_config::keys;
use ottla_controller::{Controller, Outcome};
use ottla_types::{MonoMs, Now};
use ottla_wire::{ErrorCode, Request};
use parking_lot::Mutex;

use crate::controller_channel::{ControllerRequest, Operation, Way};
use crate::node::Node;

impl Node {
    /// Has the active controller do what `request` says, and calls `done` once: with the response when its records are
    /// committed, or with the code that says why there is none. That is REQUEST_TIMED_OUT from `due` on, after which what has
    /// not run does not run any more. It runs again where a controller has lost the leadership before what it did was
    /// committed.
    ///
    /// Where the controller is on this node, `operation` is what it does, and its records are published here as well.
    pub(crate) fn ask_controller<R: Request>(
        self: &Arc<Self>,
        due: MonoMs,
        way: Way<R>,
        request: R,
        operation: impl Fn(&mut Controller, &R, Now) -> Outcome<R::Response> + Send + 'static,
        done: impl FnOnce(Result<R::Response, ErrorCode>) + Send + 'static,
    ) {
        let waiting = Arc::new(Mutex::new(None));
        let deadline = (due != MonoMs::NEVER).then(|| {
            let waiting = Arc::clone(&waiting);
            let id = self.deadlines.add(due, move |_| {
                let done: Option<Box<dyn FnOnce(_) + Send>> = waiting.lock().take();
                if let Some(done) = done {
                    done(Err(ErrorCode::RequestTimedOut));
                }
            });
            (self.hooks.wake_at)(due);
            id
        });
        let node = Arc::clone(self);
        *waiting.lock() = Some(Box::new(move |result| {
            if let Some(id) = deadline {
                node.deadlines.call_off(id);
            }
            done(result);
        }) as Box<dyn FnOnce(_) + Send>);
        self.controller.submit(Box::new(Operation { request, way, operation, due, waiting }));
    }

    /// What this node asks of the active controller for itself, as [`Node::ask_controller`].
    pub(crate) fn ask_active_controller<R: ControllerRequest>(
        self: &Arc<Self>,
        request: R,
        due: MonoMs,
        done: impl FnOnce(Result<R::Response, ErrorCode>) + Send + 'static,
    ) {
        let way = Way::Own { channel: R::CHANNEL, is_elsewhere: R::is_elsewhere };
        self.ask_controller(
            due,
            way,
            request,
            |controller: &mut Controller, request: &R, now: Now| R::run(controller, request, now),
            done,
        );
    }

    /// When what this node asks for itself is too late: after `request.timeout.ms`.
    pub(crate) fn controller_due(&self, now: Now) -> MonoMs {
        now.mono.plus_ms(i64::from(self.config.get(keys::REQUEST_TIMEOUT_MS)))
    }
}
