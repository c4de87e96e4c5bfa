use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;
use ottla_wire::messages::fetch_request::{ForgottenTopicsData, Partition, Topic};

use super::{Asked, Key};
use crate::fetch_session::{INITIAL_EPOCH, NO_SESSION};

/// The follower's side of a fetch session: what the leader holds of it.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The leader's latest; a request that begins a new one has it dropped.
    id: i32,
    /// Of the next request.
    epoch: i32,
    /// The leader has made none when it was asked last.
    is_refused: bool,
    asked: BTreeMap<Key, Asked>,
    /// Whose records came last.
    served_last: Option<Key>,
}

/// What a request is to say of the session.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SessionPart {
    pub id: i32,
    pub epoch: i32,
    pub topics: Vec<Topic>,
    pub forgotten: Vec<ForgottenTopicsData>,
}

impl Session {
    /// What was asked of a partition, as the leader has it.
    pub fn asked(&self, key: &Key) -> Option<&Asked> {
        self.asked.get(key)
    }

    /// Whether a request has to name everything.
    pub fn is_full(&self) -> bool {
        self.epoch == INITIAL_EPOCH
    }

    /// Whether a request will begin a session, as far as is known: where the leader makes none every request names everything.
    pub fn begins(&self) -> bool {
        self.is_full() && !self.is_refused
    }

    /// The next request: `wanted` of each key that may have changed, none where the partition is not to be fetched now.
    pub fn request(
        &mut self,
        changed: &BTreeSet<Key>,
        wanted: impl Fn(&Key) -> Option<Asked>,
    ) -> SessionPart {
        let mut part = SessionPart { id: self.id, epoch: self.epoch, ..SessionPart::default() };
        // A session sees to it that all are served in turn. Without one the leader fills its answer from the first on.
        let first = self.served_last.filter(|_| self.is_refused && self.is_full());
        let is_behind = |key: &&Key| first.is_none_or(|first| **key > first);
        for key in changed.iter().filter(is_behind).chain(changed.iter().filter(|key| !is_behind(key))) {
            match wanted(key) {
                Some(asked) if self.asked.get(key) == Some(&asked) => {}
                Some(asked) => {
                    self.asked.insert(*key, asked);
                    add(&mut part.topics, key, &asked);
                }
                None if self.asked.remove(key).is_some() && !self.is_full() => {
                    forget(&mut part.forgotten, key);
                }
                None => {}
            }
        }
        part
    }

    /// There were records of a partition in an answer.
    pub fn served(&mut self, key: Key) {
        self.served_last = Some(key);
    }

    /// The answer names the session; the leader may have made none.
    pub fn answered(&mut self, id: i32) {
        self.is_refused = id == NO_SESSION;
        if self.is_refused {
            self.reset();
        } else {
            self.epoch = if self.epoch == i32::MAX { INITIAL_EPOCH + 1 } else { self.epoch + 1 };
        }
        self.id = id;
    }

    /// The next request names everything anew.
    pub fn reset(&mut self) {
        self.epoch = INITIAL_EPOCH;
        self.asked.clear();
    }
}

fn add(topics: &mut Vec<Topic>, key: &Key, asked: &Asked) {
    let partition = Partition {
        partition: key.1,
        current_leader_epoch: asked.leader_epoch.value(),
        fetch_offset: asked.offset.value(),
        last_fetched_epoch: asked.last_fetched_epoch.value(),
        log_start_offset: asked.log_start_offset.value(),
        partition_max_bytes: asked.max_bytes,
        ..Partition::default()
    };
    match topics.last_mut().filter(|topic| topic.topic_id == key.0) {
        Some(topic) => topic.partitions.push(partition),
        None => topics.push(Topic { topic_id: key.0, partitions: vec![partition], ..Topic::default() }),
    }
}

fn forget(forgotten: &mut Vec<ForgottenTopicsData>, key: &Key) {
    let (topic_id, partition): (Uuid, i32) = *key;
    match forgotten.last_mut().filter(|topic| topic.topic_id == topic_id) {
        Some(topic) => topic.partitions.push(partition),
        None => forgotten.push(ForgottenTopicsData {
            topic_id,
            partitions: vec![partition],
            ..ForgottenTopicsData::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::{LeaderEpoch, Offset};

    use super::*;

    fn key(topic: u8, partition: i32) -> Key {
        (Uuid([topic; 16]), partition)
    }

    fn named(part: &SessionPart) -> Vec<Key> {
        let topics = part.topics.iter();
        topics
            .flat_map(|topic| topic.partitions.iter().map(|asked| (topic.topic_id, asked.partition)))
            .collect()
    }

    /// Where one answer has no room for the records of all, none is left behind for ever.
    #[test]
    fn without_a_session_partitions_are_named_in_turn() {
        let all = BTreeSet::from([key(1, 0), key(1, 1), key(1, 2), key(2, 0)]);
        let asked = Asked {
            leader_epoch: LeaderEpoch(0),
            offset: Offset(0),
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset(0),
            max_bytes: 1,
        };
        for has_session in [true, false] {
            let mut session = Session::default();
            let in_order = [key(1, 0), key(1, 1), key(1, 2), key(2, 0)];
            assert_eq!(named(&session.request(&all, |_| Some(asked))), in_order);
            session.served(key(1, 1));
            session.answered(if has_session { 7 } else { NO_SESSION });
            let next = session.request(&all, |_| Some(Asked { offset: Offset(1), ..asked }));
            if has_session {
                assert_eq!(named(&next), in_order);
                continue;
            }
            assert_eq!(named(&next), [key(1, 2), key(2, 0), key(1, 0), key(1, 1)]);
            session.answered(NO_SESSION);
            session.served(key(2, 0));
            assert_eq!(named(&session.request(&all, |_| Some(asked))), in_order);
        }
    }
}
