use std::fmt;

use ottla_wire::ErrorCode;

type Answer<R> = Box<dyn FnOnce(Result<R, ErrorCode>) + Send>;

/// The one who waits for a response. It is answered exactly once: one that is dropped unanswered (its shard was
/// unloaded, its member forgotten) answers NOT_COORDINATOR, so that no request is ever left hanging.
pub struct Responder<R>(Option<Answer<R>>);

impl<R> Responder<R> {
    /// `answer` gets the response, or the error that kept it from being made or from being committed.
    pub fn new(answer: impl FnOnce(Result<R, ErrorCode>) + Send + 'static) -> Responder<R> {
        Responder(Some(Box::new(answer)))
    }

    pub fn answer(mut self, result: Result<R, ErrorCode>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl<R> Drop for Responder<R> {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(ErrorCode::NotCoordinator));
        }
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// A response that is ready and waits for the records before it to be committed.
pub(crate) struct Reply(Box<dyn FnOnce(Result<(), ErrorCode>) + Send>);

impl Reply {
    pub(crate) fn new<R: Send + 'static>(responder: Responder<R>, response: R) -> Reply {
        Reply(Box::new(move |committed| responder.answer(committed.map(|()| response))))
    }

    pub(crate) fn release(self, committed: Result<(), ErrorCode>) {
        (self.0)(committed);
    }
}
