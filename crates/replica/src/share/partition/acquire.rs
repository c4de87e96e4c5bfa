//! Giving records that were read to a member.

use ottla_types::{MonoMs, Offset};

use super::runs::{Lock, Run};
use super::{SharePartition, available};
use crate::share::types::{AcquireLimits, AcquireMode, AcquiredRecords, LogBatch, MemberId, RecordState};

/// Below this many deliveries nothing is delivered in smaller pieces, whatever the group's limit is.
const THROTTLED_DELIVERIES_MIN: i16 = 2;

impl SharePartition {
    /// What of the batches that were read from `fetch_offset` on goes to `member`. Of `aborted` offsets nothing does: they
    /// are given up. Nobody else gets what was acquired, and the time that the member has for it begins with
    /// [`SharePartition::begin_locks`].
    pub fn acquire(
        &mut self,
        member: &MemberId,
        limits: &AcquireLimits,
        fetch_offset: Offset,
        batches: &[LogBatch],
        aborted: &[(Offset, Offset)],
    ) -> Vec<AcquiredRecords> {
        let (Some(first_batch), Some(last_batch)) = (batches.first(), batches.last()) else {
            return Vec::new();
        };
        let Some((max_records, last)) = self.bounds(limits.max_records, fetch_offset, last_batch.last_offset)
        else {
            return Vec::new();
        };
        self.archive_stale(fetch_offset, first_batch.base_offset);
        let first = first_batch.base_offset.max(self.start_offset);
        let lock = Lock { member: MemberId::clone(member), deadline: MonoMs::NEVER };
        let mut acquisition = Acquisition { acquired: Vec::new(), left: max_records, is_over: false };
        self.acquire_again(&mut acquisition, limits.mode, first, last, &lock);
        if !acquisition.is_over && acquisition.left > 0 {
            self.acquire_new(&mut acquisition, limits, first, last, batches, &lock);
        }
        self.without_aborted(acquisition.acquired, aborted)
    }

    /// How many records may be acquired, and up to which, without more in flight than the group allows. Where there is
    /// no room for more, what lies between those in flight may still be acquired again.
    fn bounds(&self, max_records: i32, fetch_offset: Offset, last: Offset) -> Option<(i64, Offset)> {
        let max_records = i64::from(max_records);
        let room = i64::from(self.settings.max_record_locks) - self.in_flight();
        let (max_records, last) = if room > 0 {
            (max_records.min(room), last)
        } else {
            (max_records.min(self.end_offset - fetch_offset + 1), last.min(self.end_offset))
        };
        (max_records > 0).then_some((max_records, last))
    }

    /// The log has nothing between `fetch_offset` and `base_offset` any more: compaction took it.
    fn archive_stale(&mut self, fetch_offset: Offset, base_offset: Offset) {
        if fetch_offset >= base_offset {
            return;
        }
        for (_, run) in self.runs.cut_out(fetch_offset, base_offset - 1) {
            if run.is_free() {
                run.state = RecordState::Archived;
            }
        }
        self.advance_start();
    }

    fn acquire_again(
        &mut self,
        acquisition: &mut Acquisition,
        mode: AcquireMode,
        first: Offset,
        last: Offset,
        lock: &Lock,
    ) {
        let free: Vec<(Offset, Offset)> = self
            .runs
            .within(first, last)
            .filter(|(_, run)| run.is_free())
            .map(|(from, run)| (from.max(first), run.last.min(last)))
            .collect();
        for (from, to) in free {
            if acquisition.left <= 0 || acquisition.is_over {
                return;
            }
            let Some(run) = self.runs.within(from, to).next().map(|(_, run)| run.clone()) else { return };
            let mut to = to;
            if let Some(piece) = self.throttled(&run) {
                // A record that makes its consumers fail is to take as few others as possible along.
                if !acquisition.acquired.is_empty() {
                    acquisition.is_over = true;
                    return;
                }
                to = to.min(from + (piece - 1));
                acquisition.is_over = true;
            }
            if mode == AcquireMode::RecordLimit {
                to = to.min(from + (acquisition.left - 1));
            }
            let delivery_count = run.delivery_count.saturating_add(1);
            for (_, run) in self.runs.cut_out(from, to) {
                run.state = RecordState::Acquired;
                run.delivery_count = delivery_count;
                run.lock = Some(lock.clone());
            }
            acquisition.push(from, to, delivery_count);
        }
    }

    /// How many records of a run that was delivered often may be delivered together: half of those that were acquired
    /// together at first, then a quarter, and at last one. None: all of them.
    fn throttled(&self, run: &Run) -> Option<i64> {
        let limit = self.settings.delivery_count_limit;
        let from = THROTTLED_DELIVERIES_MIN.max(limit / 2 + limit % 2);
        if run.delivery_count < from {
            return None;
        }
        if limit > THROTTLED_DELIVERIES_MIN && run.delivery_count >= limit - 1 {
            return Some(1);
        }
        let halvings = u32::try_from(run.delivery_count - from + 1).unwrap_or(1).min(62);
        Some((run.batch_len >> halvings).max(1))
    }

    /// Takes what was never in flight: whole batches of the log where that is wanted.
    fn acquire_new(
        &mut self,
        acquisition: &mut Acquisition,
        limits: &AcquireLimits,
        first: Offset,
        last: Offset,
        batches: &[LogBatch],
        lock: &Lock,
    ) {
        let was_empty = self.runs.is_empty();
        let first = first.max(self.next_new_offset());
        if first > last {
            return;
        }
        let mut last = last;
        if last - first + 1 > acquisition.left {
            last = first + (acquisition.left - 1);
            if limits.mode == AcquireMode::BatchOptimized {
                let holds = |batch: &&LogBatch| batch.base_offset <= last && last <= batch.last_offset;
                last = batches.iter().find(holds).map_or(last, |batch| batch.last_offset);
            }
        }
        for (from, to) in pieces(first, last, limits, batches) {
            let run = Run {
                state: RecordState::Acquired,
                lock: Some(lock.clone()),
                ..available(to, 1, to - from + 1)
            };
            self.runs.insert(from, run);
            acquisition.push(from, to, 1);
        }
        if was_empty {
            // Whatever was to come between the start and this is not in the log.
            self.start_offset = first;
        }
        self.end_offset = last;
    }

    fn without_aborted(
        &mut self,
        mut acquired: Vec<AcquiredRecords>,
        aborted: &[(Offset, Offset)],
    ) -> Vec<AcquiredRecords> {
        for (first, last) in aborted {
            let mut kept = Vec::with_capacity(acquired.len() + 1);
            for records in acquired {
                let (from, to) = (records.first_offset.max(*first), records.last_offset.min(*last));
                if from > to {
                    kept.push(records);
                    continue;
                }
                for (_, run) in self.runs.cut_out(from, to) {
                    let delivery_count = run.delivery_count;
                    run.settle(RecordState::Archived, delivery_count);
                }
                if records.first_offset < from {
                    kept.push(AcquiredRecords { last_offset: from - 1, ..records });
                }
                if to < records.last_offset {
                    kept.push(AcquiredRecords { first_offset: to.next(), ..records });
                }
            }
            acquired = kept;
        }
        if !aborted.is_empty() {
            self.advance_start();
        }
        acquired
    }
}

/// What one fetch has got so far.
struct Acquisition {
    acquired: Vec<AcquiredRecords>,
    left: i64,
    /// Nothing more, though there may be room.
    is_over: bool,
}

impl Acquisition {
    /// Neighbours that were delivered as often become one.
    fn push(&mut self, first_offset: Offset, last_offset: Offset, delivery_count: i16) {
        self.left -= last_offset - first_offset + 1;
        self.acquired.push(AcquiredRecords { first_offset, last_offset, delivery_count });
    }
}

/// Cuts `first..=last` where a batch of the log begins, into pieces of at least the wanted size.
fn pieces(
    first: Offset,
    last: Offset,
    limits: &AcquireLimits,
    batches: &[LogBatch],
) -> Vec<(Offset, Offset)> {
    let size = i64::from(limits.batch_size).max(1);
    let mut pieces = Vec::new();
    let mut from = first;
    if limits.mode == AcquireMode::BatchOptimized && last - first + 1 > size {
        for batch in batches.iter().filter(|batch| batch.base_offset <= last) {
            if batch.base_offset - from >= size {
                pieces.push((from, batch.base_offset - 1));
                from = batch.base_offset;
            }
        }
    }
    pieces.push((from, last));
    pieces
}
