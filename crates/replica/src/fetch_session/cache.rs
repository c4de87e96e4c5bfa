use std::collections::HashMap;
use std::sync::Arc;

use ottla_types::MonoMs;
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::session::Session;
use super::{
    FINAL_EPOCH, FetchPartition, INITIAL_EPOCH, NO_SESSION, PartitionKey, PartitionSummary, SessionRequest,
};
use crate::fetch::PartitionFetch;
use crate::follower_state::FollowerId;
use crate::news::{News, Slot};
use crate::partition::Partition;

/// A session that was not used for this long, or that is older than this and smaller than a new one, may be evicted
/// (`FetchSessionCache`'s MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS).
const EVICTION_MS: u64 = 120_000;

/// What all sessions together may hold, some 150 MB: Kafka has no such bound. A client that finds no room is served
/// without a session, and names all its partitions with each request.
const PARTITIONS_MAX: usize = 500_000;

/// The sessions of a broker, at most `max.incremental.fetch.session.cache.slots`.
#[derive(Debug)]
pub struct FetchSessions {
    slots_max: usize,
    pub(super) partitions_max: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<i32, Arc<Mutex<Session>>>,
    /// Of all sessions.
    partitions: usize,
    /// State of the generator of session ids, which must not be guessable from a count of earlier ones.
    id_state: u64,
}

/// What one fetch request is to read, and how its answer is to be cut down.
#[derive(Debug)]
pub struct FetchContext {
    kind: Kind,
    /// The partitions to read, in order.
    pub partitions: Vec<FetchPartition>,
    /// Of each of those; empty without a session.
    slots: Vec<Slot>,
    /// What the session has let go of.
    forgotten: Vec<(Slot, PartitionKey)>,
    follower: Option<FollowerId>,
    /// Of the session that ends with this request.
    ended: Option<Arc<News>>,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    /// A session that is kept when the request is answered, if there is room for it.
    Full(Arc<Mutex<Session>>),
    Incremental(Arc<Mutex<Session>>),
}

impl FetchContext {
    fn new(kind: Kind, follower: Option<FollowerId>) -> FetchContext {
        let (partitions, slots, forgotten) = (Vec::new(), Vec::new(), Vec::new());
        FetchContext { kind, partitions, slots, forgotten, follower, ended: None }
    }

    /// Of a fetch that says itself what it reads.
    pub(crate) fn sessionless() -> FetchContext {
        FetchContext::new(Kind::Sessionless, None)
    }

    fn of_session(kind: Kind, follower: Option<FollowerId>) -> FetchContext {
        let mut context = FetchContext::new(kind, follower);
        context.look_again();
        context
    }

    /// Where a follower's session hears of changes; none if all its partitions are looked at with each request.
    pub(crate) fn news(&self) -> Option<Arc<News>> {
        match &self.kind {
            Kind::Sessionless => None,
            Kind::Full(session) | Kind::Incremental(session) => session.lock().news().cloned(),
        }
    }

    /// Of a session that has ended with this request: what waits there waits in vain.
    pub(crate) fn ended(&self) -> Option<&Arc<News>> {
        self.ended.as_ref()
    }

    /// Brings [`FetchContext::partitions`] up to date after a wait.
    pub fn look_again(&mut self) {
        let looked = match &self.kind {
            Kind::Sessionless => return,
            Kind::Full(session) => session.lock().look_at_all(),
            Kind::Incremental(session) => session.lock().look(),
        };
        (self.slots, self.partitions) = looked.into_iter().unzip();
    }

    /// What is to be read, with the replicas that `find` finds. They say from now on when they have changed.
    pub fn reads(
        &mut self,
        find: impl Fn(&PartitionKey) -> Result<Arc<Partition>, ErrorCode>,
    ) -> Vec<PartitionFetch> {
        let news = self.news();
        for (slot, key) in self.forgotten.drain(..) {
            if let (Some(news), Ok(partition)) = (&news, find(&key)) {
                partition.unsubscribe(news, slot, self.follower);
            }
        }
        let slots = self.slots.iter().copied().map(Some).chain(std::iter::repeat(None));
        let reads = self.partitions.iter().zip(slots).map(|(asked, slot)| {
            let read = PartitionFetch::new(asked, find(&asked.key));
            if let (Some(news), Some(slot), Ok(partition)) = (&news, slot, &read.partition) {
                partition.subscribe(news, slot);
            }
            read
        });
        reads.collect()
    }

    /// What has changed since it was looked at, or since the last call.
    pub(crate) fn changed(
        &self,
        find: impl Fn(&PartitionKey) -> Result<Arc<Partition>, ErrorCode>,
    ) -> Vec<PartitionFetch> {
        let changed = match &self.kind {
            Kind::Sessionless => Vec::new(),
            Kind::Full(session) | Kind::Incremental(session) => session.lock().take_news(),
        };
        changed.iter().map(|(_, asked)| PartitionFetch::new(asked, find(&asked.key))).collect()
    }
}

impl FetchSessions {
    /// `seed` decides the session ids.
    pub fn new(slots_max: usize, seed: u64) -> FetchSessions {
        let cache = Cache { id_state: seed, ..Cache::default() };
        FetchSessions { slots_max, partitions_max: PARTITIONS_MAX, cache: Mutex::new(cache) }
    }

    /// Sessions that are kept.
    pub fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies the session part of a request. Errors are the top-level ones of a fetch response:
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    ///
    /// A session that grows beyond what there is room for ends: its client hears that it is not known, as after an
    /// eviction, and begins anew.
    pub fn begin(&self, request: SessionRequest, now: MonoMs) -> Result<FetchContext, ErrorCode> {
        if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            return Ok(self.begin_full(request, now));
        }
        let mut cache = self.cache.lock();
        let Some(session) = cache.sessions.get(&request.session_id).cloned() else {
            return Err(ErrorCode::FetchSessionIdNotFound);
        };
        let mut locked = session.lock();
        if locked.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if locked.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        cache.partitions -= locked.len();
        locked.continue_as(request.follower);
        for partition in request.partitions {
            locked.put(partition);
        }
        let forget = |key: PartitionKey| Some((locked.forget(&key)?, key));
        let forgotten: Vec<_> = request.forgotten.into_iter().filter_map(forget).collect();
        cache.partitions += locked.len();
        if locked.is_empty() || cache.partitions > self.partitions_max {
            let is_empty = locked.is_empty();
            drop(locked);
            cache.remove(request.session_id);
            return match is_empty {
                true => Ok(FetchContext::new(Kind::Sessionless, request.follower)),
                false => Err(ErrorCode::FetchSessionIdNotFound),
            };
        }
        locked.last_used = now;
        locked.epoch = if locked.epoch == i32::MAX { 1 } else { locked.epoch + 1 };
        drop(locked);
        drop(cache);
        let context = FetchContext::of_session(Kind::Incremental(session), request.follower);
        Ok(FetchContext { forgotten, ..context })
    }

    fn begin_full(&self, request: SessionRequest, now: MonoMs) -> FetchContext {
        let ended = match request.session_id {
            NO_SESSION => None,
            id => self.cache.lock().remove(id),
        };
        let follower = request.follower;
        if request.session_epoch == FINAL_EPOCH || request.partitions.is_empty() {
            let partitions = request.partitions;
            return FetchContext { partitions, ended, ..FetchContext::new(Kind::Sessionless, follower) };
        }
        let mut session = Session::new(follower, request.uses_topic_ids, now);
        for partition in request.partitions {
            session.put(partition);
        }
        let kind = Kind::Full(Arc::new(Mutex::new(session)));
        FetchContext { ended, ..FetchContext::of_session(kind, follower) }
    }

    /// Takes what was read, in the order of `context.partitions`; returns the response's session id and, for each
    /// partition, whether the response carries it.
    pub fn finish(
        &self,
        context: FetchContext,
        summaries: &[(PartitionKey, PartitionSummary)],
        now: MonoMs,
    ) -> (i32, Vec<bool>) {
        let tell = |session: &mut Session| {
            let told = context.slots.iter().zip(summaries);
            told.map(|(slot, (key, summary))| session.tell(*slot, key, summary)).collect()
        };
        match context.kind {
            Kind::Sessionless => (NO_SESSION, vec![true; summaries.len()]),
            Kind::Full(session) => {
                let _: Vec<bool> = tell(&mut session.lock());
                (self.keep(session, now), vec![true; summaries.len()])
            }
            Kind::Incremental(session) => {
                let mut session = session.lock();
                (session.id, tell(&mut session))
            }
        }
    }

    /// The new session's id; `NO_SESSION` where there is no room for it.
    fn keep(&self, session: Arc<Mutex<Session>>, now: MonoMs) -> i32 {
        let (partitions, is_follower) = {
            let session = session.lock();
            (session.len(), session.is_of_follower())
        };
        let mut cache = self.cache.lock();
        while !self.has_room(&cache, partitions) {
            if partitions > self.partitions_max || !cache.evict_for(partitions, is_follower, now) {
                return NO_SESSION;
            }
        }
        cache.insert(session)
    }

    fn has_room(&self, cache: &Cache, partitions: usize) -> bool {
        cache.sessions.len() < self.slots_max && cache.partitions + partitions <= self.partitions_max
    }
}

impl Cache {
    /// Returns the session's id.
    fn insert(&mut self, session: Arc<Mutex<Session>>) -> i32 {
        let id = self.new_id();
        let mut new = session.lock();
        new.id = id;
        self.partitions += new.len();
        drop(new);
        self.sessions.insert(id, session);
        id
    }

    /// Returns where it heard of changes, if it was there and did.
    fn remove(&mut self, id: i32) -> Option<Arc<News>> {
        let session = self.sessions.remove(&id)?;
        let session = session.lock();
        self.partitions -= session.len();
        let news = session.news().cloned();
        if let Some(news) = &news {
            news.close();
        }
        news
    }

    /// Makes room if KIP-227's rules allow: a stale session goes first, then one that is worth less than the new
    /// one: a consumer's for a follower, or an older one with fewer partitions.
    fn evict_for(&mut self, partitions: usize, is_follower: bool, now: MonoMs) -> bool {
        let stale = self
            .sessions
            .values()
            .map(|session| session.lock())
            .filter(|session| now.since_ms(session.last_used) > EVICTION_MS)
            .min_by_key(|session| session.last_used)
            .map(|session| session.id);
        let victim = stale.or_else(|| {
            self.sessions
                .values()
                .map(|session| session.lock())
                .filter(|session| {
                    let is_old = now.since_ms(session.created) > EVICTION_MS;
                    match (is_follower, session.is_of_follower()) {
                        (true, false) => true,
                        (false, true) => false,
                        _ => is_old && session.len() < partitions,
                    }
                })
                .min_by_key(|session| (session.is_of_follower(), session.len(), session.created))
                .map(|session| session.id)
        });
        let Some(victim) = victim else { return false };
        self.remove(victim);
        true
    }

    /// Positive and not in use.
    fn new_id(&mut self) -> i32 {
        loop {
            // splitmix64
            self.id_state = self.id_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.id_state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = ((mixed ^ (mixed >> 31)) >> 33) as i32;
            if id != NO_SESSION && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}
