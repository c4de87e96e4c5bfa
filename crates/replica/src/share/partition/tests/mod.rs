mod cases;
mod random;

use std::sync::Arc;

use ottla_types::{MonoMs, Offset};
use ottla_wire::ErrorCode;

use super::runs::Lock;
use super::*;
use crate::share::types::*;

pub(super) const LOCK_MS: u64 = 30_000;

pub(super) fn settings() -> ShareSettings {
    ShareSettings {
        record_lock_duration_ms: LOCK_MS as i32,
        delivery_count_limit: 5,
        max_record_locks: 200,
        may_renew: true,
        keeps_dead_letters: false,
    }
}

pub(super) fn limits(mode: AcquireMode, max_records: i32) -> AcquireLimits {
    AcquireLimits { mode, max_records, batch_size: 500 }
}

pub(super) fn member(name: &str) -> MemberId {
    Arc::from(name)
}

pub(super) fn log_batches(of: &[(i64, i64)]) -> Vec<LogBatch> {
    of.iter().map(|&(base, last)| LogBatch { base_offset: Offset(base), last_offset: Offset(last) }).collect()
}

pub(super) fn acknowledgement(first: i64, last: i64, types: &[AcknowledgeType]) -> AcknowledgementBatch {
    AcknowledgementBatch { first_offset: Offset(first), last_offset: Offset(last), types: types.to_vec() }
}

impl SharePartition {
    /// How an offset stands: its state, its count, and whether a change of it is under way.
    pub(super) fn at(&self, offset: i64) -> Option<(RecordState, i16, bool)> {
        let offset = Offset(offset);
        let (_, run) = self.runs.within(offset, offset).next()?;
        Some((run.state, run.delivery_count, run.pending.is_some()))
    }

    /// What holds whatever happens.
    pub(super) fn check(&self) {
        let mut before = None;
        for (first, run) in self.runs.iter() {
            assert!(first <= run.last, "{self:?}");
            assert!(before.is_none_or(|before| before < first), "{self:?}");
            assert!(first >= self.start_offset, "{self:?}");
            assert_eq!(run.lock.is_some(), run.state == RecordState::Acquired, "{self:?}");
            let is_given_up = run.pending.is_some_and(|pending| pending.state == RecordState::Archived);
            assert!(run.pending.is_none() || run.state == RecordState::Acquired || is_given_up, "{self:?}");
            let is_within = run.delivery_count <= self.settings.delivery_count_limit;
            assert!(is_within || is_given_up, "{self:?}");
            assert!(!run.is_free() || run.delivery_count < self.settings.delivery_count_limit, "{self:?}");
            before = Some(run.last);
        }
        match (self.runs.first(), self.runs.last_offset()) {
            (Some((first, run)), Some(last)) => {
                assert_eq!((self.start_offset, self.end_offset), (first, last), "{self:?}");
                assert!(!run.is_done(), "{self:?}");
            }
            _ => assert_eq!(self.start_offset, self.end_offset, "{self:?}"),
        }
        // What waits for the share coordinator is looked at when that has answered.
        let mut watched = self.runs.iter().filter(|(_, run)| run.pending.is_none());
        let is_watched = |lock: &Lock| lock.deadline >= self.next_deadline();
        assert!(watched.all(|(_, run)| run.lock.as_ref().is_none_or(is_watched)), "{self:?}");
    }
}

/// A share partition and what happens to it, in short.
pub(super) struct Bench {
    pub(super) partition: SharePartition,
    pub(super) now_ms: u64,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::loaded(PersistedState { start_offset: Some(Offset(0)), ..PersistedState::default() })
    }

    pub(super) fn loaded(state: PersistedState) -> Bench {
        Bench::loaded_with(state, settings())
    }

    pub(super) fn loaded_with(state: PersistedState, settings: ShareSettings) -> Bench {
        let partition = SharePartition::load(state, 3, Offset(0), settings).unwrap();
        Bench { partition, now_ms: 0 }
    }

    pub(super) fn now(&self) -> MonoMs {
        MonoMs(self.now_ms)
    }

    /// What the member is given of these batches, as first, last and count.
    pub(super) fn fetch(
        &mut self,
        who: &str,
        max_records: i32,
        batches: &[(i64, i64)],
    ) -> Vec<(i64, i64, i16)> {
        self.fetch_as(who, limits(AcquireMode::BatchOptimized, max_records), batches, &[])
    }

    pub(super) fn fetch_as(
        &mut self,
        who: &str,
        limits: AcquireLimits,
        batches: &[(i64, i64)],
        aborted: &[(i64, i64)],
    ) -> Vec<(i64, i64, i16)> {
        let offset = self.partition.next_fetch_offset();
        let aborted: Vec<_> = aborted.iter().map(|&(first, last)| (Offset(first), Offset(last))).collect();
        let batches = log_batches(batches);
        let now = self.now();
        let acquired = self.partition.acquire(&member(who), &limits, offset, &batches, &aborted);
        self.partition.begin_locks(&member(who), &acquired, now);
        self.partition.check();
        acquired.iter().map(|a| (a.first_offset.0, a.last_offset.0, a.delivery_count)).collect()
    }

    /// Acknowledges, and persists.
    pub(super) fn acknowledge(
        &mut self,
        who: &str,
        batches: &[AcknowledgementBatch],
    ) -> Result<Option<StateWrite>, ErrorCode> {
        let now = self.now();
        let change = self.partition.acknowledge(&member(who), batches, now)?;
        self.partition.check();
        Ok(change.map(|change| self.persist(change)))
    }

    pub(super) fn persist(&mut self, change: Change) -> StateWrite {
        self.partition.persisted(change.id, Ok(()));
        self.partition.check();
        change.write
    }

    pub(super) fn wait(&mut self, ms: u64) -> Option<Change> {
        self.now_ms += ms;
        let change = self.partition.expire_locks(self.now());
        self.partition.check();
        change
    }

    pub(super) fn span(&self) -> (i64, i64) {
        (self.partition.start_offset.0, self.partition.end_offset.0)
    }
}
