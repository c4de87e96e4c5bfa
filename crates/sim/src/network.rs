//! Connections between clients and the node: requests and answers take time, and are lost with their connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::exchange::{
    Connection, Reply, ReplySink, ReplySlot, may_take_while_unanswered, peek_api_key,
};
use ottla_types::MonoMs;
use ottla_wire::{FRAME_LENGTH_BYTES, Request, Response, decode_response, encode_request};
use parking_lot::Mutex;

use crate::node::{SteppedNode, collect, connection};
use crate::rng::Rng;

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What a client hears.
#[derive(Debug)]
pub enum Heard {
    Answer {
        ticket: Ticket,
        body: Bytes,
    },
    /// What was under way is lost, or may be.
    Closed,
}

/// Decodes an answer.
pub fn decode<R: Response>(body: &Bytes, version: i16) -> R {
    decode_response(body.clone(), version).expect("the node's answers can be decoded").1
}

#[derive(Debug, Default)]
struct Sink(Mutex<BTreeMap<u64, Reply>>);

impl ReplySink for Sink {
    fn reply(&self, sequence: u64, reply: Reply) {
        assert!(self.0.lock().insert(sequence, reply).is_none(), "a request is answered once");
    }
}

#[derive(Debug)]
struct Open {
    connection: Arc<Connection>,
    sink: Arc<Sink>,
    /// Sent and not taken by the node yet.
    to_take: VecDeque<(MonoMs, u64, Bytes)>,
    /// Taken by the node and not answered.
    unanswered: VecDeque<(u64, i16)>,
    next_reply: u64,
}

/// One client's way to the node.
#[derive(Debug, Default)]
pub struct Link {
    name: String,
    open: Option<Open>,
    heard: VecDeque<(MonoMs, Heard)>,
    abandoned: Vec<Arc<Connection>>,
    sent: u64,
    /// Delays are at most this.
    latency_ms: u64,
    /// Set when a connection ends that the client has not ended.
    pub was_cut: bool,
    /// Why the node closed a connection, if it did.
    pub refusals: Vec<String>,
}

/// A connection that its client has given up, with what is on its way to the node still.
#[derive(Debug)]
pub struct Late(Open);

impl Late {
    /// The requests arrive; nobody hears of their answers.
    pub fn arrive(self, node: &SteppedNode) {
        let Late(open) = self;
        for (_, sequence, frame) in open.to_take {
            let slot = ReplySlot::new(Arc::clone(&open.sink) as Arc<dyn ReplySink>, sequence);
            node.deliver(&open.connection, frame, slot);
        }
        node.closed(&open.connection);
    }

    pub fn is_empty(&self) -> bool {
        self.0.to_take.is_empty()
    }
}

impl Link {
    pub fn new(name: String, latency_ms: u64) -> Link {
        Link { name, latency_ms, ..Link::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether answers are on their way.
    pub fn has_unanswered(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.unanswered.is_empty() || !open.to_take.is_empty())
            || !self.heard.is_empty()
    }

    /// Whether anything is on its way to the node.
    pub fn is_sending(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.to_take.is_empty())
    }

    pub fn connect(&mut self, connection_id: u64) {
        self.heard.clear();
        self.open = Some(Open {
            connection: connection(connection_id),
            sink: Arc::default(),
            to_take: VecDeque::new(),
            unanswered: VecDeque::new(),
            next_reply: self.sent,
        });
    }

    /// Sends a request on an open connection.
    pub fn send<R: Request>(&mut self, request: &R, version: i16, now: MonoMs, rng: &mut Rng) -> Ticket {
        let frame = encode_request(self.sent as i32, Some(&self.name), request, version)
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", R::API_KEY.name()));
        self.send_frame(frame.bytes.slice(FRAME_LENGTH_BYTES..), now, rng)
    }

    /// Sends a request as it is, without its length.
    pub fn send_frame(&mut self, frame: Bytes, now: MonoMs, rng: &mut Rng) -> Ticket {
        let sequence = self.sent;
        self.sent += 1;
        let delay = rng.between(0, self.latency_ms);
        if let Some(open) = &mut self.open {
            // What is sent later does not overtake.
            let due = open.to_take.back().map_or(now, |last| last.0.max(now)).plus_ms(delay as i64);
            open.to_take.push_back((due, sequence, frame));
        }
        Ticket(sequence)
    }

    /// The next request, for somebody who takes it further.
    pub fn take_over(&mut self, now: MonoMs) -> Option<(Ticket, Bytes)> {
        let open = self.open.as_mut()?;
        let (_, sequence, frame) = open.to_take.pop_front_if(|(due, ..)| *due <= now)?;
        Some((Ticket(sequence), frame))
    }

    /// Brings the answer to a request that was taken further.
    pub fn bring(&mut self, ticket: Ticket, body: Bytes, now: MonoMs) {
        self.heard.push_back((now, Heard::Answer { ticket, body }));
    }

    /// The client loses its connection; what it sent and the node did not take yet arrives there later.
    pub fn lose(&mut self, now: MonoMs) -> Option<Late> {
        let open = self.open.take()?;
        self.was_cut = true;
        self.heard.clear();
        self.heard.push_back((now, Heard::Closed));
        Some(Late(open))
    }

    /// What has come by now, one after the other.
    pub fn hear(&mut self, now: MonoMs) -> Option<Heard> {
        if self.heard.front()?.0 > now {
            return None;
        }
        self.heard.pop_front().map(|(_, heard)| heard)
    }

    /// Ends the connection from the client's side: it knows.
    pub fn close(&mut self, node: Option<&SteppedNode>) {
        if let (Some(open), Some(node)) = (self.open.take(), node) {
            node.closed(&open.connection);
        }
        self.heard.clear();
    }

    /// The client gives the connection up and opens another when it likes.
    pub fn abandon(&mut self) {
        self.heard.clear();
        self.abandoned.extend(self.open.take().map(|open| open.connection));
    }

    /// Tells the node of the connections that were given up.
    pub fn tell_abandoned(&mut self, node: &SteppedNode) {
        for connection in self.abandoned.drain(..) {
            node.closed(&connection);
        }
    }

    /// Ends the connection: what is under way, answers too, is lost. The client hears of it.
    pub fn cut(&mut self, node: Option<&SteppedNode>, now: MonoMs) {
        if self.open.is_some() {
            self.was_cut = true;
            self.close(node);
            self.heard.push_back((now, Heard::Closed));
        }
    }

    /// Hands requests that have arrived to the node, as far as it takes them.
    pub fn deliver(&mut self, node: &SteppedNode, now: MonoMs) {
        let Some(open) = &mut self.open else { return };
        while let Some((due, _, frame)) = open.to_take.front() {
            let api_key = peek_api_key(frame).expect("the frame is a request");
            let may_follow =
                open.unanswered.iter().all(|(_, before)| may_take_while_unanswered(*before, api_key));
            if *due > now || !may_follow {
                return;
            }
            let Some((_, sequence, frame)) = open.to_take.pop_front() else { return };
            open.unanswered.push_back((sequence, api_key));
            let slot = ReplySlot::new(Arc::clone(&open.sink) as Arc<dyn ReplySink>, sequence);
            node.deliver(&open.connection, frame, slot);
        }
    }

    /// Takes the answers that the node has given, in the order of their requests.
    pub fn collect(&mut self, node: &SteppedNode, now: MonoMs, rng: &mut Rng) {
        loop {
            let Some(open) = &mut self.open else { return };
            let reply = open.sink.0.lock().remove(&open.next_reply);
            let Some(reply) = reply else { return };
            let ticket = Ticket(open.next_reply);
            open.next_reply += 1;
            open.unanswered.retain(|(sequence, _)| *sequence != ticket.0);
            match reply {
                Reply::Nothing => {}
                Reply::Close(reason) => {
                    self.refusals.push(reason);
                    return self.cut(Some(node), now);
                }
                Reply::Send(frame) => match collect(&frame) {
                    Ok(bytes) => {
                        let delay = rng.between(0, self.latency_ms) as i64;
                        let due = self.heard.back().map_or(now, |last| last.0.max(now)).plus_ms(delay);
                        let body = bytes.slice(FRAME_LENGTH_BYTES..);
                        self.heard.push_back((due, Heard::Answer { ticket, body }));
                    }
                    Err(_) => return self.cut(Some(node), now),
                },
            }
        }
    }
}
