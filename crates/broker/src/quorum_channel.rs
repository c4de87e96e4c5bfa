//! The way to the replica of the metadata quorum: what other nodes ask it, and what they answer it, goes in from any thread
//! and is taken where the quorum is driven.

use std::fmt;
use std::sync::Arc;

use ottla_raft::wire::{WireRequest, WireResponse, request_to_wire, response_from_wire};
use ottla_raft::{LeaderInfo, RaftError, Request, Response, VoteResponse};
use ottla_types::{LeaderEpoch, Now};
use ottla_wire::{ErrorCode, Request as WireMessage, VersionRange, messages as wire};
use parking_lot::Mutex;

use crate::peers::{PeerError, PeerRequest, sent_versions};

/// With so much waiting for the quorum's driver no more requests of others are taken: they are lost, as on a network. What this node has asked for
/// itself, and what it tells its driver, is bounded by what it asks.
const QUEUED_MAX: usize = 10_000;

/// Answers a request; its connection is closed if this is dropped.
pub(crate) type QuorumReply = Box<dyn FnOnce(Response) + Send>;

pub(crate) enum QuorumEvent {
    Request(Request, QuorumReply),
    /// None if there will be no answer.
    Response {
        correlation_id: u64,
        response: Option<Response>,
    },
    /// Nobody listens any more where the request should have gone.
    Refused {
        correlation_id: u64,
    },
    /// The node is to leave the quorum in order; it hears when it has, or when its time is over.
    Leave {
        timeout_ms: i64,
        done: Box<dyn FnOnce() + Send>,
    },
}

/// See the module.
pub(crate) struct QuorumChannel {
    events: Mutex<Vec<QuorumEvent>>,
    /// Called when the queue stops being empty.
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl QuorumChannel {
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> QuorumChannel {
        QuorumChannel { events: Mutex::default(), wake }
    }

    pub fn push(&self, event: QuorumEvent) {
        let mut events = self.events.lock();
        if events.len() >= QUEUED_MAX && matches!(event, QuorumEvent::Request(..)) {
            drop(events);
            tracing::warn!(QUEUED_MAX, "the quorum is not keeping up: a request was lost");
            return;
        }
        events.push(event);
        let is_first = events.len() == 1;
        drop(events);
        if is_first {
            (self.wake)();
        }
    }

    pub fn take(&self) -> Vec<QuorumEvent> {
        std::mem::take(&mut self.events.lock())
    }

    pub fn is_empty(&self) -> bool {
        self.events.lock().is_empty()
    }
}

impl fmt::Debug for QuorumChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumChannel").field("queued", &self.events.lock().len()).finish_non_exhaustive()
    }
}

/// A request of this replica as it goes to another node, on whose `listener` it will arrive. Its answer comes into
/// `channel` with the correlation id.
pub(crate) fn outgoing(
    correlation_id: u64,
    request: Request,
    listener: &str,
    timeout_ms: i64,
    channel: &Arc<QuorumChannel>,
) -> PeerRequest {
    let (channel, listener) = (Arc::clone(channel), listener.to_owned());
    let is_pre_vote = matches!(&request, Request::Vote(vote) if vote.pre_vote);
    let done = move |answer: Result<WireResponse, PeerError>| {
        let response = match answer {
            Ok(response) => response_from_wire(response, &listener),
            Err(PeerError::Refused(_)) => return channel.push(QuorumEvent::Refused { correlation_id }),
            Err(PeerError::UnsupportedVersion) if is_pre_vote => Some(unsupported_pre_vote()),
            Err(error) => {
                tracing::debug!(%error, "no answer of a replica of the quorum");
                None
            }
        };
        channel.push(QuorumEvent::Response { correlation_id, response });
    };
    match request {
        Request::Vote(_) => typed::<wire::VoteRequest>(request, timeout_ms, done),
        Request::BeginQuorumEpoch(_) => typed::<wire::BeginQuorumEpochRequest>(request, timeout_ms, done),
        Request::EndQuorumEpoch(_) => typed::<wire::EndQuorumEpochRequest>(request, timeout_ms, done),
        Request::Fetch(_) => typed::<wire::FetchRequest>(request, timeout_ms, done),
        Request::FetchSnapshot(_) => typed::<wire::FetchSnapshotRequest>(request, timeout_ms, done),
        Request::AddRaftVoter(_) => typed::<wire::AddRaftVoterRequest>(request, timeout_ms, done),
        Request::RemoveRaftVoter(_) => typed::<wire::RemoveRaftVoterRequest>(request, timeout_ms, done),
        Request::UpdateRaftVoter(_) => typed::<wire::UpdateRaftVoterRequest>(request, timeout_ms, done),
        Request::ApiVersions => typed::<wire::ApiVersionsRequest>(request, timeout_ms, done),
    }
}

/// A pre-vote that a voter does not know is answered as such: it can't object.
fn unsupported_pre_vote() -> Response {
    let leader =
        LeaderInfo { leader_id: None, epoch: LeaderEpoch(0), endpoints: ottla_raft::Endpoints::new() };
    Response::Vote(VoteResponse { error: Some(RaftError::UnsupportedVersion), leader, vote_granted: false })
}

fn typed<R: QuorumMessage>(
    request: Request,
    timeout_ms: i64,
    done: impl FnOnce(Result<WireResponse, PeerError>) + Send + 'static,
) -> PeerRequest {
    let served = sent_versions(R::API_KEY);
    let versions = VersionRange::new(served.min.max(request.min_version()), served.max);
    PeerRequest::by_version::<R>(
        versions,
        // What comes back is of the request's own kind.
        move |version| R::of(request_to_wire(request, version)).unwrap_or_default(),
        timeout_ms,
        move |answer, _: Now| done(answer.map(|answer| R::wrap_response(answer.response))),
    )
}

/// A request of the quorum's APIs as the wire has it.
pub(crate) trait QuorumMessage: WireMessage {
    fn of(request: WireRequest) -> Option<Self>;
    fn wrap(self) -> WireRequest;
    fn wrap_response(response: Self::Response) -> WireResponse;
    fn response_of(response: WireResponse) -> Option<Self::Response>;
    /// Whether it says that this replica does not lead, to whoever has passed the request on (KIP-590).
    fn is_elsewhere(response: &Self::Response) -> bool;
    const API: ottla_raft::wire::QuorumApi;
}

macro_rules! quorum_messages {
    ($($name:ident($request:ident)),*) => {$(
        impl QuorumMessage for wire::$request {
            const API: ottla_raft::wire::QuorumApi = ottla_raft::wire::QuorumApi::$name;

            fn of(request: WireRequest) -> Option<Self> {
                match request {
                    WireRequest::$name(request) => Some(request),
                    _ => None,
                }
            }

            fn wrap(self) -> WireRequest {
                WireRequest::$name(self)
            }

            fn wrap_response(response: Self::Response) -> WireResponse {
                WireResponse::$name(response)
            }

            fn response_of(response: WireResponse) -> Option<Self::Response> {
                match response {
                    WireResponse::$name(response) => Some(response),
                    _ => None,
                }
            }

            fn is_elsewhere(response: &Self::Response) -> bool {
                response.error_code == ErrorCode::NotLeaderOrFollower.code()
            }
        }
    )*};
}

quorum_messages! {
    Vote(VoteRequest),
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    EndQuorumEpoch(EndQuorumEpochRequest),
    Fetch(FetchRequest),
    FetchSnapshot(FetchSnapshotRequest),
    AddRaftVoter(AddRaftVoterRequest),
    RemoveRaftVoter(RemoveRaftVoterRequest),
    UpdateRaftVoter(UpdateRaftVoterRequest),
    ApiVersions(ApiVersionsRequest)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn requests_of_others_alone_are_lost_where_the_quorum_does_not_keep_up() {
        let channel = QuorumChannel::new(Arc::new(|| {}));
        let lost = Arc::new(AtomicUsize::new(0));
        let request = || {
            let guard = CountDrop(Arc::clone(&lost));
            QuorumEvent::Request(Request::ApiVersions, Box::new(move |_| drop(guard)))
        };
        (0..QUEUED_MAX).for_each(|_| channel.push(request()));
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        channel.push(request());
        assert_eq!(lost.load(Ordering::Relaxed), 1, "whoever waits hears of it");
        let has_left = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&has_left);
        let done = Box::new(move || {
            left.fetch_add(1, Ordering::Relaxed);
        });
        channel.push(QuorumEvent::Response { correlation_id: 1, response: None });
        channel.push(QuorumEvent::Refused { correlation_id: 2 });
        channel.push(QuorumEvent::Leave { timeout_ms: 1, done });
        let mut taken = channel.take().into_iter().skip(QUEUED_MAX);
        assert!(matches!(taken.next(), Some(QuorumEvent::Response { correlation_id: 1, .. })));
        assert!(matches!(taken.next(), Some(QuorumEvent::Refused { correlation_id: 2 })));
        let Some(QuorumEvent::Leave { done, .. }) = taken.next() else { panic!("it leaves all the same") };
        done();
        assert_eq!(has_left.load(Ordering::Relaxed), 1);
        channel.push(request());
        assert_eq!(channel.take().len(), 1, "there is room again");
    }

    struct CountDrop(Arc<AtomicUsize>);

    impl Drop for CountDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
