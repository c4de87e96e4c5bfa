//! Locks that run out: a member has a record for so long, then it is somebody else's turn.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, Offset};

use super::runs::Run;
use super::{Change, SharePartition};
use crate::share::types::{AcquiredRecords, GivenUp, MemberId, PersistedBatch, RecordState};

/// So many places to look at are not worth going through anew.
const FEW: usize = 32;

/// When to look for locks that have run out, and where. Of a lock that was renewed or has gone, the former place stays until
/// its time, or until there are too many of those: members may renew as often as they please.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LockDeadlines {
    by_deadline: BTreeMap<MonoMs, Vec<(Offset, Offset)>>,
    len: usize,
}

impl LockDeadlines {
    fn add(&mut self, deadline: MonoMs, first: Offset, last: Offset) {
        self.by_deadline.entry(deadline).or_default().push((first, last));
        self.len += 1;
    }

    /// The places of the earliest time, if that has come.
    fn take_due(&mut self, now: MonoMs) -> Option<Vec<(Offset, Offset)>> {
        let earliest = self.by_deadline.first_entry().filter(|entry| *entry.key() <= now)?;
        let due = earliest.remove();
        self.len -= due.len();
        Some(due)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl SharePartition {
    /// `member` is handed what it has acquired: from now on its time counts. What it has no more, because it has gone
    /// meanwhile, stays with whoever has it.
    pub fn begin_locks(&mut self, member: &MemberId, acquired: &[AcquiredRecords], now: MonoMs) {
        let deadline = now.plus_ms(i64::from(self.settings.record_lock_duration_ms));
        for AcquiredRecords { first_offset, last_offset, .. } in acquired {
            for (_, run) in self.runs.cut_out(*first_offset, *last_offset) {
                if let Some(lock) = run.lock.as_mut().filter(|lock| lock.member == *member) {
                    lock.deadline = deadline;
                }
            }
            self.watch_lock(deadline, *first_offset, *last_offset);
        }
    }

    /// Sees to it that these records are looked at when their locks run out.
    pub(super) fn watch_lock(&mut self, deadline: MonoMs, first: Offset, last: Offset) {
        self.lock_deadlines.add(deadline, first, last);
        if self.lock_deadlines.len <= 2 * self.runs.len().max(FEW) {
            return;
        }
        let mut of_runs = LockDeadlines::default();
        for (from, run) in self.runs.iter() {
            let lock = run.lock.as_ref().filter(|lock| lock.deadline != MonoMs::NEVER);
            lock.into_iter().for_each(|lock| of_runs.add(lock.deadline, from, run.last));
        }
        self.lock_deadlines = of_runs;
    }

    /// When to call [`SharePartition::expire_locks`] next. Nothing may be due by then.
    pub fn next_deadline(&self) -> MonoMs {
        self.lock_deadlines.by_deadline.first_key_value().map_or(MonoMs::NEVER, |(deadline, _)| *deadline)
    }

    /// Takes records back from members that were too slow. They are available at once, whatever becomes of the change:
    /// a share coordinator that did not hear of it counts one delivery less.
    pub fn expire_locks(&mut self, now: MonoMs) -> Option<Change> {
        let limit = self.settings.delivery_count_limit;
        let mut expired: Vec<PersistedBatch> = Vec::new();
        while let Some(due) = self.lock_deadlines.take_due(now) {
            for (first, last) in due {
                let is_due = |run: &Run| {
                    run.pending.is_none() && run.lock.as_ref().is_some_and(|lock| lock.deadline <= now)
                };
                let due: Vec<(Offset, Offset)> = self
                    .runs
                    .within(first, last)
                    .filter(|(_, run)| is_due(run))
                    .map(|(from, run)| (from.max(first), run.last.min(last)))
                    .collect();
                for (from, to) in due {
                    for (from, run) in self.runs.cut_out(from, to) {
                        let state = if run.delivery_count >= limit {
                            RecordState::Archived
                        } else {
                            RecordState::Available
                        };
                        let delivery_count = run.delivery_count;
                        run.settle(state, delivery_count);
                        let (first_offset, last_offset) = (from, run.last);
                        expired.push(PersistedBatch { first_offset, last_offset, state, delivery_count });
                    }
                }
            }
        }
        if expired.is_empty() {
            return None;
        }
        expired.sort_by_key(|batch| batch.first_offset);
        for batch in expired.iter().filter(|batch| batch.state == RecordState::Archived) {
            let PersistedBatch { first_offset, last_offset, delivery_count, .. } = *batch;
            self.give_up(first_offset, last_offset, delivery_count, GivenUp::DeliveredTooOften);
        }
        self.may_have_available = true;
        // Counted before the start moves: the write says how things stand from the start that it names on.
        let change = self.begin_change(self.next_change, expired);
        self.advance_start();
        self.runs.join();
        change
    }
}
