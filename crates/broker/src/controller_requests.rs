//! Requests that the active controller answers, with a limit on how long that may take.

use std::sync::Arc;

use ottla_controller::{Controller, Outcome};
use ottla_types::{MonoMs, Now};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::node::Node;

impl Node {
    /// Has the active controller run `operation`, and calls `done` once: with the response when its records are
    /// committed and published here, or with the code that says why there is none. That is REQUEST_TIMED_OUT from `due`
    /// on, after which an operation that has not run does not run any more. It runs again where a controller has lost the
    /// leadership before what it did was committed.
    pub(crate) fn ask_controller<R: Send + 'static>(
        self: &Arc<Self>,
        due: MonoMs,
        operation: impl Fn(&mut Controller, Now) -> Outcome<R> + Send + 'static,
        done: impl FnOnce(Result<R, ErrorCode>) + Send + 'static,
    ) {
        let waiting = Arc::new(Mutex::new(Some(done)));
        let deadline = (due != MonoMs::NEVER).then(|| {
            let waiting = Arc::clone(&waiting);
            let id = self.deadlines.add(due, move || {
                let done = waiting.lock().take();
                if let Some(done) = done {
                    done(Err(ErrorCode::RequestTimedOut));
                }
            });
            (self.hooks.wake_at)(due);
            id
        });
        let (node, asked) = (Arc::clone(self), Arc::clone(&waiting));
        self.controller.submit(
            move |controller, now| {
                if asked.lock().is_none() {
                    return Outcome::answer(None);
                }
                operation(controller, now).map(Some)
            },
            move |result| {
                if let Some(id) = deadline {
                    node.deadlines.call_off(id);
                }
                let done = waiting.lock().take();
                let response = result.and_then(|response| response.ok_or(ErrorCode::RequestTimedOut));
                if let Some(done) = done {
                    done(response);
                }
            },
        );
    }
}
