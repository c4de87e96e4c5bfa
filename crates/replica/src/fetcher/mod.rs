//! Following leaders: what a broker asks the leaders of its partitions for, and what it does with the answers.
//!
//! One fetcher keeps one request under way for all partitions that it follows on one broker; a session there
//! remembers them (KIP-227), so that a request names only what has changed. A follower tells the epoch of its last record
//! with each fetch, and the leader answers where their logs part (KIP-595): the follower truncates and asks on. Where its
//! offset is out of the leader's range it asks for the leader's end and start first.
//!
//! Nobody waits long for a follower to find its new leader: a leader that does not know its epoch yet is asked again at once,
//! less and less often, and a request that still waits there for records is given up for one that names the partition. That
//! one begins a session and waits for nothing: it is not given up itself, so that however many partitions come, there is never
//! more than one request that is given up and not answered.
//!
//! Nothing here sends or waits: whoever drives it sends what `Fetchers::poll` gives, and hands in the answers.

mod answers;
mod fetchers;
mod requests;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_log::log_manager::LogManager;
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Uuid};
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};

use self::session::Session;
use crate::partition::{Partition, ReplicaRules};

pub(crate) use self::answers::Taken;
pub use self::fetchers::Fetchers;

/// The `replica.fetch.*` settings, and `num.replica.fetchers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetcherSettings {
    /// For each other broker, at first.
    pub fetchers: u32,
    pub min_bytes: i32,
    pub wait_max_ms: i32,
    /// Of one partition.
    pub max_bytes: i32,
    /// Of a whole answer.
    pub response_max_bytes: i32,
    pub backoff_ms: i64,
}

/// One of the fetchers that follow partitions led by one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetcherId {
    pub leader: NodeId,
    /// Below `num.replica.fetchers`.
    pub index: u32,
}

/// A request that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct ToFetch {
    pub fetcher: FetcherId,
    /// To be handed back with the answer: one to an older request is passed over.
    pub ticket: u64,
    /// Which of this broker's connections to the leader: another one than that of a request that was given up.
    pub connection: u32,
    pub request: FetcherRequest,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FetcherRequest {
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
}

#[derive(Clone, Debug, PartialEq)]
pub enum FetcherAnswer {
    Fetch(FetchResponse),
    ListOffsets(ListOffsetsResponse),
    /// None came, or none that can be read.
    Failed,
}

/// Before a leader that does not know its epoch yet is asked again: doubling, up to `replica.fetch.backoff.ms`.
const UNKNOWN_BACKOFF_FIRST_MS: i64 = 10;
/// Before it is looked whether a throttled partition may be fetched again: a fraction of the shortest sample of the rate.
const THROTTLED_BACKOFF_MS: i64 = 100;
/// So long a request that waits for records may hold up a partition whose leader has changed. Where records come all the time
/// it is answered before.
const HOLD_UP_MAX_MS: i64 = 20;

/// By id: a topic that was made again under its name is another one.
type Key = (Uuid, i32);

/// A partition that is followed.
#[derive(Debug)]
struct Followed {
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    next: Next,
    /// It is not asked for before.
    delayed_until: Option<MonoMs>,
    /// How often in a row the leader did not know that it leads.
    unknown_there: u32,
    /// It had all that the leader's consumers may see, when it was answered last.
    is_in_sync: bool,
}

/// What a partition is in want of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// To be cut off at its high watermark before anything is asked for: it knows no leader epochs to compare.
    Cut,
    Records,
    /// Its offset is out of the leader's range.
    LeaderEnd,
    /// It does not reach beyond the leader's end: perhaps the leader has less of the past.
    LeaderStart,
    /// A newer leader epoch: nothing more is to be had in this one.
    NewLeader,
}

/// What a request asked of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    leader_epoch: LeaderEpoch,
    offset: Offset,
    last_fetched_epoch: LeaderEpoch,
    log_start_offset: Offset,
    max_bytes: i32,
}

/// The request under way, with what it asks for.
#[derive(Debug)]
enum UnderWay {
    Fetch {
        /// The leader may wait for records before it answers.
        waits: bool,
    },
    ListOffsets(BTreeMap<(Arc<str>, i32), (Key, LeaderEpoch, Next)>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fetcher {
    id: FetcherId,
    local: NodeId,
    settings: FetcherSettings,
    rules: Arc<ReplicaRules>,
    partitions: BTreeMap<Key, Followed>,
    session: Session,
    /// What may have to be told otherwise than the session has it.
    changed: BTreeSet<Key>,
    /// Those with an offset out of range.
    out_of_range: BTreeSet<Key>,
    delayed: BTreeSet<(MonoMs, Key)>,
    /// Those that there was no room for.
    without_room: Vec<Arc<Partition>>,
    under_way: Option<(u64, UnderWay)>,
    /// When the request under way is no longer waited for; none while it holds up nothing.
    give_up_at: Option<MonoMs>,
    /// Requests were given up, one on each connection in turn.
    is_on_other_connection: bool,
    next_ticket: u64,
    /// After a failure nothing is sent before.
    retry_at: MonoMs,
}

impl Fetcher {
    pub fn new(id: FetcherId, local: NodeId, settings: FetcherSettings, rules: Arc<ReplicaRules>) -> Fetcher {
        Fetcher {
            id,
            local,
            settings,
            rules,
            partitions: BTreeMap::new(),
            session: Session::default(),
            changed: BTreeSet::new(),
            out_of_range: BTreeSet::new(),
            delayed: BTreeSet::new(),
            without_room: Vec::new(),
            under_way: None,
            give_up_at: None,
            is_on_other_connection: false,
            next_ticket: 0,
            retry_at: MonoMs(0),
        }
    }

    /// Follows a partition in a leader epoch from now on, or goes on.
    pub fn follow(
        &mut self,
        partition: &Arc<Partition>,
        leader_epoch: LeaderEpoch,
        logs: &LogManager,
        now: Now,
    ) {
        let key = key_of(partition);
        let known = self.partitions.get(&key);
        if known.is_some_and(|known| {
            known.leader_epoch == leader_epoch && Arc::ptr_eq(&known.partition, partition)
        }) {
            return;
        }
        self.unfollow(key);
        let knows_epochs = partition.log().latest_epoch().is_some();
        let followed = Followed {
            partition: Arc::clone(partition),
            leader_epoch,
            next: if knows_epochs { Next::Records } else { Next::Cut },
            delayed_until: None,
            unknown_there: 0,
            is_in_sync: false,
        };
        self.partitions.insert(key, followed);
        self.changed.insert(key);
        self.cut(key, logs, now);
        // In its first epoch nobody has been served before.
        let waits = matches!(self.under_way, Some((_, UnderWay::Fetch { waits: true })));
        if leader_epoch > LeaderEpoch(0) && waits {
            self.give_up_at.get_or_insert(now.mono.plus_ms(HOLD_UP_MAX_MS));
        }
    }

    /// All that is followed, with the epochs of its leaders.
    pub fn followed(&self) -> Vec<(Arc<Partition>, LeaderEpoch)> {
        let followed = self.partitions.values();
        followed.map(|followed| (Arc::clone(&followed.partition), followed.leader_epoch)).collect()
    }

    pub fn unfollow(&mut self, key: Key) {
        let Some(followed) = self.partitions.remove(&key) else { return };
        if let Some(until) = followed.delayed_until {
            self.delayed.remove(&(until, key));
        }
        self.out_of_range.remove(&key);
        self.changed.insert(key);
    }

    /// When there is something to send at the earliest.
    pub fn next_deadline(&self) -> MonoMs {
        if self.under_way.is_some() {
            return self.give_up_at.unwrap_or(MonoMs::NEVER);
        }
        let has_work = !self.out_of_range.is_empty()
            || self.partitions.values().any(|followed| followed.is_ready(Next::Records));
        let next = match self.delayed.first() {
            _ if has_work => MonoMs(0),
            Some((until, _)) => *until,
            None => MonoMs::NEVER,
        };
        next.max(self.retry_at)
    }

    /// Leaves a partition alone for a while.
    fn delay(&mut self, key: Key, now: MonoMs) {
        self.delay_by(key, self.settings.backoff_ms, now);
    }

    /// Leaves the partitions alone that are behind and throttled, while more is fetched of such than is allowed.
    fn hold_back(&mut self, now: MonoMs) {
        if !self.rules.follower_quota.look(now) {
            return;
        }
        let is_held_back = |followed: &Followed| {
            followed.is_ready(Next::Records)
                && !followed.is_in_sync
                && followed.partition.is_throttled_follower()
        };
        let held_back: Vec<Key> = self
            .partitions
            .iter()
            .filter(|(_, followed)| is_held_back(followed))
            .map(|(key, _)| *key)
            .collect();
        for key in held_back {
            self.delay_by(key, THROTTLED_BACKOFF_MS, now);
        }
    }

    /// Leaves a partition alone until its leader may have heard that it leads.
    fn delay_unknown(&mut self, key: Key, now: MonoMs) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        let doubled = UNKNOWN_BACKOFF_FIRST_MS << followed.unknown_there.min(16);
        followed.unknown_there += 1;
        self.delay_by(key, doubled.min(self.settings.backoff_ms), now);
    }

    fn delay_by(&mut self, key: Key, ms: i64, now: MonoMs) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        let until = now.plus_ms(ms);
        if let Some(before) = followed.delayed_until.replace(until) {
            self.delayed.remove(&(before, key));
        }
        self.delayed.insert((until, key));
        self.out_of_range.remove(&key);
        self.changed.insert(key);
    }

    /// Ceases to wait for the request under way, whose answer will be passed over: the next one begins a session of its own.
    fn give_up(&mut self) {
        self.under_way = None;
        self.give_up_at = None;
        self.is_on_other_connection = !self.is_on_other_connection;
        self.session.reset();
    }

    fn end_delays(&mut self, logs: &LogManager, now: Now) {
        while let Some((until, key)) = self.delayed.first().copied().filter(|(until, _)| *until <= now.mono) {
            self.delayed.remove(&(until, key));
            if let Some(followed) = self.partitions.get_mut(&key) {
                followed.delayed_until = None;
                self.set_next(key, None);
                self.cut(key, logs, now);
            }
        }
    }

    /// Cuts a partition off where that has to come first. When it fails it is tried again after a while.
    fn cut(&mut self, key: Key, logs: &LogManager, now: Now) {
        let followed = self.partitions.get(&key).filter(|followed| followed.is_ready(Next::Cut));
        let Some(Followed { partition, leader_epoch, .. }) = followed else { return };
        let partition = Arc::clone(partition);
        match partition.truncate_to_high_watermark(logs, *leader_epoch, now) {
            Ok(()) => self.set_next(key, Some(Next::Records)),
            Err(error) => self.not_taken(key, &partition, &error, now),
        }
    }

    /// Sets what a partition is in want of, or takes note that it may have changed.
    fn set_next(&mut self, key: Key, next: Option<Next>) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        followed.next = next.unwrap_or(followed.next);
        if followed.is_ready(Next::LeaderEnd) || followed.is_ready(Next::LeaderStart) {
            self.out_of_range.insert(key);
        } else {
            self.out_of_range.remove(&key);
        }
        self.changed.insert(key);
    }
}

impl Followed {
    fn is_ready(&self, for_what: Next) -> bool {
        self.next == for_what && self.delayed_until.is_none()
    }
}

fn key_of(partition: &Partition) -> Key {
    (partition.topic_id(), partition.topic_partition().partition)
}
