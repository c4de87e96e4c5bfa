//! The leader's side of replication: how far every replica has got, and from that the high watermark.
//!
//! The high watermark is the largest offset that a majority of the voters has on disk, and it moves only once a record
//! of the leader's own epoch is among them (Raft's §5.4.2). Replicas flush before they fetch, so a follower's fetch
//! offset is durable; of the leader's own log only what it has flushed counts.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Timestamp};

use crate::accumulator::Accumulator;
use crate::log::LogView;
use crate::replica::ReplicaKey;
use crate::voter_change::VoterChange;
use crate::voter_set::VoterSet;

/// An observer that has not fetched for so long can't be made a voter. Kafka's bound is the same.
const CAUGHT_UP_WITHIN_MS: i64 = 3_600_000;

/// Observers that have not fetched for so long are forgotten.
const OBSERVER_SESSION_TIMEOUT_MS: i64 = 300_000;

/// More than the brokers of any cluster: whoever fetches may say that it is another one each time.
pub(crate) const MAX_OBSERVERS: usize = 2_000;

/// How far one replica has got.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaProgress {
    pub key: ReplicaKey,
    /// Its flushed end offset; unknown before its first fetch in this epoch.
    pub end_offset: Option<Offset>,
    pub last_fetch: Option<Now>,
    pub last_caught_up_timestamp: Option<Timestamp>,
    leader_end_at_last_fetch: Option<Offset>,
}

impl ReplicaProgress {
    fn new(key: ReplicaKey) -> ReplicaProgress {
        ReplicaProgress {
            key,
            end_offset: None,
            last_fetch: None,
            last_caught_up_timestamp: None,
            leader_end_at_last_fetch: None,
        }
    }

    fn fetched(&mut self, offset: Offset, leader_end: Offset, now: Now) {
        if offset >= leader_end {
            self.last_caught_up_timestamp = self.last_caught_up_timestamp.max(Some(now.wall));
        } else if self.leader_end_at_last_fetch.is_some_and(|end| offset >= end) {
            let last = self.last_fetch.map(|fetch| fetch.wall);
            self.last_caught_up_timestamp = self.last_caught_up_timestamp.max(last);
        }
        self.leader_end_at_last_fetch = Some(leader_end);
        self.last_fetch = Some(now);
        self.end_offset = Some(offset);
    }
}

/// The state of the one leader of an epoch.
#[derive(Debug)]
pub(crate) struct LeaderState {
    local: ReplicaKey,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) epoch_start_offset: Offset,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) accumulator: Accumulator,
    voters: BTreeMap<NodeId, ReplicaProgress>,
    observers: BTreeMap<ReplicaKey, ReplicaProgress>,
    local_end_offset: Offset,
    /// Voters that fetched since a majority had last done so.
    fetched_voters: BTreeSet<NodeId>,
    check_quorum_ms: i64,
    check_quorum_deadline: MonoMs,
    begin_epoch_ms: i64,
    pub(crate) begin_epoch_at: MonoMs,
    pub(crate) resign_requested: Option<&'static str>,
    pub(crate) voter_change: Option<VoterChange>,
    /// What voters have told of themselves under `kraft.version` 0, where no record holds it.
    pub(crate) told_voters: VoterSet,
}

/// Before a voter that could not be told who leads is told again.
const NOTIFY_AGAIN_MS: i64 = 100;

impl LeaderState {
    pub(crate) fn new(
        local: ReplicaKey,
        accumulator: Accumulator,
        log: &LogView,
        voters: &VoterSet,
        fetch_timeout_ms: i64,
        now: MonoMs,
    ) -> LeaderState {
        // A half more than the followers' own timeout, for what messages and disks take.
        let check_quorum_ms = fetch_timeout_ms + fetch_timeout_ms / 2;
        let mut state = LeaderState {
            local,
            epoch: accumulator.epoch(),
            epoch_start_offset: log.end_offset(),
            high_watermark: None,
            accumulator,
            voters: BTreeMap::new(),
            observers: BTreeMap::new(),
            local_end_offset: log.flushed_end_offset(),
            fetched_voters: BTreeSet::new(),
            check_quorum_ms,
            check_quorum_deadline: now.plus_ms(check_quorum_ms),
            begin_epoch_ms: fetch_timeout_ms / 2,
            begin_epoch_at: now,
            resign_requested: None,
            voter_change: None,
            told_voters: voters.clone(),
        };
        state.set_voters(voters, now);
        state
    }

    /// The leader's log is durable up to `end_offset`. Returns whether the high watermark moved.
    pub(crate) fn local_flushed(&mut self, end_offset: Offset) -> bool {
        self.local_end_offset = self.local_end_offset.max(end_offset);
        self.maybe_advance_high_watermark()
    }

    /// A replica fetches from `offset`, so it has everything before. Returns whether the high watermark moved.
    pub(crate) fn replica_fetched(
        &mut self,
        key: ReplicaKey,
        offset: Offset,
        leader_end: Offset,
        now: Now,
    ) -> bool {
        if key.id < NodeId(0) || key.id == self.local.id {
            return false;
        }
        self.progress_mut(key, now.mono).fetched(offset, leader_end, now);
        self.note_fetching_voter(&key, now.mono);
        self.voters.get(&key.id).is_some_and(|voter| voter.key.names(&key))
            && self.maybe_advance_high_watermark()
    }

    /// A voter that fetches the log or a snapshot still takes this replica for its leader.
    pub(crate) fn note_fetching_voter(&mut self, key: &ReplicaKey, now: MonoMs) {
        if key.id == self.local.id || !self.voters.get(&key.id).is_some_and(|voter| voter.key.names(key)) {
            return;
        }
        self.fetched_voters.insert(key.id);
        let leader_counts = usize::from(self.voters.contains_key(&self.local.id));
        if self.fetched_voters.len() + leader_counts > self.voters.len() / 2 {
            self.fetched_voters.clear();
            self.check_quorum_deadline = now.plus_ms(self.check_quorum_ms);
        }
    }

    /// When the leader must give up because no majority fetches from it; a single voter needs nobody.
    pub(crate) fn check_quorum_deadline(&self) -> MonoMs {
        if self.is_alone() { MonoMs::NEVER } else { self.check_quorum_deadline }
    }

    fn is_alone(&self) -> bool {
        self.voters.len() == 1 && self.voters.contains_key(&self.local.id)
    }

    /// Whether an observer has come to the end of the log and still fetches, so that as a voter it would hold up nothing.
    pub(crate) fn is_caught_up(&self, key: &ReplicaKey, now: MonoMs) -> bool {
        self.observers.get(key).is_some_and(|progress| {
            progress.last_caught_up_timestamp.is_some()
                && progress.last_fetch.is_some_and(|fetch| fetch.mono.plus_ms(CAUGHT_UP_WITHIN_MS) > now)
        })
    }

    /// Voters that haven't fetched for a while and may not know their leader.
    pub(crate) fn voters_to_notify(&self, now: MonoMs) -> Vec<ReplicaKey> {
        self.voters
            .values()
            .filter(|voter| voter.key.id != self.local.id)
            .filter(|voter| {
                voter.last_fetch.is_none_or(|fetch| fetch.mono.plus_ms(self.begin_epoch_ms) <= now)
            })
            .map(|voter| voter.key)
            .collect()
    }

    pub(crate) fn notified(&mut self, now: MonoMs) {
        self.begin_epoch_at = now.plus_ms(self.begin_epoch_ms);
    }

    /// A voter may not have been told who leads.
    pub(crate) fn not_notified(&mut self, now: MonoMs) {
        self.begin_epoch_at = self.begin_epoch_at.min(now.plus_ms(NOTIFY_AGAIN_MS));
    }

    /// The other voters, the one with the longest log first.
    pub(crate) fn preferred_successors(&self) -> Vec<ReplicaKey> {
        let mut others: Vec<&ReplicaProgress> =
            self.voters.values().filter(|voter| voter.key.id != self.local.id).collect();
        others.sort_by_key(|voter| (std::cmp::Reverse(voter.end_offset), voter.key));
        others.iter().map(|voter| voter.key).collect()
    }

    pub(crate) fn voters(&self) -> Vec<ReplicaProgress> {
        self.voters.values().cloned().map(|progress| self.with_local_end(progress)).collect()
    }

    pub(crate) fn observers(&mut self, now: MonoMs) -> Vec<ReplicaProgress> {
        self.forget_silent_observers(now);
        self.observers.values().cloned().map(|progress| self.with_local_end(progress)).collect()
    }

    fn forget_silent_observers(&mut self, now: MonoMs) {
        let local = self.local;
        self.observers.retain(|key, progress| {
            *key == local
                || progress
                    .last_fetch
                    .is_some_and(|fetch| fetch.mono.plus_ms(OBSERVER_SESSION_TIMEOUT_MS) > now)
        });
    }

    /// Where there are too many, the one that fetched longest ago gives way: those that live fetch all the time.
    fn make_room_for_observer(&mut self, now: MonoMs) {
        if self.observers.len() < MAX_OBSERVERS {
            return;
        }
        self.forget_silent_observers(now);
        let others = self.observers.iter().filter(|(key, _)| **key != self.local);
        let oldest = others.min_by_key(|(_, progress)| progress.last_fetch.map(|fetch| fetch.mono));
        if let Some(oldest) = oldest.map(|(key, _)| *key)
            && self.observers.len() >= MAX_OBSERVERS
        {
            self.observers.remove(&oldest);
        }
    }

    fn with_local_end(&self, mut progress: ReplicaProgress) -> ReplicaProgress {
        if progress.key.id == self.local.id {
            progress.end_offset = Some(self.local_end_offset);
        }
        progress
    }

    fn progress_mut(&mut self, key: ReplicaKey, now: MonoMs) -> &mut ReplicaProgress {
        let is_voter = self.voters.get(&key.id).is_some_and(|voter| voter.key.names(&key));
        if !is_voter && !self.observers.contains_key(&key) {
            self.make_room_for_observer(now);
        }
        match self.voters.get_mut(&key.id) {
            Some(voter) if is_voter => voter,
            _ => self.observers.entry(key).or_insert_with(|| ReplicaProgress::new(key)),
        }
    }

    /// Moves replicas between voters and observers as the latest voter set says. From now on their majority decides.
    pub(crate) fn set_voters(&mut self, voters: &VoterSet, now: MonoMs) {
        let was_alone = self.is_alone();
        let mut old = std::mem::take(&mut self.voters);
        for voter in voters.iter() {
            let known = old.remove(&voter.key.id);
            let mut progress = match known {
                Some(progress) if progress.key.names(&voter.key) => progress,
                other => {
                    if let Some(replaced) = other {
                        self.observers.insert(replaced.key, replaced);
                    }
                    self.observers.remove(&voter.key).unwrap_or_else(|| ReplicaProgress::new(voter.key))
                }
            };
            progress.key = voter.key;
            self.voters.insert(voter.key.id, progress);
        }
        for (_, progress) in old {
            self.observers.entry(progress.key).or_insert(progress);
        }
        let voters = &self.voters;
        self.fetched_voters.retain(|id| voters.contains_key(id));
        if was_alone && !self.is_alone() {
            // Nobody had to fetch so far.
            self.check_quorum_deadline = now.plus_ms(self.check_quorum_ms);
        }
    }

    fn maybe_advance_high_watermark(&mut self) -> bool {
        let mut ends: Vec<Option<Offset>> =
            self.voters
                .values()
                .map(|voter| {
                    if voter.key.id == self.local.id { Some(self.local_end_offset) } else { voter.end_offset }
                })
                .collect();
        ends.sort_unstable_by_key(|end| std::cmp::Reverse(*end));
        // Descending, so this one and all before it have it: a majority.
        let Some(Some(majority_end)) = ends.get(ends.len() / 2).copied() else {
            return false;
        };
        if majority_end <= self.epoch_start_offset {
            return false;
        }
        if self.high_watermark.is_some_and(|current| majority_end <= current) {
            return false;
        }
        self.high_watermark = Some(majority_end);
        true
    }
}
