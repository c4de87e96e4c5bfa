//! What passes between a connection and the node: request frames in, response frames out.
//!
//! The node never sees a socket and the network never sees a message. Every [`ReplySlot`] is answered exactly once:
//! one that is dropped unanswered closes its connection, so that no client waits for an answer that was lost.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_log::disk::DiskFile;
use ottla_types::Now;
use parking_lot::Mutex;

/// Serves requests. The node is one; tests have others.
pub trait Handler: Send + Sync + 'static {
    /// Takes one request frame (without its length) and answers through `reply`, at once or later, from any thread.
    fn handle(&self, connection: &Arc<Connection>, frame: Bytes, now: Now, reply: ReplySlot);

    /// The connection is gone; nothing that is still owed to it will be sent.
    fn closed(&self, connection: &Connection);
}

/// The API key of a request frame; none if it is too short to have one.
pub fn peek_api_key(frame: &[u8]) -> Option<i16> {
    frame.first_chunk().copied().map(i16::from_be_bytes)
}

/// Whether a connection's next request may be handled while an earlier one waits for its answer. Kafka handles one at
/// a time; produce requests may follow each other, since their order in the log is that of their arrival: one that can't
/// append at once says [`Connection::hold`].
pub fn may_take_while_unanswered(unanswered_api_key: i16, next_api_key: i16) -> bool {
    const PRODUCE: i16 = 0;
    unanswered_api_key == PRODUCE && next_api_key == PRODUCE
}

/// An address as Java prints one without a name: `/127.0.0.1`.
pub fn shown_host(peer: IpAddr) -> Arc<str> {
    Arc::from(format!("/{peer}"))
}

/// Who is asking: fixed for the life of a connection, but for what the client tells of itself.
#[derive(Debug)]
pub struct Connection {
    /// Unique within the process.
    pub id: u64,
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// Whether the listener is one of `controller.listener.names`.
    pub is_controller_listener: bool,
    pub peer: IpAddr,
    /// The peer as Kafka records and shows it: [`shown_host`].
    pub host: Arc<str>,
    /// What ApiVersions said of the client (KIP-511).
    pub software: Mutex<ClientSoftware>,
    pub held: Held,
}

impl Connection {
    /// No request is taken any more before all that were are answered: for a request that others must not overtake.
    /// Called while the request is being handled.
    pub fn hold(&self) {
        self.held.0.store(true, Ordering::Relaxed);
    }

    pub fn is_held(&self) -> bool {
        self.held.0.load(Ordering::Relaxed)
    }

    /// All requests are answered.
    pub fn release(&self) {
        self.held.0.store(false, Ordering::Relaxed);
    }
}

/// See [`Connection::hold`]. Set and read by the one thread at a time that serves the connection.
#[derive(Debug, Default)]
pub struct Held(AtomicBool);

/// A client's name and version (KIP-511); empty until it has told them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSoftware {
    pub name: String,
    pub version: String,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    Send(ResponseFrame),
    /// Produce with `acks=0` has no response.
    Nothing,
    /// The request breaks the protocol in a way that has no error code: the reason is logged, the connection closed.
    Close(String),
}

/// A whole response, its length in front: parts in the order in which they are sent.
#[derive(Debug, Default)]
pub struct ResponseFrame {
    pub parts: Vec<Part>,
}

/// A piece of a response.
#[derive(Clone, Debug)]
pub enum Part {
    Bytes(Bytes),
    File(FilePart),
}

/// Bytes that are sent from a file without passing through memory. They exist: the file is not truncated below
/// `position + len` while readers may hold this.
#[derive(Clone, Debug)]
pub struct FilePart {
    pub file: Arc<dyn DiskFile>,
    pub position: u64,
    pub len: u64,
}

/// Where replies of one connection arrive.
pub trait ReplySink: Send + Sync {
    /// `sequence` counts the requests of the connection; replies arrive in any order and leave in this one.
    fn reply(&self, sequence: u64, reply: Reply);

    /// The reply that follows says that this node is not the active controller.
    fn is_elsewhere(&self) {}
}

/// The right, and the duty, to answer one request.
pub struct ReplySlot {
    sink: Option<Arc<dyn ReplySink>>,
    sequence: u64,
}

impl ReplySlot {
    pub fn new(sink: Arc<dyn ReplySink>, sequence: u64) -> ReplySlot {
        ReplySlot { sink: Some(sink), sequence }
    }

    /// See [`ReplySink::is_elsewhere`].
    pub fn mark_elsewhere(&self) {
        if let Some(sink) = &self.sink {
            sink.is_elsewhere();
        }
    }

    pub fn send(mut self, reply: Reply) {
        if let Some(sink) = self.sink.take() {
            sink.reply(self.sequence, reply);
        }
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.reply(self.sequence, Reply::Close("the request was dropped without an answer".to_owned()));
        }
    }
}

impl fmt::Debug for ReplySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplySlot").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
