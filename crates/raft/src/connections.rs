//! One request at a time to every node: who is asked, who is left alone for a while after a failure.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, NodeId};

use crate::config::Jitter;
use crate::replica::{HostPort, Node};
use crate::wire::QuorumApi;

#[derive(Clone, Debug)]
enum Connection {
    Awaiting { correlation_id: u64, until: MonoMs, asked: Asked },
    BackingOff { until: MonoMs },
}

/// What is waited for, and from where: an id alone says little of a node whose id is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) api: QuorumApi,
    pub(crate) address: HostPort,
}

#[derive(Debug)]
pub(crate) struct Connections {
    bootstrap: Vec<Node>,
    busy: BTreeMap<NodeId, Connection>,
    next_correlation_id: u64,
    request_timeout_ms: i64,
    retry_backoff_ms: i64,
}

impl Connections {
    pub(crate) fn new(bootstrap: Vec<Node>, request_timeout_ms: i64, retry_backoff_ms: i64) -> Connections {
        Connections {
            bootstrap,
            busy: BTreeMap::new(),
            next_correlation_id: 0,
            request_timeout_ms,
            retry_backoff_ms,
        }
    }

    pub(crate) fn is_ready(&self, node: NodeId, now: MonoMs) -> bool {
        self.busy_until(node) <= now
    }

    /// When the node may be asked (again); the beginning of time when it may be now.
    pub(crate) fn busy_until(&self, node: NodeId) -> MonoMs {
        match self.busy.get(&node) {
            Some(Connection::Awaiting { until, .. } | Connection::BackingOff { until }) => *until,
            None => MonoMs(0),
        }
    }

    pub(crate) fn is_backing_off(&self, node: NodeId, now: MonoMs) -> bool {
        matches!(self.busy.get(&node), Some(Connection::BackingOff { until }) if now < *until)
    }

    /// Whether a request to the node got no answer in time; it is then free to be asked again.
    pub(crate) fn take_timed_out(&mut self, node: NodeId, now: MonoMs) -> bool {
        let timed_out =
            matches!(self.busy.get(&node), Some(Connection::Awaiting { until, .. }) if *until <= now);
        if timed_out {
            self.busy.remove(&node);
        }
        timed_out
    }

    /// A bootstrap server or another node that can be asked, beginning with a random one; none while any request is in
    /// flight.
    pub(crate) fn ready_bootstrap(
        &self,
        others: Vec<Node>,
        jitter: &mut Jitter,
        now: MonoMs,
    ) -> Option<Node> {
        if self.any_in_flight(now) {
            return None;
        }
        let mut candidates = self.bootstrap.clone();
        candidates.extend(others);
        let first = jitter.below(candidates.len() as i64) as usize;
        candidates.rotate_left(first);
        candidates.into_iter().find(|node| self.is_ready(node.id, now))
    }

    /// When a bootstrap server may become askable.
    pub(crate) fn bootstrap_ready_at(&self, now: MonoMs) -> MonoMs {
        self.busy
            .values()
            .map(|connection| match connection {
                Connection::Awaiting { until, .. } | Connection::BackingOff { until } => *until,
            })
            .filter(|until| *until > now)
            .min()
            .unwrap_or(now)
    }

    /// Notes a request; returns its correlation id.
    pub(crate) fn sent(&mut self, node: &Node, api: QuorumApi, now: MonoMs) -> u64 {
        self.next_correlation_id += 1;
        let correlation_id = self.next_correlation_id;
        let until = now.plus_ms(self.request_timeout_ms);
        let asked = Asked { api, address: node.address.clone() };
        self.busy.insert(node.id, Connection::Awaiting { correlation_id, until, asked });
        correlation_id
    }

    /// What a node was asked that has not answered yet.
    pub(crate) fn asked(&self, node: NodeId) -> Option<&Asked> {
        match self.busy.get(&node) {
            Some(Connection::Awaiting { asked, .. }) => Some(asked),
            _ => None,
        }
    }

    /// The node whose answer with this id is still waited for.
    pub(crate) fn awaited(&self, correlation_id: u64) -> Option<NodeId> {
        self.busy.iter().find_map(|(node, connection)| match connection {
            Connection::Awaiting { correlation_id: id, .. } if *id == correlation_id => Some(*node),
            _ => None,
        })
    }

    /// Notes how an answer was received; nothing happens when it is no longer waited for.
    pub(crate) fn answered(&mut self, node: NodeId, correlation_id: u64, handled: bool, now: MonoMs) {
        if self.awaited(correlation_id) != Some(node) {
            return;
        }
        if handled {
            self.busy.remove(&node);
        } else {
            self.back_off(node, now);
        }
    }

    /// Does not ask the node for a while; what it was asked before is not waited for.
    pub(crate) fn back_off(&mut self, node: NodeId, now: MonoMs) {
        let until = now.plus_ms(self.retry_backoff_ms);
        self.busy.insert(node, Connection::BackingOff { until });
    }

    pub(crate) fn reset_all(&mut self) {
        self.busy.clear();
    }

    pub(crate) fn any_in_flight(&self, now: MonoMs) -> bool {
        self.busy
            .values()
            .any(|connection| matches!(connection, Connection::Awaiting { until, .. } if *until > now))
    }
}
