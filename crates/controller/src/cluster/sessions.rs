use std::collections::BTreeMap;

use ottla_types::{MonoMs, NodeId, Offset};

/// So many looks at the sessions are asked for within the time of one.
const LOOKS_PER_SESSION: i64 = 10;

/// When each broker was last heard of: soft state, which a new controller starts afresh.
#[derive(Debug)]
pub(crate) struct BrokerSessions {
    timeout_ms: i64,
    brokers: BTreeMap<NodeId, Session>,
    /// Where each broker's registration is in the log, as far as this controller has written it.
    registered_at: BTreeMap<NodeId, Offset>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    last_heard: MonoMs,
    metadata_offset: Offset,
    /// The end of the log when its controlled shutdown began: it may go when all others have seen that.
    shutdown_offset: Option<Offset>,
    end: End,
}

/// What is thought of the end of a broker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotKnown,
    TakenForGone,
    /// It was taken for gone once, and lived.
    Disproved,
}

impl BrokerSessions {
    pub fn new(timeout_ms: i64) -> BrokerSessions {
        BrokerSessions { timeout_ms, brokers: BTreeMap::new(), registered_at: BTreeMap::new() }
    }

    pub fn touch(&mut self, broker: NodeId, metadata_offset: Offset, now: MonoMs) {
        let session = self.brokers.entry(broker).or_insert(Session {
            last_heard: now,
            metadata_offset,
            shutdown_offset: None,
            end: End::NotKnown,
        });
        session.last_heard = now;
        session.metadata_offset = metadata_offset;
    }

    /// A controller that was not active then has heard of the broker at `at`, and not since: its session began there, but
    /// half of it is left in any case, for there may have been nobody whom it could heartbeat to.
    pub fn heard_last_at(&mut self, broker: NodeId, at: MonoMs) {
        let half_ms = self.timeout_ms / 2;
        if let Some(session) = self.brokers.get_mut(&broker) {
            let earliest = MonoMs(session.last_heard.0.saturating_sub(half_ms.unsigned_abs()));
            session.last_heard = session.last_heard.min(at.max(earliest));
        }
    }

    /// How long it may take from one look at the sessions to the next.
    pub fn look_interval_ms(&self) -> i64 {
        (self.timeout_ms / LOOKS_PER_SESSION).max(1)
    }

    /// The last look was so long ago. Where that is much more than was asked for, this process stood still or was busy, and nobody
    /// could be heard: that is not the brokers' silence. What is short against a session is passed over: what came meanwhile is
    /// heard before anybody is taken for silent, and many such times would add up to sessions without an end.
    pub fn looked_after(&mut self, ms: i64, now: MonoMs) {
        let late_ms = ms.saturating_sub(self.look_interval_ms());
        if late_ms < self.look_interval_ms() {
            return;
        }
        for session in self.brokers.values_mut() {
            // Some may have been heard of before this look.
            session.last_heard = session.last_heard.plus_ms(late_ms).min(now).max(session.last_heard);
        }
    }

    /// False if that was wrong once already.
    pub fn take_for_gone(&mut self, broker: NodeId) -> bool {
        match self.brokers.get_mut(&broker) {
            Some(session) if session.end == End::Disproved => false,
            Some(session) => {
                session.end = End::TakenForGone;
                true
            }
            None => true,
        }
    }

    /// Whether a broker that is heard of was taken for gone.
    pub fn is_back(&mut self, broker: NodeId) -> bool {
        match self.brokers.get_mut(&broker) {
            Some(session) if session.end == End::TakenForGone => {
                session.end = End::Disproved;
                true
            }
            _ => false,
        }
    }

    pub fn forget(&mut self, broker: NodeId) {
        self.brokers.remove(&broker);
        self.registered_at.remove(&broker);
    }

    pub fn registered(&mut self, broker: NodeId, at: Offset) {
        self.registered_at.insert(broker, at);
    }

    pub fn registered_at(&self, broker: NodeId) -> Option<Offset> {
        self.registered_at.get(&broker).copied()
    }

    pub fn is_alive(&self, broker: NodeId, now: MonoMs) -> bool {
        self.brokers.get(&broker).is_some_and(|session| session.last_heard.plus_ms(self.timeout_ms) > now)
    }

    /// When the first of `brokers` runs out of time.
    pub fn next_expiry(&self, brokers: impl Iterator<Item = NodeId>) -> MonoMs {
        brokers
            .filter_map(|broker| self.brokers.get(&broker))
            .map(|session| session.last_heard.plus_ms(self.timeout_ms))
            .min()
            .unwrap_or(MonoMs::NEVER)
    }

    /// Remembers `end` when it is asked for the first time since the broker was last fenced.
    pub fn shutdown_offset(&mut self, broker: NodeId, end: Offset) -> Offset {
        match self.brokers.get_mut(&broker) {
            Some(session) => *session.shutdown_offset.get_or_insert(end),
            None => end,
        }
    }

    pub fn end_shutdown(&mut self, broker: NodeId) {
        if let Some(session) = self.brokers.get_mut(&broker) {
            session.shutdown_offset = None;
        }
    }

    /// The offset that all of `brokers` have reached.
    pub fn lowest_offset(&self, brokers: impl Iterator<Item = NodeId>) -> Offset {
        let offsets = brokers.filter_map(|broker| self.brokers.get(&broker)).map(|s| s.metadata_offset);
        offsets.min().unwrap_or(Offset::MAX)
    }
}
