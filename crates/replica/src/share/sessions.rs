//! Share sessions (KIP-932): each member of a share group has one with each leader that it fetches from. It names the
//! partitions that are fetched, and makes sure that no acknowledgement is taken twice: a session's epoch grows with every
//! request. What a member has acquired goes back when its session ends, or its connection.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::types::MemberId;

/// `ShareSessionEpoch` of the request that begins a session.
pub const INITIAL_EPOCH: i32 = 0;
/// `ShareSessionEpoch` of the request that ends it.
pub const FINAL_EPOCH: i32 = -1;

/// A partition as share requests name it.
pub type SessionPartition = (Uuid, i32);

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    pub group_id: Arc<str>,
    pub member: MemberId,
}

/// What all sessions together may name; Kafka has no such bound. A member that finds no room is told that there are as
/// many sessions as there may be.
const PARTITIONS_MAX: usize = 500_000;

/// The sessions of a broker, at most `group.share.max.share.sessions`.
#[derive(Debug)]
pub struct ShareSessions {
    sessions_max: usize,
    partitions_max: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<SessionKey, Session>,
    /// Of all sessions.
    partitions: usize,
    by_connection: HashMap<u64, BTreeSet<SessionKey>>,
    sessions_of_group: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    connection: u64,
    /// In the order in which they came.
    partitions: Vec<SessionPartition>,
    /// Told with an error the last time: what comes after it is news.
    had_error: HashSet<SessionPartition>,
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    pub key: SessionKey,
    pub partitions: Vec<SessionPartition>,
    /// Its group has no other session here.
    pub was_last_of_group: bool,
}

/// What one fetch is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareFetchContext {
    pub key: SessionKey,
    pub kind: ContextKind,
    /// None for the last request of a session.
    pub partitions: Vec<SessionPartition>,
    /// Where among the partitions to begin, so that each has its turn.
    pub rotation: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextKind {
    /// The session begins: the answer carries everything.
    Initial,
    /// The answer carries what is new.
    Incremental,
    /// The session ends.
    Final,
}

/// The session part of a fetch.
#[derive(Clone, Debug)]
pub struct ShareSessionRequest {
    pub key: SessionKey,
    pub epoch: i32,
    pub connection: u64,
    pub partitions: Vec<SessionPartition>,
    pub forgotten: Vec<SessionPartition>,
    pub has_acknowledgements: bool,
}

impl ShareSessions {
    pub fn new(sessions_max: usize) -> ShareSessions {
        ShareSessions { sessions_max, partitions_max: PARTITIONS_MAX, cache: Mutex::default() }
    }

    pub fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes up a fetch. Errors are for the whole response: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH,
    /// SHARE_SESSION_LIMIT_REACHED, INVALID_REQUEST.
    pub fn begin(&self, request: ShareSessionRequest) -> Result<ShareFetchContext, ErrorCode> {
        let cache = &mut *self.cache.lock();
        match request.epoch {
            FINAL_EPOCH => {
                if !cache.sessions.contains_key(&request.key) {
                    return Err(ErrorCode::ShareSessionNotFound);
                }
                let (key, kind) = (request.key, ContextKind::Final);
                Ok(ShareFetchContext { key, kind, partitions: Vec::new(), rotation: 0 })
            }
            INITIAL_EPOCH if request.has_acknowledgements => Err(ErrorCode::InvalidRequest),
            INITIAL_EPOCH => {
                // Who finds no room for a new session keeps what is left of the former: its end is told when that ends.
                let (sessions, partitions) = cache.len_without(&request.key);
                let mut session = Session {
                    epoch: next_epoch(INITIAL_EPOCH),
                    connection: request.connection,
                    partitions: Vec::new(),
                    had_error: HashSet::new(),
                };
                session.update(&request.partitions, &[]);
                if sessions >= self.sessions_max
                    || partitions + session.partitions.len() > self.partitions_max
                {
                    return Err(ErrorCode::ShareSessionLimitReached);
                }
                cache.remove(&request.key);
                let partitions = session.partitions.clone();
                cache.insert(request.key.clone(), session);
                let (key, kind) = (request.key, ContextKind::Initial);
                Ok(ShareFetchContext { key, kind, partitions, rotation: 0 })
            }
            epoch => {
                let session = cache.sessions.get_mut(&request.key).ok_or(ErrorCode::ShareSessionNotFound)?;
                if session.epoch != epoch {
                    return Err(ErrorCode::InvalidShareSessionEpoch);
                }
                let others = cache.partitions - session.partitions.len();
                if others + session.len_with(&request.partitions) > self.partitions_max {
                    return Err(ErrorCode::ShareSessionLimitReached);
                }
                session.update(&request.partitions, &request.forgotten);
                cache.partitions = others + session.partitions.len();
                session.epoch = next_epoch(epoch);
                let partitions = session.partitions.clone();
                let rotation = usize::try_from(epoch).unwrap_or(0) % partitions.len().max(1);
                let (key, kind) = (request.key, ContextKind::Incremental);
                Ok(ShareFetchContext { key, kind, partitions, rotation })
            }
        }
    }

    /// Takes up a request that only acknowledges.
    pub fn acknowledge(&self, key: &SessionKey, epoch: i32) -> Result<(), ErrorCode> {
        if epoch == INITIAL_EPOCH {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        let mut cache = self.cache.lock();
        let session = cache.sessions.get_mut(key).ok_or(ErrorCode::ShareSessionNotFound)?;
        if epoch == FINAL_EPOCH {
            return Ok(());
        }
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        session.epoch = next_epoch(epoch);
        Ok(())
    }

    /// Of the partitions that were read, those that the answer carries. `found`: with whether there are records, and
    /// whether there is an error.
    pub fn carried(
        &self,
        context: &ShareFetchContext,
        found: &[(SessionPartition, bool, bool)],
    ) -> Vec<bool> {
        if context.kind != ContextKind::Incremental {
            return vec![true; found.len()];
        }
        let mut cache = self.cache.lock();
        let Some(session) = cache.sessions.get_mut(&context.key) else { return vec![true; found.len()] };
        let tell = |(partition, has_records, has_error): &(SessionPartition, bool, bool)| {
            let had_error = session.had_error.remove(partition);
            if *has_error {
                session.had_error.insert(*partition);
            }
            *has_records || *has_error || had_error
        };
        found.iter().map(tell).collect()
    }

    /// Ends a session.
    pub fn end(&self, key: &SessionKey) -> Option<EndedSession> {
        self.cache.lock().remove(key)
    }

    pub fn has_connection(&self, connection: u64) -> bool {
        self.cache.lock().by_connection.contains_key(&connection)
    }

    /// Ends the sessions that came through a connection.
    pub fn connection_closed(&self, connection: u64) -> Vec<EndedSession> {
        let mut cache = self.cache.lock();
        let keys = cache.by_connection.remove(&connection).unwrap_or_default();
        keys.iter().filter_map(|key| cache.remove(key)).collect()
    }

    /// The partitions of all sessions of a group's members, by member.
    pub fn members_of(&self, group_id: &str) -> BTreeMap<MemberId, Vec<SessionPartition>> {
        let cache = self.cache.lock();
        let of_group = cache.sessions.iter().filter(|(key, _)| *key.group_id == *group_id);
        of_group.map(|(key, session)| (Arc::clone(&key.member), session.partitions.clone())).collect()
    }
}

impl Session {
    /// So many partitions at most, once these are added.
    fn len_with(&self, added: &[SessionPartition]) -> usize {
        let known: HashSet<&SessionPartition> = self.partitions.iter().collect();
        self.partitions.len() + added.iter().filter(|partition| !known.contains(partition)).count()
    }

    fn update(&mut self, added: &[SessionPartition], forgotten: &[SessionPartition]) {
        let known: HashSet<SessionPartition> = self.partitions.iter().copied().collect();
        let mut new = HashSet::new();
        let is_new = |partition: &&SessionPartition| !known.contains(partition) && new.insert(**partition);
        self.partitions.extend(added.iter().filter(is_new));
        if !forgotten.is_empty() {
            let forgotten: HashSet<SessionPartition> = forgotten.iter().copied().collect();
            self.partitions.retain(|partition| !forgotten.contains(partition));
            self.had_error.retain(|partition| !forgotten.contains(partition));
        }
    }
}

impl Cache {
    /// How many sessions there are, and how many partitions they name, but for that of `key`.
    fn len_without(&self, key: &SessionKey) -> (usize, usize) {
        match self.sessions.get(key) {
            Some(session) => (self.sessions.len() - 1, self.partitions - session.partitions.len()),
            None => (self.sessions.len(), self.partitions),
        }
    }

    fn insert(&mut self, key: SessionKey, session: Session) {
        self.partitions += session.partitions.len();
        self.by_connection.entry(session.connection).or_default().insert(key.clone());
        *self.sessions_of_group.entry(Arc::clone(&key.group_id)).or_default() += 1;
        self.sessions.insert(key, session);
    }

    fn remove(&mut self, key: &SessionKey) -> Option<EndedSession> {
        let session = self.sessions.remove(key)?;
        self.partitions -= session.partitions.len();
        if let Some(keys) = self.by_connection.get_mut(&session.connection) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_connection.remove(&session.connection);
            }
        }
        let left = self.sessions_of_group.get_mut(&key.group_id).map_or(0, |left| {
            *left = left.saturating_sub(1);
            *left
        });
        if left == 0 {
            self.sessions_of_group.remove(&key.group_id);
        }
        Some(EndedSession { key: key.clone(), partitions: session.partitions, was_last_of_group: left == 0 })
    }
}

/// After the largest epoch comes 1: 0 begins a session.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(member: &str, epoch: i32, partitions: std::ops::Range<i32>) -> ShareSessionRequest {
        ShareSessionRequest {
            key: SessionKey { group_id: Arc::from("g"), member: Arc::from(member) },
            epoch,
            connection: 1,
            partitions: partitions.map(|partition| (Uuid([7; 16]), partition)).collect(),
            forgotten: Vec::new(),
            has_acknowledgements: false,
        }
    }

    #[test]
    fn partitions_of_all_sessions_are_bounded() {
        let sessions = ShareSessions { partitions_max: 5, ..ShareSessions::new(10) };
        let begin = |request| sessions.begin(request).map(|context| context.partitions.len());
        let full = Err(ErrorCode::ShareSessionLimitReached);
        assert_eq!(begin(request("a", INITIAL_EPOCH, 0..3)), Ok(3));
        assert_eq!(begin(request("b", INITIAL_EPOCH, 0..3)), full);
        assert_eq!(begin(request("b", INITIAL_EPOCH, 0..2)), Ok(2));
        assert_eq!(begin(request("a", 1, 2..4)), full);
        // The session is as it was.
        let fewer = ShareSessionRequest { forgotten: vec![(Uuid([7; 16]), 0)], ..request("a", 1, 0..3) };
        assert_eq!(begin(fewer), Ok(2));
        assert_eq!(begin(request("a", 2, 3..4)), Ok(3));
        assert!(sessions.end(&request("b", 0, 0..0).key).is_some());
        assert_eq!(begin(request("a", 3, 4..6)), Ok(5));
    }

    #[test]
    fn who_finds_no_room_for_a_new_session_keeps_the_former() {
        let sessions = ShareSessions { partitions_max: 5, ..ShareSessions::new(2) };
        let begin = |request| sessions.begin(request).map(|context| context.partitions.len());
        assert_eq!(begin(request("a", INITIAL_EPOCH, 0..3)), Ok(3));
        let other = SessionKey { group_id: Arc::from("h"), member: Arc::from("b") };
        let of_other = |partitions| ShareSessionRequest { key: other.clone(), ..request("b", 0, partitions) };
        assert_eq!(begin(of_other(0..2)), Ok(2));
        assert_eq!(begin(request("a", INITIAL_EPOCH, 0..4)), Err(ErrorCode::ShareSessionLimitReached));
        assert_eq!(begin(request("a", INITIAL_EPOCH, 1..4)), Ok(3), "a new one in the place of its own");
        assert_eq!(begin(request("a", INITIAL_EPOCH, 0..4)), Err(ErrorCode::ShareSessionLimitReached));
        let ended = sessions.connection_closed(1);
        assert_eq!(ended.len(), 2, "the group of neither is forgotten");
        assert!(ended.iter().all(|session| session.was_last_of_group) && sessions.is_empty());
    }
}
