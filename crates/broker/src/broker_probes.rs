//! Whether the processes of brokers live, as far as a controller can tell before their sessions are over.
//!
//! A process that ends closes its connections, and nobody listens any more where it did. So a broken connection is a reason to
//! look, and a refused one is the proof, from where the same process was reached before: whoever keeps this node from
//! connecting at all proves nothing. Another proof is an answer of the same broker's next process, which its supervisor may start
//! before anybody finds the port closed: no two processes listen at one address ([`crate::process_identity`]). Silence proves nothing:
//! that is what the session's time is for. Until then it is looked again now and then, since a process that ends may take long to close what it had open. Standby controllers look too: one of them
//! may be the active one before its supervisor has started the broker again, or after. A broker that was taken for gone
//! and lives heartbeats on, and is believed ever after (`ottla_controller`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ottla_config::keys;
use ottla_controller::{Controller, Outcome};
use ottla_types::{BrokerEpoch, MonoMs, NodeId, Now, Uuid};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ErrorCode, VersionRange};
use parking_lot::Mutex;

use crate::controller_channel::{ControllerLink, Job, Written};
use crate::node::Node;
use crate::peers::{Channel, PeerAnswer, PeerError, PeerRequest};
use crate::process_identity::{self, ProcessIdentity};

/// So long an answer is waited for. What does not come says nothing.
const TIMEOUT_MS: i64 = 5_000;
/// Between attempts: the kernel closes what a process had open one after the other, its listener perhaps last, and a supervisor may
/// start it again at once, which takes 20 ms before it listens.
const RETRY_MS: i64 = 5;
const ATTEMPTS: u32 = 100;
/// Before a broker that could not be reached is tried again without a reason: at first, since one of Apache Kafka listens only
/// once it has heard that it is no longer fenced, and in the end.
const MEET_AGAIN_MS: (i64, i64) = (1_000, 30_000);
/// Before it is looked again for a broker of which nothing could be found out: at first and in the end.
const LOOK_AGAIN_MS: (i64, i64) = (500, 30_000);

/// What is known of brokers' processes.
#[derive(Debug, Default)]
pub(crate) struct BrokerProbes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Brokers that have answered as the process of this epoch.
    reached: BTreeMap<NodeId, BrokerEpoch>,
    /// Processes that have ended, and until when that counts: whoever becomes the active controller soon after need not find it out
    /// again, and could not where another process listens there by then.
    ended: BTreeMap<NodeId, (BrokerEpoch, MonoMs)>,
    under_way: BTreeSet<NodeId>,
    /// There was a reason to look while one was being looked for already.
    again: BTreeSet<NodeId>,
    /// Which processes were tried to be reached.
    tried: BTreeMap<NodeId, Tried>,
    /// Brokers that there was a reason to look for, and nothing was found out.
    doubted: BTreeMap<NodeId, Tried>,
    /// On which brokers' heartbeats come.
    connections: HashMap<u64, NodeId>,
}

/// A process that is not tried to be reached again without a reason before a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    epoch: BrokerEpoch,
    until: MonoMs,
    /// From the last time on.
    wait_ms: i64,
}

/// One look at a broker.
#[derive(Clone, Copy, Debug)]
struct Probe {
    broker: NodeId,
    epoch: BrokerEpoch,
    /// With which that process has registered.
    incarnation_id: Uuid,
    attempts: u32,
    /// There is a reason to look for it.
    is_doubted: bool,
}

/// Who answers where a broker is said to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    /// The process that is registered.
    Registered,
    /// The same broker's next process, which is not registered yet.
    Next,
    /// Another broker: the address says nothing of this one.
    Stranger(NodeId),
    /// It does not say: one of Apache Kafka.
    Unknown,
}

impl Probe {
    fn listener(&self, answer: &ApiVersionsResponse) -> Listener {
        match ProcessIdentity::told(&answer.unknown_tagged_fields) {
            None => Listener::Unknown,
            Some(told) if told.node != self.broker => Listener::Stranger(told.node),
            Some(told) if told.incarnation_id == self.incarnation_id => Listener::Registered,
            Some(_) => Listener::Next,
        }
    }
}

impl Tried {
    /// Once more without success, `waits_ms` being the first wait and the longest one.
    fn after(before: Option<&Tried>, epoch: BrokerEpoch, waits_ms: (i64, i64), now: MonoMs) -> Tried {
        let (first_ms, last_ms) = waits_ms;
        let before = before.filter(|tried| tried.epoch == epoch);
        let wait_ms = before.map_or(first_ms, |tried| last_ms.min(2 * tried.wait_ms));
        Tried { epoch, until: now.plus_ms(wait_ms), wait_ms }
    }
}

impl BrokerProbes {
    /// A broker's heartbeats come on this connection.
    pub fn heartbeat_on(&self, connection: u64, broker: NodeId) {
        self.0.lock().connections.insert(connection, broker);
    }

    /// Returns whose heartbeats came on it.
    fn closed(&self, connection: u64) -> Option<NodeId> {
        self.0.lock().connections.remove(&connection)
    }

    /// False if one is being looked for already; then it is once more.
    fn begin(&self, broker: NodeId) -> bool {
        let mut state = self.0.lock();
        let is_first = state.under_way.insert(broker);
        if !is_first {
            state.again.insert(broker);
        }
        is_first
    }

    /// Whether it is to be looked for once more.
    fn end(&self, broker: NodeId) -> bool {
        let mut state = self.0.lock();
        state.under_way.remove(&broker);
        state.again.remove(&broker)
    }

    /// Whether to try to reach a broker that there is no reason to doubt.
    fn is_to_meet(&self, broker: NodeId, epoch: BrokerEpoch, now: MonoMs) -> bool {
        let mut state = self.0.lock();
        let is_known = state.reached.get(&broker) == Some(&epoch) || state.under_way.contains(&broker);
        let tried = state.tried.get(&broker).filter(|tried| tried.epoch == epoch);
        if is_known || tried.is_some_and(|tried| tried.until > now) {
            return false;
        }
        let tried = Tried::after(tried, epoch, MEET_AGAIN_MS, now);
        state.tried.insert(broker, tried);
        true
    }

    /// Nothing was found out of a broker that is doubted. Returns when to look again.
    fn stays_doubted(&self, broker: NodeId, epoch: BrokerEpoch, now: MonoMs) -> Tried {
        let mut state = self.0.lock();
        let doubted = Tried::after(state.doubted.get(&broker), epoch, LOOK_AGAIN_MS, now);
        state.doubted.insert(broker, doubted);
        doubted
    }

    /// Whether nothing has been found out since, and it has not been looked since, nor is just now.
    fn is_doubted_as(&self, broker: NodeId, doubted: Tried) -> bool {
        let state = self.0.lock();
        state.doubted.get(&broker) == Some(&doubted) && !state.under_way.contains(&broker)
    }

    fn is_settled(&self, broker: NodeId) {
        self.0.lock().doubted.remove(&broker);
    }

    fn reached(&self, broker: NodeId, epoch: BrokerEpoch) {
        let mut state = self.0.lock();
        state.reached.insert(broker, epoch);
        state.doubted.remove(&broker);
        state.ended.remove(&broker);
    }

    fn has_ended(&self, broker: NodeId, epoch: BrokerEpoch, until: MonoMs) {
        self.0.lock().ended.insert(broker, (epoch, until));
    }

    fn is_known_to_have_ended(&self, broker: NodeId, epoch: BrokerEpoch, now: MonoMs) -> bool {
        self.0.lock().ended.get(&broker).is_some_and(|(ended, until)| *ended == epoch && now < *until)
    }

    fn was_reached(&self, broker: NodeId, epoch: BrokerEpoch) -> bool {
        self.0.lock().reached.get(&broker) == Some(&epoch)
    }

    /// Forgets brokers that there are no more.
    fn retain(&self, is_registered: impl Fn(&NodeId) -> bool) {
        let mut state = self.0.lock();
        state.reached.retain(|broker, _| is_registered(broker));
        state.ended.retain(|broker, _| is_registered(broker));
        state.tried.retain(|broker, _| is_registered(broker));
        state.doubted.retain(|broker, _| is_registered(broker));
    }
}

impl Node {
    /// Reaches brokers that have come, so that it counts when they can't be reached any more.
    pub(crate) fn meet_brokers(self: &Arc<Self>, now: Now) {
        if !self.roles.controller {
            return;
        }
        let image = self.metadata.image();
        self.probes.retain(|broker| image.brokers.contains_key(broker));
        for broker in image.brokers.values().filter(|broker| !broker.is_fenced()) {
            let (id, epoch) = (broker.id(), broker.epoch());
            if id != self.identity.node_id && self.probes.is_to_meet(id, epoch, now.mono) {
                self.look_for(id, 1, false);
            }
        }
    }

    /// There is a reason to doubt that the broker's process lives: a connection to it or from it is gone.
    pub fn doubt_broker(self: &Arc<Self>, broker: NodeId) {
        if self.roles.controller && broker != self.identity.node_id {
            self.look_for(broker, ATTEMPTS, true);
        }
    }

    /// The controller of this node is the active one from now on: what it knew as a standby counts, and of brokers that were lost
    /// meanwhile it may not have heard.
    pub(crate) fn doubt_all_brokers(self: &Arc<Self>, now: Now) {
        for broker in self.metadata.image().brokers.values() {
            let (id, epoch) = (broker.id(), broker.epoch());
            if self.probes.is_known_to_have_ended(id, epoch, now.mono) {
                self.tell_gone(id, epoch);
            } else {
                self.doubt_broker(id);
            }
        }
    }

    pub(crate) fn broker_connection_closed(self: &Arc<Self>, connection: u64) {
        if let Some(broker) = self.probes.closed(connection) {
            self.doubt_broker(broker);
        }
    }

    fn look_for(self: &Arc<Self>, broker: NodeId, attempts: u32, is_doubted: bool) {
        let image = self.metadata.image();
        let Some(registered) = image.brokers.get(&broker).filter(|broker| !broker.is_fenced()) else {
            return;
        };
        if self.probes.begin(broker) {
            let (epoch, incarnation_id) = (registered.epoch(), registered.record.incarnation_id);
            self.probe_at(MonoMs(0), Probe { broker, epoch, incarnation_id, attempts, is_doubted });
        }
    }

    fn probe_at(self: &Arc<Self>, at: MonoMs, probe: Probe) {
        let node = Arc::clone(self);
        self.deadlines.add(at, move |_| node.probe(probe));
        (self.hooks.wake_at)(at);
    }

    fn probe(self: &Arc<Self>, probe: Probe) {
        let node = Arc::clone(self);
        let done = move |answer: Result<PeerAnswer<_>, PeerError>, now| {
            let listener = answer.map(|answer| probe.listener(&answer.response));
            node.probed(probe, listener, now);
        };
        let versions = VersionRange::new(process_identity::VERSION, process_identity::VERSION);
        let request = PeerRequest::by_version(versions, |_| question(), TIMEOUT_MS, done);
        self.send_to_broker(probe.broker, Channel::Probe, request);
    }

    fn probed(self: &Arc<Self>, probe: Probe, answer: Result<Listener, PeerError>, now: Now) {
        let Probe { broker, epoch, attempts, is_doubted, .. } = probe;
        match answer {
            Err(PeerError::Disconnected(_) | PeerError::Overloaded) if attempts > 1 => {
                let again = Probe { attempts: attempts - 1, ..probe };
                return self.probe_at(now.mono.plus_ms(RETRY_MS), again);
            }
            Err(PeerError::Refused(_)) if self.probes.was_reached(broker, epoch) => {
                tracing::info!(%broker, %epoch, "nobody listens any more where a broker did: its process has ended");
                self.process_has_ended(broker, epoch, now);
            }
            Ok(Listener::Next) => {
                tracing::info!(%broker, %epoch, "a broker's next process listens where it did: its process has ended");
                self.process_has_ended(broker, epoch, now);
            }
            Ok(Listener::Unknown) if self.probes.is_known_to_have_ended(broker, epoch, now.mono) => {
                // It is the next process that answers.
                self.probes.is_settled(broker);
                self.tell_gone(broker, epoch);
            }
            Ok(Listener::Registered | Listener::Unknown) => self.probes.reached(broker, epoch),
            Ok(Listener::Stranger(_)) | Err(_) => {
                tracing::debug!(%broker, ?answer, "whether a broker's process lives is not known");
                if is_doubted {
                    self.look_again_for(broker, epoch, now);
                }
            }
        }
        if self.probes.end(broker) {
            self.look_for(broker, ATTEMPTS, true);
        }
    }

    fn process_has_ended(&self, broker: NodeId, epoch: BrokerEpoch, now: Now) {
        self.probes.is_settled(broker);
        // By then its session is over too.
        let session_ms = self.effective_config.load().get(keys::BROKER_SESSION_TIMEOUT_MS);
        self.probes.has_ended(broker, epoch, now.mono.plus_ms(session_ms.into()));
        self.tell_gone(broker, epoch);
    }

    fn tell_gone(&self, broker: NodeId, epoch: BrokerEpoch) {
        self.controller.submit(Box::new(BrokerGone { broker, epoch }));
    }

    /// Until something is found out, or it is fenced.
    fn look_again_for(self: &Arc<Self>, broker: NodeId, epoch: BrokerEpoch, now: Now) {
        let doubted = self.probes.stays_doubted(broker, epoch, now.mono);
        let node = Arc::clone(self);
        self.deadlines.add(doubted.until, move |_| {
            if node.probes.is_doubted_as(broker, doubted) {
                node.look_for(broker, 1, true);
            }
        });
        (self.hooks.wake_at)(doubted.until);
    }
}

/// Who are you?
fn question() -> ApiVersionsRequest {
    let mut question = ApiVersionsRequest {
        client_software_name: "ottla".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ApiVersionsRequest::default()
    };
    process_identity::ask(&mut question.unknown_tagged_fields);
    question
}

/// For the controller of this node, if that is the active one.
struct BrokerGone {
    broker: NodeId,
    epoch: BrokerEpoch,
}

impl Job for BrokerGone {
    fn run(self: Box<Self>, controller: &mut Controller, _: Now) -> Written {
        let Outcome { records, response: () } = controller.broker_is_gone(self.broker, self.epoch);
        Written::for_nobody(records)
    }

    fn send(self: Box<Self>, _: &ControllerLink<'_>) {}

    fn refuse(self: Box<Self>, _: ErrorCode) {}

    fn is_for_this_node(&self) -> bool {
        true
    }

    fn is_abandoned(&self) -> bool {
        false
    }
}
