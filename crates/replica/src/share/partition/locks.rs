//! Locks that run out: a member has a record for so long, then it is somebody else's turn.

use ottla_types::{MonoMs, Offset};

use super::runs::Run;
use super::{Change, SharePartition};
use crate::share::types::{AcquiredRecords, GivenUp, MemberId, PersistedBatch, RecordState};

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
            self.lock_deadlines.entry(deadline).or_default().push((*first_offset, *last_offset));
        }
    }

    /// When to call [`SharePartition::expire_locks`] next. Nothing may be due by then.
    pub fn next_deadline(&self) -> MonoMs {
        self.lock_deadlines.first_key_value().map_or(MonoMs::NEVER, |(deadline, _)| *deadline)
    }

    /// Takes records back from members that were too slow. They are available at once, whatever becomes of the change:
    /// a share coordinator that did not hear of it counts one delivery less.
    pub fn expire_locks(&mut self, now: MonoMs) -> Option<Change> {
        let limit = self.settings.delivery_count_limit;
        let mut expired: Vec<PersistedBatch> = Vec::new();
        while let Some(entry) = self.lock_deadlines.first_entry().filter(|entry| *entry.key() <= now) {
            for (first, last) in entry.remove() {
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
