//! The network between nodes. Bytes of a connection arrive in order, late, or, while the way is cut, not before it is mended:
//! who waits too long gives the connection up. Where no process listens a connection fails at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::api::table::Api;
use ottla_broker::exchange::{Connection, Reply, ReplySink, ReplySlot, may_take_while_unanswered};
use ottla_broker::peers::{Channel, PeerAddress, PeerError, PeerRequest, Peers};
use ottla_types::{MonoMs, NodeId, Now};
use ottla_wire::{ApiKey, FRAME_LENGTH_BYTES};
use parking_lot::Mutex;

use crate::node::{SteppedNode, collect};
use crate::rng::Rng;

/// A node's way to the others.
#[derive(Debug)]
pub struct NodeWires {
    from: NodeId,
    sent: Arc<Mutex<Vec<Sent>>>,
}

#[derive(Debug)]
struct Sent {
    from: NodeId,
    to: PeerAddress,
    channel: Channel,
    request: PeerRequest,
}

impl Peers for NodeWires {
    fn send(&self, to: &PeerAddress, channel: Channel, request: PeerRequest) {
        let sent = Sent { from: self.from, to: to.clone(), channel, request };
        self.sent.lock().push(sent);
    }
}

#[derive(Debug, Default)]
struct Sink(Mutex<BTreeMap<u64, Reply>>);

impl ReplySink for Sink {
    fn reply(&self, sequence: u64, reply: Reply) {
        assert!(self.0.lock().insert(sequence, reply).is_none(), "a request is answered once");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    from: NodeId,
    to: NodeId,
    is_controller_listener: bool,
    channel: Channel,
}

/// A request on a connection.
#[derive(Debug)]
struct Carried {
    request: PeerRequest,
    sequence: u64,
    /// The asker waits until then.
    deadline: MonoMs,
    api_key: i16,
    /// On its way there, or, with the answer, back.
    due: MonoMs,
    frame: Bytes,
}

#[derive(Debug)]
struct Conversation {
    connection: Arc<Connection>,
    /// At the other side.
    is_known: bool,
    sink: Arc<Sink>,
    next_sequence: u64,
    to_take: VecDeque<Carried>,
    unanswered: VecDeque<Carried>,
    answered: VecDeque<Carried>,
    /// Given up, and on their way still.
    late: VecDeque<(u64, Bytes)>,
}

/// What there is at a node's address. Nothing where its process has ended and its machine says so.
#[derive(Clone, Copy, Debug)]
pub enum Listener<'a> {
    Node(&'a SteppedNode),
    /// The process stands still, or the machine is without power.
    Silent,
}

/// By node.
pub type Listening<'a> = BTreeMap<NodeId, Listener<'a>>;

fn node_at<'a>(nodes: &Listening<'a>, id: NodeId) -> Option<&'a SteppedNode> {
    match nodes.get(&id) {
        Some(Listener::Node(node)) => Some(node),
        Some(Listener::Silent) | None => None,
    }
}

/// Nothing gets from the first to the second.
#[derive(Debug, Default)]
struct Cuts {
    until_all_is_mended: BTreeSet<(NodeId, NodeId)>,
    /// Until this way is let go.
    held: BTreeSet<(NodeId, NodeId)>,
}

impl Cuts {
    fn contains(&self, from: NodeId, to: NodeId) -> bool {
        self.until_all_is_mended.contains(&(from, to)) || self.held.contains(&(from, to))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wires {
    sent: Arc<Mutex<Vec<Sent>>>,
    conversations: BTreeMap<Way, Conversation>,
    cuts: Cuts,
    /// Connections whose near end is gone with its machine, which nobody has heard of.
    half_open: Vec<(Way, Arc<Connection>)>,
    /// Connections that their near end has ended, until the far one hears of it.
    to_close: Vec<(Way, Arc<Connection>)>,
    /// Connections that their near end has given up, with what is on the way still, and when it arrives at the earliest.
    late: Vec<(Way, Conversation, MonoMs)>,
    next_connection_id: u64,
    latency_ms: u64,
    /// Requests that were answered.
    pub answers: u64,
    /// Requests that came when nobody waited for their answers any more.
    pub late_requests: u64,
}

impl Wires {
    pub fn new(latency_ms: u64) -> Wires {
        Wires { latency_ms, next_connection_id: 1 << 32, ..Wires::default() }
    }

    pub fn of(&self, from: NodeId) -> Arc<dyn Peers> {
        Arc::new(NodeWires { from, sent: Arc::clone(&self.sent) })
    }

    /// Cuts the way from one node to another; the way back stays.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.until_all_is_mended.insert((from, to));
    }

    /// Mends all ways but those that are held.
    pub fn mend(&mut self) {
        self.cuts.until_all_is_mended.clear();
    }

    /// Cuts the way from one node to another until it is let go.
    pub fn hold(&mut self, from: NodeId, to: NodeId) {
        self.cuts.held.insert((from, to));
    }

    pub fn let_go(&mut self, from: NodeId, to: NodeId) {
        self.cuts.held.remove(&(from, to));
    }

    pub fn let_all_go(&mut self) {
        self.cuts.held.clear();
    }

    /// From where to whose controller's listener something of this kind is asked that has not arrived.
    pub fn under_way_to_controllers(&self, api_key: ApiKey) -> impl Iterator<Item = (NodeId, NodeId)> {
        let asking = self.conversations.iter().filter(move |(way, conversation)| {
            way.is_controller_listener
                && conversation.to_take.iter().any(|carried| carried.api_key == api_key.code())
        });
        asking.map(|(way, _)| (way.from, way.to))
    }

    /// From where to where something of this kind is asked that has not arrived.
    pub fn under_way(&self, api_key: ApiKey) -> impl Iterator<Item = (NodeId, NodeId)> {
        let is_asked = move |conversation: &Conversation| {
            conversation.to_take.iter().any(|carried| carried.api_key == api_key.code())
        };
        let asking = self.conversations.iter().filter(move |(_, conversation)| is_asked(conversation));
        asking.map(|(way, _)| (way.from, way.to))
    }

    /// Whether what one has asked another of this kind is answered, and the answer has not arrived.
    pub fn has_answers_for(&self, asker: NodeId, of: NodeId, api_key: ApiKey) -> bool {
        let mut between = self.conversations.iter().filter(|(way, _)| (way.from, way.to) == (asker, of));
        between.any(|(_, conversation)| {
            conversation.answered.iter().any(|carried| carried.api_key == api_key.code())
        })
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains(from, to)
    }

    pub fn has_cuts(&self) -> bool {
        !self.cuts.until_all_is_mended.is_empty() || !self.cuts.held.is_empty()
    }

    /// A process has ended: its connections are gone. Whoever is at their other ends hears so, unless the machine is gone too:
    /// then when its next process starts.
    pub fn process_ended(&mut self, id: NodeId, is_heard: bool, now: Now) {
        self.sent.lock().retain(|sent| sent.from != id);
        let ways: Vec<Way> =
            self.conversations.keys().copied().filter(|way| way.from == id || way.to == id).collect();
        for way in ways {
            if way.from == id {
                let ended = self.conversations.remove(&way).filter(|conversation| conversation.is_known);
                self.half_open.extend(ended.map(|ended| (way, ended.connection)));
            } else if is_heard {
                self.end(way, None, now);
            }
        }
        self.late.retain(|(way, ..)| way.to != id);
        self.half_open.retain(|(way, _)| way.to != id);
        self.to_close.retain(|(way, _)| way.to != id);
        if is_heard {
            let of_others = self.half_open.extract_if(.., |(way, _)| way.from == id);
            self.to_close.extend(of_others);
        }
    }

    /// Tells nodes of connections whose other end is gone, those that the network lets hear of it.
    fn close_those_that_are_gone(&mut self, nodes: &Listening<'_>) {
        let cuts = &self.cuts;
        let is_heard = |way: &Way| {
            !cuts.contains(way.from, way.to) && !matches!(nodes.get(&way.to), Some(Listener::Silent))
        };
        for (way, connection) in self.to_close.extract_if(.., |(way, _)| is_heard(way)) {
            if let Some(node) = node_at(nodes, way.to) {
                node.closed(&connection);
            }
        }
    }

    /// Ends a connection: who waits on it hears of it.
    fn end(&mut self, way: Way, node: Option<&SteppedNode>, now: Now) {
        let arrives = self.is_cut(way.from, way.to).then_some(now.mono);
        self.end_late(way, node, arrives, now);
    }

    /// Ends the connections between two nodes; what was sent on them arrives by then, if it does. Returns how many there were.
    pub fn break_between(
        &mut self,
        (a, b): (NodeId, NodeId),
        arrives: Option<MonoMs>,
        nodes: &Listening<'_>,
        now: Now,
    ) -> usize {
        let is_between = |way: &&Way| (way.from, way.to) == (a, b) || (way.from, way.to) == (b, a);
        let ways: Vec<Way> = self.conversations.keys().filter(is_between).copied().collect();
        let count = ways.len();
        for way in ways {
            let node = node_at(nodes, way.to);
            let known = self.conversations.get(&way).filter(|conversation| conversation.is_known);
            let unheard = known.filter(|_| node.is_none() && arrives.is_none());
            // Who stands still hears of it later.
            self.to_close.extend(unheard.map(|conversation| (way, Arc::clone(&conversation.connection))));
            self.end_late(way, node, arrives, now);
        }
        count
    }

    /// `arrives`: when what was sent does at the earliest, if it does.
    fn end_late(&mut self, way: Way, node: Option<&SteppedNode>, arrives: Option<MonoMs>, now: Now) {
        let Some(mut conversation) = self.conversations.remove(&way) else { return };
        let under_way = conversation.take_all();
        if let Some(due) = arrives.filter(|_| !conversation.late.is_empty()) {
            self.late.push((way, conversation, due));
        } else if let Some(node) = node.filter(|_| conversation.is_known) {
            node.closed(&conversation.connection);
        }
        for carried in under_way {
            let why = if carried.deadline <= now.mono {
                PeerError::TimedOut
            } else {
                PeerError::Disconnected("the connection was closed".to_owned())
            };
            carried.request.failed(why, now);
        }
    }

    /// What was sent into a cut way arrives when it is mended, and what was sent on a connection that broke when it is due.
    fn deliver_late(&mut self, nodes: &Listening<'_>, now: MonoMs) {
        let cuts = &self.cuts;
        let arrives = |way: &Way, due: MonoMs| {
            due <= now && !cuts.contains(way.from, way.to) && node_at(nodes, way.to).is_some()
        };
        for (way, conversation, _) in self.late.extract_if(.., |(way, _, due)| arrives(way, *due)) {
            let Some(node) = node_at(nodes, way.to) else { continue };
            // The first is taken; the end of the connection comes before its answer.
            if let Some((sequence, frame)) = conversation.late.into_iter().next() {
                let slot = ReplySlot::new(Arc::clone(&conversation.sink) as Arc<dyn ReplySink>, sequence);
                node.deliver(&conversation.connection, frame, slot);
                self.late_requests += 1;
            }
            node.closed(&conversation.connection);
        }
    }

    /// Lets everything go on its way that is due.
    pub fn step(&mut self, nodes: &Listening<'_>, now: Now, rng: &mut Rng) {
        self.close_those_that_are_gone(nodes);
        self.deliver_late(nodes, now.mono);
        self.take_sent(nodes, now, rng);
        let ways: Vec<Way> = self.conversations.keys().copied().collect();
        for way in ways {
            self.step_one(way, nodes, now, rng);
        }
    }

    fn take_sent(&mut self, nodes: &Listening<'_>, now: Now, rng: &mut Rng) {
        let sent = std::mem::take(&mut *self.sent.lock());
        for Sent { from, to, channel, mut request } in sent {
            let at = now.mono;
            let way =
                Way { from, to: node_of(&to), is_controller_listener: to.is_controller_listener, channel };
            let served = Api::find(request.api_key()).and_then(|api| api.served(to.is_controller_listener));
            let Some(version) = request.choose_version(served) else {
                request.failed(PeerError::UnsupportedVersion, now);
                continue;
            };
            let is_heard = !self.is_cut(from, way.to) && !self.is_cut(way.to, from);
            if !nodes.contains_key(&way.to) && is_heard {
                request.failed(PeerError::Refused("nobody listens there".to_owned()), now);
                continue;
            }
            let id = self.next_connection_id;
            self.next_connection_id += 1;
            let conversation = self.conversations.entry(way).or_insert_with(|| Conversation::new(&way, id));
            let sequence = conversation.next_sequence;
            let api_key = request.api_key().code();
            let encoded = request.encode(sequence as i32, &format!("node-{from}"), version);
            let frame = encoded.expect("a node's requests can be encoded").slice(FRAME_LENGTH_BYTES..);
            conversation.next_sequence += 1;
            let before = conversation.to_take.back().map_or(at, |last| last.due.max(at));
            let due = before.plus_ms(rng.between(0, self.latency_ms) as i64);
            let deadline = at.plus_ms(request.timeout_ms);
            conversation.to_take.push_back(Carried { request, sequence, deadline, api_key, due, frame });
        }
    }

    fn step_one(&mut self, way: Way, nodes: &Listening<'_>, now: Now, rng: &mut Rng) {
        let (there, back) = (self.is_cut(way.from, way.to), self.is_cut(way.to, way.from));
        let Some(conversation) = self.conversations.get_mut(&way) else { return };
        let node = node_at(nodes, way.to);
        if conversation.first_deadline() <= now.mono {
            return self.end(way, node, now);
        }
        let Some(node) = node else { return };
        if !there {
            conversation.deliver(node, now.mono);
        }
        if !conversation.collect(now.mono, self.latency_ms, rng) {
            return self.end(way, Some(node), now);
        }
        let mut heard = Vec::new();
        while !back
            && let Some(carried) = conversation.answered.pop_front_if(|carried| carried.due <= now.mono)
        {
            heard.push(carried);
        }
        for carried in heard {
            self.answers += 1;
            carried.request.answered(carried.frame, now);
        }
    }
}

/// Node 2 is reached as n2.
fn node_of(address: &PeerAddress) -> NodeId {
    let number = address.host.strip_prefix('n').and_then(|number| number.parse().ok());
    NodeId(number.expect("nodes are named after their ids"))
}

impl Conversation {
    fn new(way: &Way, id: u64) -> Conversation {
        let connection = crate::node::connection_on(id, way.is_controller_listener);
        Conversation {
            connection,
            is_known: false,
            sink: Arc::default(),
            next_sequence: 0,
            to_take: VecDeque::new(),
            unanswered: VecDeque::new(),
            answered: VecDeque::new(),
            late: VecDeque::new(),
        }
    }

    /// All that somebody waits for.
    fn take_all(&mut self) -> Vec<Carried> {
        self.late = self.to_take.iter().map(|carried| (carried.sequence, carried.frame.clone())).collect();
        let answered = std::mem::take(&mut self.answered).into_iter();
        answered
            .chain(std::mem::take(&mut self.unanswered))
            .chain(std::mem::take(&mut self.to_take))
            .collect()
    }

    fn first_deadline(&self) -> MonoMs {
        let carried = self.answered.iter().chain(&self.unanswered).chain(&self.to_take);
        carried.map(|carried| carried.deadline).min().unwrap_or(MonoMs::NEVER)
    }

    fn deliver(&mut self, node: &SteppedNode, now: MonoMs) {
        while let Some(next) = self.to_take.front() {
            let may_follow =
                self.unanswered.iter().all(|before| may_take_while_unanswered(before.api_key, next.api_key));
            if next.due > now || !may_follow {
                return;
            }
            let Some(next) = self.to_take.pop_front() else { return };
            let slot = ReplySlot::new(Arc::clone(&self.sink) as Arc<dyn ReplySink>, next.sequence);
            let frame = next.frame.clone();
            self.unanswered.push_back(next);
            self.is_known = true;
            node.deliver(&self.connection, frame, slot);
        }
    }

    /// False: the other side hangs up.
    fn collect(&mut self, now: MonoMs, latency_ms: u64, rng: &mut Rng) -> bool {
        while let Some(first) = self.unanswered.front() {
            let Some(reply) = self.sink.0.lock().remove(&first.sequence) else { return true };
            // Whoever waits for an answer that can't be sent hears that the connection has ended.
            let Reply::Send(frame) = reply else { return false };
            let Ok(bytes) = collect(&frame) else { return false };
            let Some(mut carried) = self.unanswered.pop_front() else { return true };
            let before = self.answered.back().map_or(now, |last| last.due.max(now));
            carried.due = before.plus_ms(rng.between(0, latency_ms) as i64);
            carried.frame = bytes.slice(FRAME_LENGTH_BYTES..);
            self.answered.push_back(carried);
        }
        true
    }
}
