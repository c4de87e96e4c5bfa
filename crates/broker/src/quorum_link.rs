//! Between the quorum's replica on this node and the others: what it sends goes to [`Peers`], what comes for it through its
//! [`QuorumChannel`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla_raft::{Outgoing, RaftDriverError, RaftError, Request, Response, VoterChangeResponse};
use ottla_types::Now;

use crate::peers::{Channel, PeerAddress, Peers};
use crate::quorum::Quorum;
use crate::quorum_channel::{QuorumChannel, QuorumEvent, QuorumReply, outgoing};

/// See the module.
pub struct QuorumLink {
    channel: Arc<QuorumChannel>,
    peers: Arc<dyn Peers>,
    /// On which controllers reach one another.
    listener: String,
    /// `controller.quorum.request.timeout.ms`
    timeout_ms: i64,
    /// What other nodes have asked, by the numbers that the replica knows it by.
    asked: BTreeMap<u64, QuorumReply>,
    next_asked: u64,
    /// Waits for this node to have left the quorum.
    leaving: Vec<Box<dyn FnOnce() + Send>>,
}

impl QuorumLink {
    pub(crate) fn new(
        channel: Arc<QuorumChannel>,
        peers: Arc<dyn Peers>,
        listener: String,
        timeout_ms: i64,
    ) -> QuorumLink {
        QuorumLink {
            channel,
            peers,
            listener,
            timeout_ms,
            asked: BTreeMap::new(),
            next_asked: 0,
            leaving: Vec::new(),
        }
    }

    /// Whether nothing has come since the last [`QuorumLink::take`].
    pub(crate) fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }

    /// Hands over what has come from other nodes.
    pub(crate) fn take(&mut self, quorum: &mut Quorum, now: Now) -> Result<(), RaftDriverError> {
        for event in self.channel.take() {
            match event {
                QuorumEvent::Request(request, reply) if quorum.is_stalled() => {
                    quorum.overhear(&request);
                    stand_still(&request, reply);
                }
                QuorumEvent::Request(request, reply) => {
                    self.next_asked += 1;
                    self.asked.insert(self.next_asked, reply);
                    quorum.handle_request(self.next_asked, request, now)?;
                }
                QuorumEvent::Response { correlation_id, response } => {
                    quorum.handle_response(correlation_id, response, now)?;
                }
                QuorumEvent::Refused { correlation_id } => quorum.handle_refusal(correlation_id, now)?,
                QuorumEvent::Leave { timeout_ms, done } => {
                    self.leaving.push(done);
                    quorum.shutdown(timeout_ms, now)?;
                }
            }
        }
        Ok(())
    }

    /// Sends what the replica has to say.
    pub(crate) fn send(&mut self, quorum: &mut Quorum) {
        for sent in quorum.take_outgoing() {
            match sent {
                Outgoing::Reply { id, response } => {
                    if let Some(reply) = self.asked.remove(&id) {
                        reply(response);
                    }
                }
                Outgoing::NoReply { id } => drop(self.asked.remove(&id)),
                Outgoing::Request { correlation_id, to, request } => {
                    let address = PeerAddress {
                        node: to.id,
                        host: to.address.host,
                        port: to.address.port,
                        is_controller_listener: true,
                    };
                    let request =
                        outgoing(correlation_id, request, &self.listener, self.timeout_ms, &self.channel);
                    self.peers.send(&address, Channel::Quorum, request);
                }
            }
        }
        if quorum.shutdown_complete().is_some() {
            self.tell_left();
        }
    }

    /// Whoever waits for this node to have left the quorum waits no longer.
    pub(crate) fn tell_left(&mut self) {
        std::mem::take(&mut self.leaving).into_iter().for_each(|done| done());
    }
}

/// Nothing is answered before the disk has room, as if the network had lost it; but who asks for other voters, which nodes and
/// their operators do, can ask again.
fn stand_still(request: &Request, reply: QuorumReply) {
    let error = Some(RaftError::RequestTimedOut);
    let message = Some("the disk that the metadata are on has no room".to_owned());
    let refused = VoterChangeResponse { error, message };
    match request {
        Request::AddRaftVoter(_) => reply(Response::AddRaftVoter(refused)),
        Request::RemoveRaftVoter(_) => reply(Response::RemoveRaftVoter(refused)),
        _ => drop(reply),
    }
}

impl fmt::Debug for QuorumLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumLink").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}
