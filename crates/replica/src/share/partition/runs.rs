//! The records in flight, as runs of offsets that stand alike.
//!
//! Runs don't overlap. Offsets between two runs are those at which the log has no record. A run is split where something
//! happens to a part of it, and the pieces keep everything else.

use std::collections::BTreeMap;

use ottla_types::{MonoMs, Offset};

use super::super::types::{MemberId, RecordState};

/// Names a change that waits for the share coordinator.
pub(crate) type ChangeId = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) last: Offset,
    pub(crate) state: RecordState,
    pub(crate) delivery_count: i16,
    /// Who has acquired it.
    pub(crate) lock: Option<Lock>,
    /// It is about to become this; until the share coordinator has answered, nobody else may change it.
    pub(crate) pending: Option<Pending>,
    /// The number of records that were acquired together at first: what throttled deliveries are a part of.
    pub(crate) batch_len: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) member: MemberId,
    pub(crate) deadline: MonoMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) change: ChangeId,
    pub(crate) state: RecordState,
    pub(crate) delivery_count: i16,
}

impl Run {
    pub(crate) fn is_free(&self) -> bool {
        self.state == RecordState::Available && self.pending.is_none()
    }

    /// Nothing becomes of it any more, and that is persisted or will never be.
    pub(crate) fn is_done(&self) -> bool {
        self.state.is_terminal() && self.pending.is_none()
    }

    /// How it will stand once what it waits for is there.
    pub(crate) fn coming_state(&self) -> RecordState {
        self.pending.map_or(self.state, |pending| pending.state)
    }

    /// Takes it back from whoever has it.
    pub(crate) fn settle(&mut self, state: RecordState, delivery_count: i16) {
        self.state = state;
        self.delivery_count = delivery_count;
        self.lock = None;
        self.pending = None;
    }
}

/// So many runs are not worth joining.
const FEW: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    by_first: BTreeMap<Offset, Run>,
    /// There were so many after the last [`Runs::join`].
    len_joined: usize,
}

impl Runs {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_first.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Offset, &Run)> {
        self.by_first.iter().map(|(first, run)| (*first, run))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        self.by_first.values_mut()
    }

    pub(crate) fn first(&self) -> Option<(Offset, &Run)> {
        self.by_first.first_key_value().map(|(first, run)| (*first, run))
    }

    pub(crate) fn last_offset(&self) -> Option<Offset> {
        self.by_first.last_key_value().map(|(_, run)| run.last)
    }

    pub(crate) fn pop_first(&mut self) {
        self.by_first.pop_first();
    }

    /// `first..=run.last` must be free.
    pub(crate) fn insert(&mut self, first: Offset, run: Run) {
        debug_assert!(first <= run.last && self.within(first, run.last).next().is_none());
        self.by_first.insert(first, run);
    }

    /// The runs that have offsets in `first..=last`, whole.
    pub(crate) fn within(&self, first: Offset, last: Offset) -> impl Iterator<Item = (Offset, &Run)> {
        let start = self.first_of_run_at(first).unwrap_or(first);
        self.by_first
            .range(start..)
            .take_while(move |(from, _)| **from <= last)
            .map(|(from, run)| (*from, run))
    }

    /// The runs that lie in `first..=last`, cut at both ends so that none reaches beyond.
    pub(crate) fn cut_out(
        &mut self,
        first: Offset,
        last: Offset,
    ) -> impl Iterator<Item = (Offset, &mut Run)> {
        let is_any = first <= last;
        if is_any {
            self.split_at(first);
            self.split_at(last.next());
        }
        let range = is_any.then(|| self.by_first.range_mut(first..=last));
        range.into_iter().flatten().map(|(from, run)| (*from, run))
    }

    /// Lets a run begin at `offset` if one has it.
    pub(crate) fn split_at(&mut self, offset: Offset) {
        let Some(first) = self.first_of_run_at(offset).filter(|first| *first < offset) else { return };
        let Some(run) = self.by_first.get_mut(&first) else { return };
        let rest = run.clone();
        run.last = offset - 1;
        self.by_first.insert(offset, rest);
    }

    fn first_of_run_at(&self, offset: Offset) -> Option<Offset> {
        let (first, run) = self.by_first.range(..=offset).next_back()?;
        (run.last >= offset).then_some(*first)
    }

    /// Joins neighbours that stand alike and wait for nothing, so that what was split does not stay so for ever. Does
    /// something only once there are twice as many as the last time, so that it costs little each time.
    pub(crate) fn join(&mut self) {
        if self.by_first.len() <= FEW.max(2 * self.len_joined) {
            return;
        }
        let mut joined: BTreeMap<Offset, Run> = BTreeMap::new();
        for (first, run) in std::mem::take(&mut self.by_first) {
            if let Some(mut before) = joined.last_entry() {
                let before = before.get_mut();
                let is_same = before.last.next() == first
                    && Run { last: run.last, ..before.clone() } == run
                    && run.pending.is_none();
                if is_same {
                    before.last = run.last;
                    continue;
                }
            }
            joined.insert(first, run);
        }
        self.len_joined = joined.len();
        self.by_first = joined;
    }
}
