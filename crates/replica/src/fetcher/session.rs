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
        for key in changed {
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
