//! One partition as one share group sees it, on the node that leads it (KIP-932): which records are out, with whom, until
//! when, and how often each was delivered. A state machine without clock, log and network: it is told what was read,
//! says what is to be persisted, and is told how that went.
//!
//! What always holds:
//! - A record is acquired by one member at a time.
//! - What a member acknowledges takes effect when the share coordinator has it, and not at all if it can't have it.
//! - A record that was delivered as often as the group allows is never given to anybody again.
//! - No record before the start offset is delivered; every one after it is, until it is acknowledged or given up.

mod acknowledge;
mod acquire;
mod locks;
mod runs;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ottla_types::{MonoMs, Offset};
use ottla_wire::ErrorCode;

use locks::LockDeadlines;
pub(crate) use runs::ChangeId;
use runs::{Run, Runs};

use super::types::{
    DeadRecords, GivenUp, PersistedBatch, PersistedState, RecordState, ShareSettings, StateWrite,
};

/// A change that waits for the share coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// To be handed to [`SharePartition::persisted`] with the outcome.
    pub id: u64,
    /// Of these dead letters are to be written first.
    pub dead: Vec<DeadRecords>,
    pub write: StateWrite,
}

/// Whether the change was persisted, or what kept it from being.
pub type PersistResult = Result<(), ErrorCode>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharePartition {
    settings: ShareSettings,
    state_epoch: i32,
    leader_epoch: i32,
    /// The first record that is not done with.
    start_offset: Offset,
    /// The last record that is in flight; with none in flight the next to be fetched, and then it is the start.
    end_offset: Offset,
    runs: Runs,
    /// There may be an available record before the end.
    may_have_available: bool,
    /// What of the log each change is about.
    changes: BTreeMap<ChangeId, Vec<(Offset, Offset)>>,
    next_change: ChangeId,
    lock_deadlines: LockDeadlines,
    /// Given up by the change that is being made.
    dead: Vec<DeadRecords>,
    /// Changes that nobody asked for.
    unsent: Vec<Change>,
}

impl SharePartition {
    /// `start_offset` is where the group begins if the state says nothing of it. None if the state makes no sense.
    pub fn load(
        state: PersistedState,
        leader_epoch: i32,
        start_offset: Offset,
        settings: ShareSettings,
    ) -> Option<SharePartition> {
        let start_offset = state.start_offset.unwrap_or(start_offset);
        let mut runs = Runs::default();
        let mut next = start_offset;
        for batch in state.batches {
            if batch.first_offset < next
                || batch.last_offset < batch.first_offset
                || batch.last_offset == Offset::MAX
            {
                return None;
            }
            // What lies between two batches was delivered and never acknowledged, or is no record at all.
            if batch.first_offset > next {
                runs.insert(next, available(batch.first_offset - 1, 0, batch.first_offset - next));
            }
            let len = batch.last_offset - batch.first_offset + 1;
            let run = Run { state: batch.state, ..available(batch.last_offset, batch.delivery_count, len) };
            runs.insert(batch.first_offset, run);
            next = batch.last_offset.next();
        }
        let mut partition = SharePartition {
            settings,
            state_epoch: state.state_epoch,
            leader_epoch,
            start_offset,
            end_offset: runs.last_offset().unwrap_or(start_offset),
            may_have_available: !runs.is_empty(),
            runs,
            changes: BTreeMap::new(),
            next_change: 0,
            lock_deadlines: LockDeadlines::default(),
            dead: Vec::new(),
            unsent: Vec::new(),
        };
        partition.give_up_what_was_delivered_too_often();
        partition.advance_start();
        Some(partition)
    }

    /// A limit that was lowered meanwhile holds for what was delivered under the old one.
    fn give_up_what_was_delivered_too_often(&mut self) {
        let limit = self.settings.delivery_count_limit;
        let is_over = |run: &Run| run.is_free() && run.delivery_count >= limit;
        if !self.settings.keeps_dead_letters {
            self.runs
                .values_mut()
                .filter(|run| is_over(run))
                .for_each(|run| run.state = RecordState::Archived);
            return;
        }
        // With a dead letter of each, and persisted, so that there is but one.
        let over: Vec<(Offset, Offset)> =
            self.runs.iter().filter(|(_, run)| is_over(run)).map(|(first, run)| (first, run.last)).collect();
        let mut changed = Vec::new();
        for (first, last) in over {
            let why = Some(GivenUp::DeliveredTooOften);
            self.mark(self.next_change, first, last, why, &mut changed, |run, _| {
                (RecordState::Archived, run.delivery_count)
            });
        }
        let change = self.begin_change(self.next_change, changed);
        self.unsent.extend(change);
    }

    /// Changes that have come about unasked. They wait for the share coordinator like all others.
    pub fn take_unsent(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.unsent)
    }

    /// Notes that records are given up by the change that is being made.
    fn give_up(&mut self, first: Offset, last: Offset, delivery_count: i16, why: GivenUp) {
        if !self.settings.keeps_dead_letters {
            return;
        }
        match self.dead.last_mut() {
            Some(dead)
                if dead.last_offset.next() == first
                    && (dead.delivery_count, dead.why) == (delivery_count, why) =>
            {
                dead.last_offset = last;
            }
            _ => {
                self.dead.push(DeadRecords { first_offset: first, last_offset: last, delivery_count, why });
            }
        }
    }

    pub fn set_settings(&mut self, settings: ShareSettings) {
        if settings.delivery_count_limit < self.settings.delivery_count_limit {
            self.settings = settings;
            self.give_up_what_was_delivered_too_often();
            self.advance_start();
        }
        self.settings = settings;
    }

    pub fn start_offset(&self) -> Offset {
        self.start_offset
    }

    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Where to read next: the first record that is available, or else the first that was not fetched yet.
    pub fn next_fetch_offset(&mut self) -> Offset {
        if self.may_have_available {
            if let Some((first, _)) = self.runs.iter().find(|(_, run)| run.is_free()) {
                return first;
            }
            self.may_have_available = false;
        }
        self.next_new_offset()
    }

    fn next_new_offset(&self) -> Offset {
        if self.runs.is_empty() { self.end_offset } else { self.end_offset.next() }
    }

    /// Whether a fetch could be given anything: something is available again, or there is room for more in flight.
    pub fn can_acquire(&mut self) -> bool {
        self.next_fetch_offset() < self.next_new_offset()
            || self.in_flight() < i64::from(self.settings.max_record_locks)
    }

    /// Records between start and end.
    pub fn in_flight(&self) -> i64 {
        if self.runs.is_empty() { 0 } else { self.end_offset - self.start_offset + 1 }
    }

    /// The log begins at `offset` now: what lies before it is gone.
    pub fn log_start_moved(&mut self, offset: Offset) {
        if offset <= self.start_offset {
            return;
        }
        self.runs.split_at(offset);
        while self.runs.first().is_some_and(|(first, _)| first < offset) {
            self.runs.pop_first();
        }
        self.start_offset = offset;
        self.end_offset = self.end_offset.max(offset);
        self.may_have_available = true;
        self.advance_start();
    }

    /// Takes up the outcome of a change. Returns whether somebody who waits for records may go on now.
    pub fn persisted(&mut self, change: ChangeId, result: PersistResult) -> bool {
        let Some(ranges) = self.changes.remove(&change) else { return false };
        let mut locked = Vec::new();
        for (first, last) in ranges {
            for (from, run) in self.runs.cut_out(first, last) {
                let Some(pending) = run.pending.filter(|pending| pending.change == change) else { continue };
                if result.is_ok() {
                    run.settle(pending.state, pending.delivery_count);
                    continue;
                }
                if run.state == RecordState::Available {
                    // Given up unasked: nobody gets it again, whether that is persisted or not.
                    run.settle(pending.state, pending.delivery_count);
                    continue;
                }
                run.pending = None;
                // A lock that has run out meanwhile is looked at again.
                if let Some(lock) = run.lock.as_ref().filter(|lock| lock.deadline != MonoMs::NEVER) {
                    locked.push((lock.deadline, from, run.last));
                }
            }
        }
        locked.into_iter().for_each(|(deadline, first, last)| self.watch_lock(deadline, first, last));
        self.may_have_available = true;
        self.advance_start();
        self.runs.join();
        true
    }

    /// Moves the start past what is done with.
    fn advance_start(&mut self) {
        let mut has_moved = false;
        while let Some((_, run)) = self.runs.first().filter(|(_, run)| run.is_done()) {
            self.start_offset = run.last.next();
            self.runs.pop_first();
            has_moved = true;
        }
        match self.runs.first() {
            // Between two runs there is nothing.
            Some((first, _)) if has_moved => self.start_offset = first,
            Some(_) => {}
            None => {
                self.start_offset = self.start_offset.max(self.end_offset);
                self.end_offset = self.start_offset;
            }
        }
    }

    /// Records between start and end that are done with, or will be once they are persisted.
    fn delivery_complete_count(&self) -> i32 {
        let of = |(first, run): (Offset, &Run)| {
            if run.coming_state().is_terminal() { run.last - first.max(self.start_offset) + 1 } else { 0 }
        };
        i32::try_from(self.runs.iter().map(of).sum::<i64>()).unwrap_or(i32::MAX)
    }

    /// Begins a change of what was marked with its id.
    fn begin_change(&mut self, id: ChangeId, batches: Vec<PersistedBatch>) -> Option<Change> {
        if batches.is_empty() {
            return None;
        }
        self.next_change = id + 1;
        let ranges = batches.iter().map(|batch| (batch.first_offset, batch.last_offset)).collect();
        self.changes.insert(id, ranges);
        Some(Change {
            id,
            dead: std::mem::take(&mut self.dead),
            write: StateWrite {
                state_epoch: self.state_epoch,
                leader_epoch: self.leader_epoch,
                start_offset: self.start_offset,
                delivery_complete_count: self.delivery_complete_count(),
                batches,
            },
        })
    }
}

fn available(last: Offset, delivery_count: i16, batch_len: i64) -> Run {
    Run { last, state: RecordState::Available, delivery_count, lock: None, pending: None, batch_len }
}
