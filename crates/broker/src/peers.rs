//! Requests to other nodes of the cluster: what is sent, on which conversation, and what becomes of it.
//!
//! The node says whom it asks what; [`Peers`] has the connections. A request is typed where it is made and where its answer
//! is taken; in between it is a [`PeerRequest`], whose version is chosen when it is known what the other side serves.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{MonoMs, NodeId, Now};
use ottla_wire::{ApiKey, ErrorCode, Request, VersionRange, decode_response, encode_request};
use thiserror::Error;

use crate::metadata_cache::alive_endpoint;
use crate::node::Node;

/// A conversation with a node. Requests of one leave in order and are answered in order; one that waits at the other side
/// holds up those of its own conversation alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Of the metadata quorum's replicas.
    Quorum,
    /// A broker's life with the controller.
    Heartbeat,
    /// What a node asks of the active controller for itself.
    Controller,
    /// What clients ask of the active controller through a broker.
    Forwarding,
    /// A follower's fetches; their number spreads partitions.
    Fetcher(u32),
    /// Whether a broker's process lives.
    Probe,
    /// What coordinators and leaders of partitions have to tell one another.
    Coordinator,
}

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// Negative for a bootstrap server of the quorum, whose id is not known.
    pub node: NodeId,
    pub host: String,
    pub port: u16,
    pub is_controller_listener: bool,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({}:{})", self.node, self.host, self.port)
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    #[error("there is no connection: {0}")]
    Disconnected(String),
    #[error("nobody listens there: {0}")]
    Refused(String),
    #[error("there was no answer in time")]
    TimedOut,
    #[error("the node serves no version of it that can be sent")]
    UnsupportedVersion,
    #[error("the answer can't be read: {0}")]
    Malformed(String),
    #[error("too many requests wait for this node already")]
    Overloaded,
}

/// The way to other nodes.
pub trait Peers: fmt::Debug + Send + Sync {
    /// Sends the request and has it hear once what became of it: an answer, or why there is none. Never waits, and never
    /// tells anything before it has returned. What can't be sent now fails at once: the sender decides when to try again.
    fn send(&self, to: &PeerAddress, channel: Channel, request: PeerRequest);
}

/// Of a node without a network: whoever sends hears at once that there is nobody, at no time that is known.
#[derive(Clone, Copy, Debug)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn send(&self, _: &PeerAddress, _: Channel, request: PeerRequest) {
        request.failed(PeerError::Disconnected("this node has no network".to_owned()), Now::default());
    }
}

/// What an answer may be long at most, if its request does not say otherwise.
const ANSWER_BYTES_MAX: usize = 100 * 1024 * 1024;

/// An answer, in the version in which it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerAnswer<T> {
    pub response: T,
    pub version: i16,
}

/// A request on its way, and who waits for the answer. Whoever has it ends it with [`PeerRequest::answered`] or
/// [`PeerRequest::failed`].
pub struct PeerRequest {
    /// From when it is sent until it has failed.
    pub timeout_ms: i64,
    /// A longer answer ends the connection.
    pub answer_bytes_max: usize,
    exchange: Box<dyn Exchange>,
}

trait Exchange: Send {
    fn api_key(&self) -> ApiKey;
    fn versions(&self) -> VersionRange;
    fn encode(&mut self, correlation_id: i32, client_id: &str, version: i16) -> Result<Bytes, PeerError>;
    fn answered(self: Box<Self>, frame: Bytes, now: Now);
    fn failed(self: Box<Self>, error: PeerError, now: Now);
}

struct Typed<R, M, D> {
    versions: VersionRange,
    make: Option<M>,
    version: i16,
    done: D,
    request: PhantomData<fn() -> R>,
}

impl<R, M, D> Exchange for Typed<R, M, D>
where
    R: Request,
    M: FnOnce(i16) -> R + Send,
    D: FnOnce(Result<PeerAnswer<R::Response>, PeerError>, Now) + Send,
{
    fn api_key(&self) -> ApiKey {
        R::API_KEY
    }

    fn versions(&self) -> VersionRange {
        self.versions
    }

    fn encode(&mut self, correlation_id: i32, client_id: &str, version: i16) -> Result<Bytes, PeerError> {
        let make = self.make.take().ok_or(PeerError::UnsupportedVersion)?;
        self.version = version;
        let frame = encode_request(correlation_id, Some(client_id), &make(version), version);
        match frame {
            Ok(frame) => Ok(frame.bytes),
            Err(error) => {
                tracing::error!(api = R::API_KEY.name(), %error, "a request could not be encoded");
                Err(PeerError::UnsupportedVersion)
            }
        }
    }

    fn answered(self: Box<Self>, frame: Bytes, now: Now) {
        let version = self.version;
        let answer = decode_response::<R::Response>(frame, version);
        let answer = answer.map(|(_, response)| PeerAnswer { response, version });
        (self.done)(answer.map_err(|error| PeerError::Malformed(error.to_string())), now);
    }

    fn failed(self: Box<Self>, error: PeerError, now: Now) {
        (self.done)(Err(error), now);
    }
}

impl PeerRequest {
    /// In the newest version that both sides have.
    pub fn new<R: Request>(
        request: R,
        timeout_ms: i64,
        done: impl FnOnce(Result<PeerAnswer<R::Response>, PeerError>, Now) + Send + 'static,
    ) -> PeerRequest {
        PeerRequest::by_version(sent_versions(R::API_KEY), move |_| request, timeout_ms, done)
    }

    /// In the newest of `versions` that the other side has; `make` hears which.
    pub fn by_version<R: Request>(
        versions: VersionRange,
        make: impl FnOnce(i16) -> R + Send + 'static,
        timeout_ms: i64,
        done: impl FnOnce(Result<PeerAnswer<R::Response>, PeerError>, Now) + Send + 'static,
    ) -> PeerRequest {
        let exchange = Typed { versions, make: Some(make), version: 0, done, request: PhantomData };
        PeerRequest { timeout_ms, answer_bytes_max: ANSWER_BYTES_MAX, exchange: Box::new(exchange) }
    }

    pub fn api_key(&self) -> ApiKey {
        self.exchange.api_key()
    }

    /// The version to send to a node that serves these; none if there is none.
    pub fn choose_version(&self, served: Option<VersionRange>) -> Option<i16> {
        let own = self.exchange.versions();
        let newest = own.max.min(served?.max);
        (newest >= own.min.max(served?.min)).then_some(newest)
    }

    /// The frame, its length in front. To be called once.
    pub fn encode(&mut self, correlation_id: i32, client_id: &str, version: i16) -> Result<Bytes, PeerError> {
        self.exchange.encode(correlation_id, client_id, version)
    }

    /// Takes the response's frame, without its length.
    pub fn answered(self, frame: Bytes, now: Now) {
        self.exchange.answered(frame, now);
    }

    pub fn failed(self, error: PeerError, now: Now) {
        self.exchange.failed(error, now);
    }
}

impl fmt::Debug for PeerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRequest").field("api", &self.api_key()).finish_non_exhaustive()
    }
}

/// What is made of a broker that has not answered.
pub(crate) fn code_of_failure(error: PeerError) -> ErrorCode {
    match error {
        PeerError::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        PeerError::Malformed(_) => ErrorCode::UnknownServerError,
        PeerError::Disconnected(_) | PeerError::Refused(_) | PeerError::TimedOut | PeerError::Overloaded => {
            ErrorCode::NetworkException
        }
    }
}

/// What is stable of an API, on either kind of listener.
pub(crate) fn sent_versions(api: ApiKey) -> VersionRange {
    let facts = api.facts();
    let advertised = [facts.broker_versions, facts.controller_versions].into_iter().flatten();
    let all = advertised.reduce(|a, b| VersionRange::new(a.min.min(b.min), a.max.max(b.max)));
    let schema = facts.schema_versions.unwrap_or(VersionRange::new(0, 0));
    let all = all.unwrap_or(schema);
    VersionRange::new(all.min.max(schema.min), all.max.min(schema.max))
}

impl Node {
    /// Asks another broker over the listener that brokers use among each other. One that is fenced or not known can't be
    /// reached.
    pub(crate) fn send_to_broker(self: &Arc<Self>, broker: NodeId, channel: Channel, request: PeerRequest) {
        match self.broker_address(broker) {
            Some(address) => self.hooks.peers.send(&address, channel, request),
            None => {
                let why = PeerError::Disconnected(format!("broker {broker} is not known or fenced"));
                self.deadlines.add(MonoMs(0), move |now| request.failed(why, now));
                (self.hooks.wake_at)(MonoMs(0));
            }
        }
    }

    fn broker_address(&self, broker: NodeId) -> Option<PeerAddress> {
        let listener = self.config.inter_broker_listener_name();
        let endpoint = alive_endpoint(&self.metadata.image(), broker, &listener)?;
        Some(PeerAddress {
            node: broker,
            host: endpoint.host,
            port: endpoint.port,
            is_controller_listener: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use ottla_wire::messages::{
        ApiVersionsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse, VoteRequest,
    };
    use ottla_wire::{Decoder, FRAME_LENGTH_BYTES, decode_request_header, encode_response};

    use super::*;

    #[test]
    fn the_newest_version_of_both_sides_is_chosen() {
        let range = |min, max| Some(VersionRange::new(min, max));
        let check = |own: (i16, i16), served, expected| {
            let request = PeerRequest::by_version(
                VersionRange::new(own.0, own.1),
                |_| VoteRequest::default(),
                1,
                |_, _| {},
            );
            assert_eq!(request.choose_version(served), expected, "{own:?} {served:?}");
        };
        check((0, 2), range(0, 1), Some(1));
        check((0, 2), range(1, 5), Some(2));
        check((2, 2), range(0, 1), None);
        check((0, 1), range(2, 3), None);
        check((0, 1), None, None);
    }

    #[test]
    fn an_answer_comes_back_as_what_was_asked_for() {
        let (sender, answers) = mpsc::channel();
        let request = BrokerHeartbeatRequest { broker_id: 7, ..BrokerHeartbeatRequest::default() };
        let mut sent =
            PeerRequest::new(request, 1000, move |answer, _| sender.send(answer).expect("the test waits"));
        let frame = sent.encode(5, "node-7", 1).expect("it encodes");
        let mut d = Decoder::new(frame.slice(FRAME_LENGTH_BYTES..));
        let header = decode_request_header(&mut d).expect("it is whole");
        assert_eq!((header.correlation_id, header.api_version), (5, 1));
        let response = BrokerHeartbeatResponse { is_fenced: true, ..BrokerHeartbeatResponse::default() };
        let answer = encode_response(5, &response, 1).expect("it encodes");
        sent.answered(answer.bytes.slice(FRAME_LENGTH_BYTES..), Now::default());
        assert_eq!(answers.recv().expect("it was told"), Ok(PeerAnswer { response, version: 1 }));
    }

    #[test]
    fn an_answer_to_something_else_is_malformed() {
        let (sender, answers) = mpsc::channel();
        let mut sent = PeerRequest::new(BrokerHeartbeatRequest::default(), 1000, move |answer, _| {
            sender.send(answer).expect("the test waits");
        });
        sent.encode(5, "node-7", 1).expect("it encodes");
        let other = encode_response(5, &ApiVersionsResponse::default(), 0).expect("it encodes");
        sent.answered(other.bytes.slice(FRAME_LENGTH_BYTES..), Now::default());
        assert!(matches!(answers.recv().expect("it was told"), Err(PeerError::Malformed(_))));
    }
}
