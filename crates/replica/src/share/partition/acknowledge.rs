//! What members say of the records that they have, and giving back what they leave behind.

use ottla_types::{MonoMs, Offset};
use ottla_wire::ErrorCode;

use super::runs::{ChangeId, Lock, Pending, Run};
use super::{Change, SharePartition};
use crate::share::types::{
    AcknowledgeType, AcknowledgementBatch, GivenUp, MemberId, PersistedBatch, RecordState,
};

impl SharePartition {
    /// Takes all acknowledgements of one request, or none: INVALID_REQUEST for offsets that were never acquired by
    /// anybody, INVALID_RECORD_STATE for those that the member doesn't have. No change: there is nothing to persist.
    pub fn acknowledge(
        &mut self,
        member: &MemberId,
        batches: &[AcknowledgementBatch],
        now: MonoMs,
    ) -> Result<Option<Change>, ErrorCode> {
        let mut steps = Vec::new();
        for batch in batches.iter().filter(|batch| batch.last_offset >= self.start_offset) {
            self.plan(member, batch, &mut steps)?;
        }
        let is_ascending = steps.is_sorted_by(|a: &Step, b| a.last < b.first);
        if !is_ascending {
            // By the time that its turn comes again, the member no longer has it.
            return Err(ErrorCode::InvalidRecordState);
        }
        let id = self.next_change;
        let deadline = now.plus_ms(i64::from(self.settings.record_lock_duration_ms));
        let mut changed = Vec::new();
        for step in steps {
            let Some(state) = outcome(step.kind) else {
                self.renew(member, &step, deadline);
                continue;
            };
            let why = given_up(step.kind);
            self.mark(id, step.first, step.last, why, &mut changed, |run, limit| match state {
                RecordState::Available => given_back(run, limit),
                state => (state, run.delivery_count),
            });
        }
        Ok(self.begin_change(id, changed))
    }

    /// Gives back all that the member has. Whether it saw these records isn't known here: they count as delivered.
    pub fn release(&mut self, member: &MemberId) -> Option<Change> {
        let id = self.next_change;
        let has =
            |run: &Run| run.pending.is_none() && run.lock.as_ref().is_some_and(|lock| lock.member == *member);
        let held: Vec<(Offset, Offset)> =
            self.runs.iter().filter(|(_, run)| has(run)).map(|(first, run)| (first, run.last)).collect();
        let mut changed = Vec::new();
        let why = given_up(AcknowledgeType::Release);
        for (first, last) in held {
            self.mark(id, first, last, why, &mut changed, given_back);
        }
        self.begin_change(id, changed)
    }

    /// Checks one acknowledgement against what is in flight, from the start offset on.
    fn plan(
        &self,
        member: &MemberId,
        batch: &AcknowledgementBatch,
        steps: &mut Vec<Step>,
    ) -> Result<(), ErrorCode> {
        if batch.first_offset < Offset::ZERO
            || batch.first_offset > batch.last_offset
            || batch.types.is_empty()
        {
            return Err(ErrorCode::InvalidRequest);
        }
        if batch.types.len() > 1
            && i64::try_from(batch.types.len()).ok() != Some(batch.last_offset - batch.first_offset + 1)
        {
            return Err(ErrorCode::InvalidRequest);
        }
        if self.runs.is_empty() {
            return Err(ErrorCode::InvalidRecordState);
        }
        if batch.last_offset > self.end_offset {
            return Err(ErrorCode::InvalidRequest);
        }
        let first = batch.first_offset.max(self.start_offset);
        for (from, run) in self.runs.within(first, batch.last_offset) {
            let is_held = run.state == RecordState::Acquired
                && run.pending.is_none()
                && run.lock.as_ref().is_some_and(|lock| lock.member == *member);
            let asks_too_much = !self.settings.may_renew && batch.types.contains(&AcknowledgeType::Renew);
            if !is_held || asks_too_much {
                return Err(ErrorCode::InvalidRecordState);
            }
            push_steps(batch, from.max(first), run.last.min(batch.last_offset), steps)?;
        }
        Ok(())
    }

    fn renew(&mut self, member: &MemberId, step: &Step, deadline: MonoMs) {
        for (_, run) in self.runs.cut_out(step.first, step.last) {
            run.lock = Some(Lock { member: MemberId::clone(member), deadline });
        }
        self.watch_lock(deadline, step.first, step.last);
    }

    /// Lets a part of what is in flight wait to become something else. `why`: what is archived was given up.
    pub(super) fn mark(
        &mut self,
        change: ChangeId,
        first: Offset,
        last: Offset,
        why: Option<GivenUp>,
        changed: &mut Vec<PersistedBatch>,
        becomes: impl Fn(&Run, i16) -> (RecordState, i16),
    ) {
        let limit = self.settings.delivery_count_limit;
        let mut dead = Vec::new();
        for (from, run) in self.runs.cut_out(first, last) {
            let (state, delivery_count) = becomes(run, limit);
            run.pending = Some(Pending { change, state, delivery_count });
            if state == RecordState::Archived {
                dead.push((from, run.last, delivery_count));
            }
            push_batch(
                changed,
                PersistedBatch { first_offset: from, last_offset: run.last, state, delivery_count },
            );
        }
        let Some(why) = why else { return };
        dead.into_iter().for_each(|(first, last, count)| self.give_up(first, last, count, why));
    }
}

/// Offsets that are acknowledged alike.
struct Step {
    first: Offset,
    last: Offset,
    kind: AcknowledgeType,
}

/// A record comes again unless that was its last delivery.
fn given_back(run: &Run, limit: i16) -> (RecordState, i16) {
    let is_spent = run.delivery_count >= limit;
    (if is_spent { RecordState::Archived } else { RecordState::Available }, run.delivery_count)
}

/// None for what changes no state.
fn outcome(kind: AcknowledgeType) -> Option<RecordState> {
    match kind {
        AcknowledgeType::Accept => Some(RecordState::Acknowledged),
        AcknowledgeType::Release => Some(RecordState::Available),
        AcknowledgeType::Reject | AcknowledgeType::Gap => Some(RecordState::Archived),
        AcknowledgeType::Renew => None,
    }
}

/// Why a record that is archived for this was given up. None: there is no such record.
fn given_up(kind: AcknowledgeType) -> Option<GivenUp> {
    match kind {
        AcknowledgeType::Reject => Some(GivenUp::Rejected),
        AcknowledgeType::Release => Some(GivenUp::DeliveredTooOften),
        AcknowledgeType::Gap | AcknowledgeType::Accept | AcknowledgeType::Renew => None,
    }
}

fn push_steps(
    batch: &AcknowledgementBatch,
    first: Offset,
    last: Offset,
    steps: &mut Vec<Step>,
) -> Result<(), ErrorCode> {
    if let [kind] = *batch.types {
        steps.push(Step { first, last, kind });
        return Ok(());
    }
    let mut offset = first;
    while offset <= last {
        let kind = batch.type_at(offset).ok_or(ErrorCode::InvalidRequest)?;
        match steps.last_mut() {
            Some(step) if steps_continue(step, offset, kind) => step.last = offset,
            _ => steps.push(Step { first: offset, last: offset, kind }),
        }
        offset = offset.next();
    }
    Ok(())
}

fn steps_continue(step: &Step, offset: Offset, kind: AcknowledgeType) -> bool {
    step.kind == kind && step.last.next() == offset
}

fn push_batch(batches: &mut Vec<PersistedBatch>, batch: PersistedBatch) {
    match batches.last_mut() {
        Some(last)
            if last.last_offset.next() == batch.first_offset
                && (last.state, last.delivery_count) == (batch.state, batch.delivery_count) =>
        {
            last.last_offset = batch.last_offset;
        }
        _ => batches.push(batch),
    }
}
