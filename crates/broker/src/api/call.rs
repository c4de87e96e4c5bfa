use std::marker::PhantomData;
use std::sync::Arc;

use ottla_log::FileSlice;
use ottla_types::Now;
use ottla_wire::{EncodeError, EncodedFrame, Request, RequestHeader, encode_response};

use crate::exchange::{Connection, FilePart, Part, Reply, ReplySlot, ResponseFrame};

/// Who asks, and how: everything about a request but its body.
#[derive(Clone, Debug)]
pub struct Context {
    pub connection: Arc<Connection>,
    pub header: RequestHeader,
    /// When the request was taken from its connection.
    pub now: Now,
}

impl Context {
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    pub fn client_id(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }
}

/// A decoded request that is to be answered once, by [`Call::reply`]. Dropping it closes the connection.
#[derive(Debug)]
pub struct Call<R: Request> {
    pub context: Context,
    pub request: R,
    answer: Answer<R>,
}

/// What answers a [`Call`] whose request has been taken out.
#[derive(Debug)]
pub struct Answer<R: Request> {
    slot: ReplySlot,
    correlation_id: i32,
    version: i16,
    request: PhantomData<fn(R)>,
}

impl<R: Request> Call<R> {
    pub(super) fn new(context: Context, request: R, slot: ReplySlot) -> Call<R> {
        let (correlation_id, version) = (context.header.correlation_id, context.header.api_version);
        Call { context, request, answer: Answer { slot, correlation_id, version, request: PhantomData } }
    }

    pub fn reply(self, response: &R::Response) {
        self.answer.reply(response);
    }

    /// What follows says that this node is not the active controller: who has passed the request on looks for another.
    pub fn mark_elsewhere(&self) {
        self.answer.mark_elsewhere();
    }

    /// For handlers that answer later.
    pub fn into_parts(self) -> (Context, R, Answer<R>) {
        (self.context, self.request, self.answer)
    }
}

impl<R: Request> Answer<R> {
    pub fn reply(self, response: &R::Response) {
        self.reply_with_files(response, &[]);
    }

    /// The response's records outside memory name these slices by their index.
    pub fn reply_with_files(self, response: &R::Response, files: &[FileSlice]) {
        let reply = match encode_response(self.correlation_id, response, self.version) {
            Ok(frame) => Reply::Send(ResponseFrame { parts: parts(frame, files) }),
            Err(error) => Reply::Close(unencodable::<R>(&error)),
        };
        self.slot.send(reply);
    }

    /// What follows says that this node is not the active controller: who has passed the request on looks for another.
    pub fn mark_elsewhere(&self) {
        self.slot.mark_elsewhere();
    }

    /// For requests that have no answer, such as a produce with `acks=0`.
    pub fn no_reply(self) {
        self.slot.send(Reply::Nothing);
    }

    /// Ends the connection: how a produce with `acks=0` tells of an error.
    pub fn close(self, reason: String) {
        self.slot.send(Reply::Close(reason));
    }
}

/// A handler filled in what the version can't carry: a fault of ours, and the client can't be told otherwise.
fn unencodable<R: Request>(error: &EncodeError) -> String {
    tracing::error!(api = R::API_KEY.name(), %error, "a response could not be encoded");
    format!("the response to {} could not be encoded: {error}", R::API_KEY.name())
}

fn parts(frame: EncodedFrame, files: &[FileSlice]) -> Vec<Part> {
    let mut bytes = frame.bytes;
    let mut parts = Vec::with_capacity(2 * frame.splices.len() + 1);
    let mut taken = 0;
    for splice in frame.splices {
        let before = bytes.split_to(splice.position.saturating_sub(taken).min(bytes.len()));
        taken += before.len();
        parts.push(Part::Bytes(before));
        let file = usize::try_from(splice.token).ok().and_then(|index| files.get(index));
        debug_assert!(file.is_some_and(|file| file.len == splice.len));
        if let Some(slice) = file {
            parts.push(Part::File(FilePart {
                file: Arc::clone(&slice.file),
                position: slice.position,
                len: u64::from(slice.len),
            }));
        }
    }
    parts.push(Part::Bytes(bytes));
    parts
}
