use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ottla_log::log_manager::LogManager;
use ottla_types::{BrokerEpoch, LeaderEpoch, MonoMs, NodeId, Now};
use parking_lot::{Mutex, RwLock};

use super::{Fetcher, FetcherAnswer, FetcherId, FetcherSettings, Key, Taken, ToFetch, key_of};
use crate::partition::{Partition, ReplicaRules};

/// All fetchers of a broker. Each has a lock of its own, under which it appends.
pub struct Fetchers {
    local: NodeId,
    settings: FetcherSettings,
    /// For each other broker.
    count: AtomicU32,
    rules: Arc<ReplicaRules>,
    logs: Arc<LogManager>,
    by_id: RwLock<BTreeMap<FetcherId, Arc<Entry>>>,
    /// Who follows which partition.
    followed: Mutex<BTreeMap<Key, FetcherId>>,
}

#[derive(Debug)]
struct Entry {
    fetcher: Mutex<Fetcher>,
    /// When it has something to send, for those who do not want to wait for an append.
    deadline: AtomicU64,
}

impl Entry {
    fn with<T>(&self, run: impl FnOnce(&mut Fetcher) -> T) -> T {
        let mut fetcher = self.fetcher.lock();
        let result = run(&mut fetcher);
        self.deadline.store(fetcher.next_deadline().0, Ordering::Release);
        result
    }

    fn deadline(&self) -> MonoMs {
        MonoMs(self.deadline.load(Ordering::Acquire))
    }
}

impl Fetchers {
    pub(crate) fn new(
        local: NodeId,
        settings: FetcherSettings,
        rules: Arc<ReplicaRules>,
        logs: Arc<LogManager>,
    ) -> Fetchers {
        let count = AtomicU32::new(settings.fetchers);
        Fetchers { local, settings, count, rules, logs, by_id: RwLock::default(), followed: Mutex::default() }
    }

    /// Spreads all partitions over so many fetchers of each leader.
    pub(crate) fn set_count(&self, count: u32, now: Now) {
        if self.count.swap(count, Ordering::Relaxed) == count {
            return;
        }
        let all: Vec<_> =
            self.by_id.read().iter().map(|(id, entry)| (id.leader, Arc::clone(entry))).collect();
        for (leader, entry) in all {
            for (partition, leader_epoch) in entry.with(|fetcher| fetcher.followed()) {
                self.follow(&partition, leader, leader_epoch, now);
            }
        }
    }

    /// Follows `leader` from now on, in this epoch.
    pub(crate) fn follow(
        &self,
        partition: &Arc<Partition>,
        leader: NodeId,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) {
        let key = key_of(partition);
        let id = FetcherId { leader, index: self.index(&key) };
        let before = self.followed.lock().insert(key, id);
        if let Some(before) = before.filter(|before| *before != id) {
            self.unfollow_from(before, key);
        }
        let known = self.by_id.read().get(&id).cloned();
        let entry = known.unwrap_or_else(|| {
            let fetcher = Mutex::new(Fetcher::new(id, self.local, self.settings, Arc::clone(&self.rules)));
            let new = Entry { fetcher, deadline: AtomicU64::new(MonoMs::NEVER.0) };
            Arc::clone(self.by_id.write().entry(id).or_insert(Arc::new(new)))
        });
        entry.with(|fetcher| fetcher.follow(partition, leader_epoch, &self.logs, now));
    }

    pub(crate) fn unfollow(&self, partition: &Partition) {
        let key = key_of(partition);
        let before = self.followed.lock().remove(&key);
        if let Some(before) = before {
            self.unfollow_from(before, key);
        }
    }

    fn unfollow_from(&self, id: FetcherId, key: Key) {
        let entry = self.by_id.read().get(&id).cloned();
        if let Some(entry) = entry {
            entry.with(|fetcher| fetcher.unfollow(key));
        }
    }

    fn index(&self, key: &Key) -> u32 {
        spread(key) % self.count.load(Ordering::Relaxed).max(1)
    }

    /// What is to be sent now. `broker_epoch` is this broker's own.
    pub(crate) fn poll(&self, broker_epoch: Option<BrokerEpoch>, now: Now) -> Vec<ToFetch> {
        let due: Vec<_> =
            self.by_id.read().values().filter(|entry| entry.deadline() <= now.mono).cloned().collect();
        let poll = |entry: &Arc<Entry>| entry.with(|fetcher| fetcher.poll(broker_epoch, &self.logs, now));
        due.iter().filter_map(poll).collect()
    }

    /// Takes an answer; returns what it changed, and what is to be sent next.
    pub(crate) fn answered(
        &self,
        id: FetcherId,
        ticket: u64,
        answer: FetcherAnswer,
        broker_epoch: Option<BrokerEpoch>,
        now: Now,
    ) -> (Taken, Option<ToFetch>) {
        let entry = self.by_id.read().get(&id).cloned();
        let Some(entry) = entry else { return (Taken::default(), None) };
        entry.with(|fetcher| {
            let changed = fetcher.answered(ticket, answer, &self.logs, now);
            let next = fetcher.poll(broker_epoch, &self.logs, now);
            (Taken { changed, without_room: std::mem::take(&mut fetcher.without_room) }, next)
        })
    }

    /// Whom, in which epochs.
    #[cfg(test)]
    pub(crate) fn followed(&self) -> Vec<(NodeId, LeaderEpoch)> {
        let entries: Vec<_> =
            self.by_id.read().iter().map(|(id, entry)| (id.leader, Arc::clone(entry))).collect();
        let of_one = |(leader, entry): (NodeId, Arc<Entry>)| {
            let followed = entry.with(|fetcher| fetcher.followed());
            followed.into_iter().map(move |(_, leader_epoch)| (leader, leader_epoch))
        };
        entries.into_iter().flat_map(of_one).collect()
    }

    pub(crate) fn next_deadline(&self) -> MonoMs {
        self.by_id.read().values().map(|entry| entry.deadline()).min().unwrap_or(MonoMs::NEVER)
    }
}

impl std::fmt::Debug for Fetchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetchers").field("fetchers", &self.by_id.read().len()).finish_non_exhaustive()
    }
}

/// Spreads the partitions over the fetchers of their leader; always the same way.
fn spread((topic_id, partition): &Key) -> u32 {
    let add = |hash: u32, byte: &u8| hash.wrapping_mul(31).wrapping_add(u32::from(*byte));
    topic_id.0.iter().fold(0, add).wrapping_add(partition.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use ottla_types::Uuid;

    use super::*;

    #[test]
    fn every_topic_has_a_place() {
        let carries = Uuid([179, 202, 243, 14, 249, 186, 96, 137, 133, 226, 131, 134, 1, 8, 7, 36]);
        assert_eq!([spread(&(carries, 0)), spread(&(carries, 1))], [1092001152, 1092001153]);
        assert_eq!(
            spread(&(Uuid([255; 16]), i32::MAX)),
            spread(&(Uuid([255; 16]), 0)).wrapping_add(i32::MAX as u32)
        );
    }
}
