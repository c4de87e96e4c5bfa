use std::collections::HashMap;
use std::sync::Arc;

use ottla_types::MonoMs;
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::session::Session;
use super::{
    FINAL_EPOCH, FetchPartition, INITIAL_EPOCH, NO_SESSION, PartitionKey, PartitionSummary, SessionRequest,
};

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
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    Full { is_follower: bool, uses_topic_ids: bool },
    Incremental(Arc<Mutex<Session>>),
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
            return Ok(self.begin_full(request));
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
        for partition in request.partitions {
            locked.put(partition);
        }
        for key in &request.forgotten {
            locked.forget(key);
        }
        cache.partitions += locked.len();
        if locked.is_empty() || cache.partitions > self.partitions_max {
            let is_empty = locked.is_empty();
            drop(locked);
            cache.remove(request.session_id);
            return match is_empty {
                true => Ok(FetchContext { kind: Kind::Sessionless, partitions: Vec::new() }),
                false => Err(ErrorCode::FetchSessionIdNotFound),
            };
        }
        locked.last_used = now;
        locked.epoch = if locked.epoch == i32::MAX { 1 } else { locked.epoch + 1 };
        let partitions = locked.requests();
        drop(locked);
        Ok(FetchContext { kind: Kind::Incremental(session), partitions })
    }

    fn begin_full(&self, request: SessionRequest) -> FetchContext {
        if request.session_id != NO_SESSION {
            self.cache.lock().remove(request.session_id);
        }
        let kind = match request.session_epoch {
            FINAL_EPOCH => Kind::Sessionless,
            _ => Kind::Full { is_follower: request.is_follower, uses_topic_ids: request.uses_topic_ids },
        };
        FetchContext { kind, partitions: request.partitions }
    }

    /// Takes what was read, in the order of `context.partitions`; returns the response's session id and, for each
    /// partition, whether the response carries it.
    pub fn finish(
        &self,
        context: FetchContext,
        summaries: &[(PartitionKey, PartitionSummary)],
        now: MonoMs,
    ) -> (i32, Vec<bool>) {
        match context.kind {
            Kind::Sessionless => (NO_SESSION, vec![true; summaries.len()]),
            Kind::Full { is_follower, uses_topic_ids } => {
                let id = self.create(context.partitions, summaries, is_follower, uses_topic_ids, now);
                (id, vec![true; summaries.len()])
            }
            Kind::Incremental(session) => {
                let mut session = session.lock();
                (session.id, summaries.iter().map(|(key, summary)| session.tell(key, summary)).collect())
            }
        }
    }

    /// The new session's id; `NO_SESSION` where there is no room for it.
    fn create(
        &self,
        partitions: Vec<FetchPartition>,
        summaries: &[(PartitionKey, PartitionSummary)],
        is_follower: bool,
        uses_topic_ids: bool,
        now: MonoMs,
    ) -> i32 {
        if partitions.is_empty() {
            return NO_SESSION;
        }
        let mut session = Session::new(is_follower, uses_topic_ids, now);
        for partition in partitions {
            session.put(partition);
        }
        for (key, summary) in summaries {
            session.tell(key, summary);
        }
        let mut cache = self.cache.lock();
        while !self.has_room(&cache, session.len()) {
            if session.len() > self.partitions_max || !cache.evict_for(session.len(), is_follower, now) {
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
    fn insert(&mut self, mut session: Session) -> i32 {
        let id = self.new_id();
        session.id = id;
        self.partitions += session.len();
        self.sessions.insert(id, Arc::new(Mutex::new(session)));
        id
    }

    /// Whether it was there.
    fn remove(&mut self, id: i32) -> bool {
        let Some(session) = self.sessions.remove(&id) else { return false };
        self.partitions -= session.lock().len();
        true
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
                    match (is_follower, session.is_follower) {
                        (true, false) => true,
                        (false, true) => false,
                        _ => is_old && session.len() < partitions,
                    }
                })
                .min_by_key(|session| (session.is_follower, session.len(), session.created))
                .map(|session| session.id)
        });
        victim.is_some_and(|id| self.remove(id))
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
