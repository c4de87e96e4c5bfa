//! The share partitions of this node: loaded when somebody first fetches, dropped when the node no longer leads.
//!
//! A share partition is locked only to ask or tell its state machine something. The share coordinator is called, and
//! those who wait are answered, without that lock.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_log::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, Timestamp};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::fetch::DelayedShareFetch;
use super::partition::{Change, SharePartition};
use super::persister::{DeadLetters, OffsetReset, Persister, ShareGroups};
use super::types::{AcknowledgementBatch, MemberId, PersistedState, SharePartitionId};
use crate::manager::ReplicaManager;
use crate::partition::{Partition, ReaderKind};
use crate::purgatory::Watchers;

/// Tells the time at present, in the middle of what was begun at the time given.
pub type Present = Arc<dyn Fn(Now) -> Now + Send + Sync>;

/// Told what became of an acknowledgement.
pub type Acknowledged = Box<dyn FnOnce(Result<(), ErrorCode>) + Send>;

pub struct SharePartitions {
    pub(super) replicas: Arc<ReplicaManager>,
    persister: Arc<dyn Persister>,
    dead_letters: Arc<dyn DeadLetters>,
    pub(super) groups: Arc<dyn ShareGroups>,
    pub(super) present: Present,
    entries: Mutex<HashMap<SharePartitionId, Arc<Entry>>>,
    /// No lock runs out before this.
    next_lock_deadline: AtomicU64,
}

/// One share partition under one leader epoch.
pub(super) struct Entry {
    pub(super) id: SharePartitionId,
    pub(super) partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    pub(super) state: Mutex<EntryState>,
    /// Held by whoever reads the log for a fetch, without the state.
    pub(super) reading: Mutex<()>,
    pub(super) fetches: Watchers<DelayedShareFetch>,
}

pub(super) struct EntryState {
    pub(super) phase: Phase,
    /// Changes reach the share coordinator one after the other: one that overtook another would take its start back.
    queue: VecDeque<(Change, Option<Acknowledged>)>,
    is_writing: bool,
    /// Somebody is handing changes on.
    is_handing_on: bool,
    /// Nobody of the group is left: it goes once all is written that was said.
    is_leaving: bool,
}

pub(super) enum Phase {
    Loading,
    Active(Box<SharePartition>),
    /// Nobody is served here any more.
    Failed(ErrorCode),
}

impl fmt::Debug for SharePartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharePartitions").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl SharePartitions {
    pub fn new(
        replicas: Arc<ReplicaManager>,
        persister: Arc<dyn Persister>,
        dead_letters: Arc<dyn DeadLetters>,
        groups: Arc<dyn ShareGroups>,
        present: Present,
    ) -> SharePartitions {
        SharePartitions {
            replicas,
            persister,
            dead_letters,
            groups,
            present,
            entries: Mutex::default(),
            next_lock_deadline: AtomicU64::new(MonoMs::NEVER.0),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The share partition, loading if nobody has asked for it under this leader epoch.
    pub(super) fn entry(
        self: &Arc<Self>,
        id: &SharePartitionId,
        partition: &Arc<Partition>,
        now: Now,
    ) -> Result<Arc<Entry>, ErrorCode> {
        let leader_epoch = partition.leading_epoch().ok_or(ErrorCode::NotLeaderOrFollower)?;
        let mut entries = self.entries.lock();
        let known = entries.get(id).filter(|known| known.is_of(partition, leader_epoch));
        if let Some(known) = known {
            known.state.lock().is_leaving = false;
            return Ok(Arc::clone(known));
        }
        let entry = Arc::new(Entry {
            id: id.clone(),
            partition: Arc::clone(partition),
            leader_epoch,
            state: Mutex::new(EntryState {
                phase: Phase::Loading,
                queue: VecDeque::new(),
                is_writing: false,
                is_handing_on: false,
                is_leaving: false,
            }),
            reading: Mutex::default(),
            fetches: Watchers::default(),
        });
        let stale = entries.insert(id.clone(), Arc::clone(&entry));
        drop(entries);
        if let Some(stale) = stale {
            self.fail(&stale, ErrorCode::NotLeaderOrFollower, now);
        }
        let (shares, loading) = (Arc::clone(self), Arc::clone(&entry));
        let done = Box::new(move |state, now| shares.state_is_read(loading, state, now));
        self.persister.read(id, leader_epoch.value(), now, done);
        Ok(entry)
    }

    /// Where a group begins at a time, that is looked for in the log, which may have to be read from the disk: whoever brings
    /// the state isn't kept waiting for it.
    fn state_is_read(
        self: &Arc<Self>,
        entry: Arc<Entry>,
        state: Result<PersistedState, ErrorCode>,
        now: Now,
    ) {
        let reset = self.groups.settings(&entry.id.group_id).offset_reset;
        let is_new = state.as_ref().is_ok_and(|state| state.start_offset.is_none());
        if !is_new || !matches!(reset, OffsetReset::ByDuration(_)) {
            return self.loaded(&entry, state, now);
        }
        let shares = Arc::clone(self);
        (self.replicas.read_later)(Box::new(move || shares.loaded(&entry, state, now)));
    }

    fn loaded(self: &Arc<Self>, entry: &Arc<Entry>, state: Result<PersistedState, ErrorCode>, now: Now) {
        let loaded = state.map_err(of_persister).and_then(|state| self.begin(entry, state, now));
        match loaded {
            Ok(partition) => {
                let mut held = entry.state.lock();
                if matches!(held.phase, Phase::Loading) {
                    held.phase = Phase::Active(Box::new(partition));
                }
                held.queue_unsent();
                drop(held);
                self.write_next(entry, now);
                self.check_fetches(entry, now);
            }
            Err(code) => {
                tracing::warn!(id = ?entry.id, ?code, "a share partition can't be loaded");
                self.drop_entry(entry, code, now);
            }
        }
    }

    fn begin(&self, entry: &Entry, state: PersistedState, now: Now) -> Result<SharePartition, ErrorCode> {
        let settings = self.groups.settings(&entry.id.group_id);
        let start = match state.start_offset {
            Some(start) => start,
            None => self.reset_offset(&entry.partition, settings.offset_reset, now)?,
        };
        SharePartition::load(state, entry.leader_epoch.value(), start, settings.partition)
            .ok_or(ErrorCode::UnknownServerError)
    }

    fn reset_offset(&self, partition: &Partition, reset: OffsetReset, now: Now) -> Result<Offset, ErrorCode> {
        let find = |timestamp| {
            let found = partition.offset_for_timestamp(timestamp, LeaderEpoch::NONE, ReaderKind::Consumer)?;
            Ok::<_, ErrorCode>(found.map(|found| found.offset))
        };
        let timestamp = match reset {
            OffsetReset::Earliest => EARLIEST_TIMESTAMP,
            OffsetReset::Latest => LATEST_TIMESTAMP,
            OffsetReset::ByDuration(ms) => Timestamp(now.wall.value().saturating_sub(ms).max(0)),
        };
        match find(timestamp)? {
            Some(offset) => Ok(offset),
            None => Ok(find(LATEST_TIMESTAMP)?.unwrap_or(partition.log().high_watermark())),
        }
    }

    /// Tells what a member said of its records; `done` hears of it when it is persisted.
    pub fn acknowledge(
        self: &Arc<Self>,
        id: &SharePartitionId,
        member: &MemberId,
        batches: &[AcknowledgementBatch],
        now: Now,
        done: Acknowledged,
    ) {
        let known = self.entries.lock().get(id).cloned();
        let Some(entry) = known else { return done(Err(ErrorCode::UnknownTopicOrPartition)) };
        if !entry.is_of(&entry.partition, entry.leader_epoch) {
            return done(Err(ErrorCode::NotLeaderOrFollower));
        }
        let settings = self.groups.settings(&id.group_id);
        let mut held = entry.state.lock();
        let partition = match &mut held.phase {
            Phase::Active(partition) => partition,
            Phase::Loading => {
                drop(held);
                return done(Err(ErrorCode::InvalidRecordState));
            }
            Phase::Failed(code) => {
                let code = *code;
                drop(held);
                return done(Err(code));
            }
        };
        partition.set_settings(settings.partition);
        let change = partition.acknowledge(member, batches, now.mono);
        self.note_deadline(partition.next_deadline());
        held.queue_unsent();
        let answered = match change {
            Ok(Some(change)) => {
                held.queue.push_back((change, Some(done)));
                None
            }
            Ok(None) => Some((done, Ok(()))),
            Err(code) => Some((done, Err(code))),
        };
        drop(held);
        self.write_next(&entry, now);
        if let Some((done, result)) = answered {
            done(result);
        }
    }

    /// Takes back all that a member has of a partition: it is gone, or its session is.
    pub fn release(self: &Arc<Self>, id: &SharePartitionId, member: &MemberId, now: Now, done: Acknowledged) {
        let known = self.entries.lock().get(id).cloned();
        let Some(entry) = known else { return done(Err(ErrorCode::UnknownTopicOrPartition)) };
        let mut held = entry.state.lock();
        let change = match &mut held.phase {
            Phase::Active(partition) => partition.release(member),
            Phase::Loading | Phase::Failed(_) => None,
        };
        let Some(change) = change else {
            drop(held);
            return done(Ok(()));
        };
        held.queue.push_back((change, Some(done)));
        drop(held);
        self.write_next(&entry, now);
    }

    /// Drops the share partitions of groups that nobody fetches for any more: their positions may be changed now, and
    /// are read again by whoever comes next. Of what was said and is not written yet, nobody may read what was before.
    pub fn forget_group(self: &Arc<Self>, group_id: &str, now: Now) {
        self.forget(now, |entry| {
            if *entry.id.group_id != *group_id {
                return None;
            }
            let mut held = entry.state.lock();
            held.is_leaving = held.is_busy();
            (!held.is_leaving).then_some(ErrorCode::NotLeaderOrFollower)
        });
    }

    /// Drops the share partitions that this node no longer leads in the epoch in which they were loaded.
    pub fn forget_stale(self: &Arc<Self>, now: Now) {
        self.forget(now, |entry| {
            let is_stale = !entry.is_of(&entry.partition, entry.leader_epoch);
            is_stale.then_some(ErrorCode::NotLeaderOrFollower)
        });
    }

    fn forget(self: &Arc<Self>, now: Now, why: impl Fn(&Entry) -> Option<ErrorCode>) {
        let forgotten: Vec<(Arc<Entry>, ErrorCode)> = {
            let entries = self.entries.lock();
            entries.values().filter_map(|entry| Some((Arc::clone(entry), why(entry)?))).collect()
        };
        for (entry, code) in forgotten {
            self.drop_entry(&entry, code, now);
        }
    }

    /// Lets go of locks that have run out and of fetches that have waited long enough.
    pub fn tick(self: &Arc<Self>, now: Now) {
        let expired = self.replicas.share_fetches.expire(now.mono);
        expired.into_iter().for_each(|fetch| fetch.complete(now));
        if self.next_lock_deadline.load(Ordering::Acquire) <= now.mono.0 {
            self.expire_locks(now);
        }
        if self.replicas.share_fetches.needs_purge() {
            let (partitions, entries) = (self.replicas.partitions(), self.all());
            let of_partitions = partitions.iter().map(|partition| &partition.share_fetches);
            self.replicas
                .share_fetches
                .purge(of_partitions.chain(entries.iter().map(|entry| &entry.fetches)));
        }
    }

    /// When to [`SharePartitions::tick`] next.
    pub fn next_deadline(&self) -> MonoMs {
        let locks = MonoMs(self.next_lock_deadline.load(Ordering::Acquire));
        locks.min(self.replicas.share_fetches.next_deadline())
    }

    fn expire_locks(self: &Arc<Self>, now: Now) {
        self.next_lock_deadline.store(MonoMs::NEVER.0, Ordering::Release);
        for entry in self.all() {
            let mut held = entry.state.lock();
            let Phase::Active(partition) = &mut held.phase else { continue };
            let change = partition.expire_locks(now.mono);
            self.note_deadline(partition.next_deadline());
            let Some(change) = change else { continue };
            held.queue.push_back((change, None));
            drop(held);
            self.write_next(&entry, now);
            self.check_fetches(&entry, now);
        }
    }

    /// Sees to it that [`SharePartitions::tick`] comes in time.
    pub(super) fn note_deadline(&self, deadline: MonoMs) {
        if deadline != MonoMs::NEVER
            && self.next_lock_deadline.fetch_min(deadline.0, Ordering::AcqRel) > deadline.0
        {
            self.replicas.will_be_due(deadline);
        }
    }

    /// Hands change after change to the share coordinator, until one is on its way. Whoever comes here from within, because one
    /// was answered at once, leaves the rest to this: so the stack does not grow with what has waited.
    pub(super) fn write_next(self: &Arc<Self>, entry: &Arc<Entry>, now: Now) {
        loop {
            let mut held = entry.state.lock();
            if held.is_writing || held.is_handing_on {
                return;
            }
            let Some((change, waiter)) = held.queue.pop_front() else {
                let is_leaving = held.is_leaving;
                drop(held);
                if is_leaving {
                    self.drop_entry(entry, ErrorCode::NotLeaderOrFollower, now);
                }
                return;
            };
            held.is_writing = true;
            held.is_handing_on = true;
            drop(held);
            self.write(entry, change, waiter, now);
            entry.state.lock().is_handing_on = false;
        }
    }

    fn write(self: &Arc<Self>, entry: &Arc<Entry>, change: Change, waiter: Option<Acknowledged>, now: Now) {
        let (shares, of) = (Arc::clone(self), Arc::clone(entry));
        let Change { id, dead, write } = change;
        let persist = move |now| {
            let (after, entry) = (Arc::clone(&shares), Arc::clone(&of));
            let done = Box::new(move |result, now| after.written(&entry, id, result, waiter, now));
            shares.persister.write(&of.id, write, now, done);
        };
        if dead.is_empty() {
            return persist(now);
        }
        // First: a crash in between costs a letter too many, and no record is lost without one.
        self.dead_letters.write(&entry.id, Arc::clone(&entry.partition), dead, now, Box::new(persist));
    }

    fn written(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        change: u64,
        result: Result<(), ErrorCode>,
        waiter: Option<Acknowledged>,
        now: Now,
    ) {
        let result = result.map_err(of_persister);
        let mut held = entry.state.lock();
        held.is_writing = false;
        let may_go_on = match &mut held.phase {
            Phase::Active(partition) => {
                let may_go_on = partition.persisted(change, result);
                self.note_deadline(partition.next_deadline());
                may_go_on
            }
            Phase::Loading | Phase::Failed(_) => false,
        };
        drop(held);
        if let Some(waiter) = waiter {
            waiter(result);
        }
        match result {
            Err(code) if is_fenced(code) => {
                tracing::info!(id = ?entry.id, ?code, "a share partition is fenced");
                self.drop_entry(entry, code, now);
            }
            _ if may_go_on => self.check_fetches(entry, now),
            _ => {}
        }
        self.write_next(entry, now);
    }

    /// Lets go of an entry. Its changes still reach the share coordinator, which refuses them if it must.
    pub(super) fn drop_entry(self: &Arc<Self>, entry: &Arc<Entry>, code: ErrorCode, now: Now) {
        let mut entries = self.entries.lock();
        if entries.get(&entry.id).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            entries.remove(&entry.id);
        }
        drop(entries);
        self.fail(entry, code, now);
    }

    fn fail(&self, entry: &Arc<Entry>, code: ErrorCode, now: Now) {
        entry.state.lock().phase = Phase::Failed(code);
        self.check_fetches(entry, now);
    }

    fn check_fetches(&self, entry: &Entry, now: Now) {
        let completed = self.replicas.share_fetches.check(&entry.fetches);
        completed.into_iter().for_each(|fetch| fetch.complete(now));
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().values().cloned().collect()
    }
}

impl EntryState {
    /// Whether something is yet to be written, or being written.
    fn is_busy(&self) -> bool {
        self.is_writing || self.is_handing_on || !self.queue.is_empty()
    }

    /// Takes up the changes that nobody asked for.
    pub(super) fn queue_unsent(&mut self) {
        if let Phase::Active(partition) = &mut self.phase {
            self.queue.extend(partition.take_unsent().into_iter().map(|change| (change, None)));
        }
    }
}

impl Entry {
    /// Whether this is the state of the replica that leads in this epoch, now.
    fn is_of(&self, partition: &Arc<Partition>, leader_epoch: LeaderEpoch) -> bool {
        Arc::ptr_eq(&self.partition, partition)
            && self.leader_epoch == leader_epoch
            && partition.leading_epoch() == Some(leader_epoch)
    }

    /// None if this node still leads.
    pub(super) fn leadership_error(&self) -> Option<ErrorCode> {
        (!self.is_of(&self.partition, self.leader_epoch)).then_some(ErrorCode::NotLeaderOrFollower)
    }
}

/// What clients are told of an error of the share coordinator.
fn of_persister(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::FencedLeaderEpoch | ErrorCode::FencedStateEpoch => ErrorCode::NotLeaderOrFollower,
        ErrorCode::GroupIdNotFound | ErrorCode::UnknownTopicOrPartition => code,
        ErrorCode::NotLeaderOrFollower | ErrorCode::OffsetNotAvailable => code,
        _ => ErrorCode::UnknownServerError,
    }
}

/// This node's state is not the one that counts.
fn is_fenced(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower | ErrorCode::GroupIdNotFound | ErrorCode::UnknownTopicOrPartition
    )
}
