//! A fetch session with one node: after a first full request, only what changed is said (KIP-227).

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;
use ottla_wire::messages::FetchRequest;
use ottla_wire::messages::fetch_request::{ForgottenTopicsData, Partition, Topic};

/// Opens a session, or asks without one.
const FIRST_EPOCH: i32 = 0;
/// Ends the session, or asks without one.
const LAST_EPOCH: i32 = -1;

/// What is asked of a partition. A session remembers it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub topic: String,
    pub fetch_offset: i64,
    pub current_leader_epoch: i32,
    pub partition_max_bytes: i32,
}

pub(super) type Wishes = BTreeMap<(Uuid, i32), Wish>;

/// What the node and we remember.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    wishes: Wishes,
}

impl Session {
    /// Writes what is to be asked into `request`: all of it, or what changed.
    pub fn ask(&mut self, wishes: Wishes, request: &mut FetchRequest) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let is_full = self.epoch == FIRST_EPOCH;
        let changed = wishes.iter().filter(|(id, wish)| is_full || self.wishes.get(id) != Some(wish));
        request.topics = topics(changed);
        if !is_full {
            let forgotten = self.wishes.iter().filter(|(id, _)| !wishes.contains_key(id));
            request.forgotten_topics_data = forgotten_topics(forgotten);
        }
        self.wishes = wishes;
    }

    /// The node answered the last request.
    pub fn answered(&mut self, session_id: i32) {
        if session_id == 0 {
            // It keeps no session for us.
            *self = Session::default();
        } else {
            self.id = session_id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }

    /// The node doesn't know the session, or it isn't known whether it heard the last request: opens another one, and
    /// ends this one if it is still there.
    pub fn start_over(&mut self, is_known: bool) {
        let id = if is_known { self.id } else { 0 };
        *self = Session { id, ..Session::default() };
    }

    /// A request that ends the session, if there is one.
    pub fn end(&mut self) -> Option<FetchRequest> {
        let id = std::mem::take(self).id;
        let request = FetchRequest { session_id: id, session_epoch: LAST_EPOCH, ..FetchRequest::default() };
        (id != 0).then_some(request)
    }
}

fn topics<'a>(wishes: impl Iterator<Item = (&'a (Uuid, i32), &'a Wish)>) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for ((topic_id, partition), wish) in wishes {
        if topics.last().is_none_or(|last| last.topic_id != *topic_id) {
            topics.push(Topic { topic: wish.topic.clone(), topic_id: *topic_id, ..Topic::default() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(Partition {
                partition: *partition,
                current_leader_epoch: wish.current_leader_epoch,
                fetch_offset: wish.fetch_offset,
                partition_max_bytes: wish.partition_max_bytes,
                ..Partition::default()
            });
        }
    }
    topics
}

fn forgotten_topics<'a>(
    wishes: impl Iterator<Item = (&'a (Uuid, i32), &'a Wish)>,
) -> Vec<ForgottenTopicsData> {
    let mut names: BTreeSet<(Uuid, &str)> = BTreeSet::new();
    let mut partitions: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for ((topic_id, partition), wish) in wishes {
        names.insert((*topic_id, &wish.topic));
        partitions.entry(*topic_id).or_default().push(*partition);
    }
    let forgotten = names.into_iter().map(|(topic_id, topic)| ForgottenTopicsData {
        topic: topic.to_owned(),
        topic_id,
        partitions: partitions.remove(&topic_id).unwrap_or_default(),
        ..ForgottenTopicsData::default()
    });
    forgotten.collect()
}
