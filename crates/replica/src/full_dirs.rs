//! Replicas that others do without for as long as there is no room for them.
//!
//! A leader refuses what its directory has no room for, and a follower that can't append holds up whoever waits for all in-sync
//! replicas. Where others are in sync such a replica is given up: the controller is to be told that it is in no directory
//! (KIP-858), has another one lead, and takes it out of the ISR. It follows nobody meanwhile: where nothing is written it would
//! be in sync again at once, and hold up the next record. With room again it comes back like any that was away.
//!
//! The only replica in sync is never given up. It refuses what there is no room for, and goes on when there is some.
//!
//! Where no directory has room the broker can do nothing that is of use to others ([`ReplicaManager::is_without_room`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{MonoMs, Now, TopicPartition, Uuid};
use parking_lot::Mutex;

use crate::manager::ReplicaManager;
use crate::partition::Partition;

/// Between two looks for room.
const LOOK_MS: i64 = 1_000;
/// A directory with less than that is full.
const ROOM_BYTES: u64 = 1024 * 1024;

/// What has become of a replica.
#[derive(Clone, Debug)]
pub struct RoomChange {
    pub partition: Arc<Partition>,
    /// False if it is given up, true if it has come back.
    pub has_room: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FullDirs(Mutex<State>);

/// By id: a topic that was made again under its name is another one.
type Key = (Uuid, i32);

#[derive(Debug, Default)]
struct State {
    given_up: BTreeMap<Key, Arc<Partition>>,
    /// Those of which nobody has been told.
    untold: Vec<Arc<Partition>>,
    look_at: MonoMs,
    /// No directory had room at the last look, which there is after each that is given up too.
    are_all_full: bool,
}

fn key_of(partition: &Partition) -> Key {
    (partition.topic_id(), partition.topic_partition().partition)
}

impl FullDirs {
    /// Whether it was not given up before.
    fn add(&self, partition: &Arc<Partition>, now: MonoMs) -> bool {
        let mut state = self.0.lock();
        let key = key_of(partition);
        if state.given_up.contains_key(&key) {
            return false;
        }
        if state.given_up.is_empty() {
            state.look_at = now.plus_ms(LOOK_MS);
        }
        state.given_up.insert(key, Arc::clone(partition));
        state.untold.push(Arc::clone(partition));
        true
    }

    pub fn remove(&self, partition: &Partition) {
        self.0.lock().given_up.remove(&key_of(partition));
    }

    fn contains(&self, partition: &Partition) -> bool {
        self.0.lock().given_up.contains_key(&key_of(partition))
    }

    /// When there is something to look at.
    pub fn next_deadline(&self) -> MonoMs {
        let state = self.0.lock();
        match (state.untold.is_empty(), state.given_up.is_empty()) {
            (false, _) => MonoMs(0),
            (true, true) => MonoMs::NEVER,
            (true, false) => state.look_at,
        }
    }

    /// Those that were given up since the last call, and those that have room again. `all` yields the directories that there are:
    /// it is asked only where a replica is given up, for this is looked at with each tick.
    fn changes(
        &self,
        now: MonoMs,
        all: impl FnOnce() -> Vec<PathBuf>,
        has_room: impl Fn(&Path) -> bool,
    ) -> Vec<RoomChange> {
        let mut state = self.0.lock();
        if !state.untold.is_empty() || state.look_at <= now && !state.given_up.is_empty() {
            state.are_all_full = !all().iter().any(|dir| has_room(dir));
        }
        let untold = std::mem::take(&mut state.untold).into_iter();
        let mut changes: Vec<_> = untold.map(|partition| RoomChange { partition, has_room: false }).collect();
        if state.given_up.is_empty() || state.look_at > now {
            return changes;
        }
        state.look_at = now.plus_ms(LOOK_MS);
        let mut dirs = BTreeMap::<PathBuf, bool>::new();
        // It may have moved to another one meanwhile.
        let is_back = |_: &Key, partition: &mut Arc<Partition>| {
            *dirs.entry(partition.log().log_dir()).or_insert_with_key(|dir| has_room(dir))
        };
        let back = state.given_up.extract_if(.., is_back);
        changes.extend(back.map(|(_, partition)| RoomChange { partition, has_room: true }));
        changes
    }
}

impl ReplicaManager {
    /// There was no room for what was to be appended.
    pub(crate) fn has_no_room(&self, partition: &Arc<Partition>, now: Now) {
        let following = self.following.lock();
        if !partition.is_in_sync_with_others() {
            return;
        }
        let is_news = self.full_dirs.add(partition, now.mono);
        // It may have begun to follow in between.
        self.fetchers.unfollow(partition);
        drop(following);
        if is_news {
            tracing::warn!(partition = %partition.topic_partition(), dir = %partition.log().log_dir().display(),
                "gives its replica up, as the log directory is full and others are in sync");
            self.will_be_due(MonoMs(0));
        }
    }

    /// Whether others do without this replica for want of room.
    pub fn is_given_up(&self, partition: &Partition) -> bool {
        self.full_dirs.contains(partition)
    }

    /// Whether replicas were given up for want of room, and no log directory of this broker has any.
    pub fn is_without_room(&self) -> bool {
        let state = self.full_dirs.0.lock();
        !state.given_up.is_empty() && state.are_all_full
    }

    /// The replicas that were given up for want of room since the last call, and those that have come back. The controller
    /// is to be told of all of them.
    pub fn room_changes(&self, now: Now) -> Vec<RoomChange> {
        let has_room = |dir: &Path| {
            // Where it can't be told it shows with the next append.
            self.logs.context().disk.space(dir).map_or(true, |space| space.usable_bytes >= ROOM_BYTES)
        };
        let changes = self.full_dirs.changes(now.mono, || self.logs.online_dirs(), has_room);
        for RoomChange { partition, .. } in changes.iter().filter(|change| change.has_room) {
            tracing::info!(partition = %partition.topic_partition(), "there is room for its replica again");
            self.follow_leader(partition, now);
        }
        changes
    }

    /// The controller has another one lead a partition whose replica here was given up. The metadata may be long in saying so,
    /// where their log is in the same full directory: until they do nobody leads as far as this node knows. Returns it if this node has led it.
    pub fn stand_aside(&self, topic_id: Uuid, partition: i32, now: Now) -> Option<TopicPartition> {
        let partition = self.partition_by_id(topic_id, partition);
        let partition = partition.filter(|partition| self.is_given_up(partition))?;
        self.stand_aside_in(&partition, now)
    }

    /// The controller has fenced this broker, and the metadata can't say so: as [`ReplicaManager::stand_aside`], wherever
    /// others are in sync.
    pub fn stand_aside_everywhere(&self, now: Now) -> Vec<TopicPartition> {
        self.partitions().iter().filter_map(|partition| self.stand_aside_in(partition, now)).collect()
    }

    fn stand_aside_in(&self, partition: &Arc<Partition>, now: Now) -> Option<TopicPartition> {
        if !partition.stand_aside() {
            return None;
        }
        self.check_all(partition, now);
        Some(partition.topic_partition().clone())
    }
}
