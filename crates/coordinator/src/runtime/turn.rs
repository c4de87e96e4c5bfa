use ottla_types::{MonoMs, Now};
use ottla_wire::ErrorCode;

use super::Shard;
use super::cell::Operation;
use super::responder::{Reply, Responder};
use super::storage::Membership;

/// What an operation sees and what it yields. It reads the state and asks for effects; that the records are applied,
/// written and committed, and that nobody hears of it before, is the runtime's business.
pub struct Turn<'a, S: Shard> {
    /// When this operation takes place.
    pub now: Now,
    /// The state with everything that was written, committed or not. What operations build on.
    pub state: &'a S::State,
    /// The state up to the high watermark. What reads answer from.
    pub committed: &'a S::State,
    /// Whether all that was in the log when the shard was loaded is committed by now. Until then `committed` may be less than
    /// what leaders before this one have promised: the high watermark is known to a new leader after a while only.
    pub knows_what_was_promised: bool,
    pub(crate) effects: &'a mut Effects<S>,
}

impl<S: Shard> std::fmt::Debug for Turn<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<S: Shard> Turn<'_, S> {
    /// Appends `record` to the log. All records of one operation go into one batch: they are written together or not
    /// at all.
    pub fn record(&mut self, record: S::Record) {
        self.effects.records.push(record);
    }

    /// Lets the records of this operation go into several batches where one is too small for them. For records that
    /// make sense up to whichever of them comes last.
    pub fn allow_split(&mut self) {
        self.effects.may_split = true;
    }

    /// Makes the records of this operation part of a transaction.
    pub fn within_transaction(&mut self, transaction: Membership) {
        self.effects.transaction = Some(transaction);
    }

    /// Runs `effect` when the shard is no longer held, whatever becomes of this operation's records.
    pub fn afterwards(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.immediate.push(Box::new(effect));
    }

    /// Answers once all that is written so far, this operation's records included, is committed.
    pub fn reply<R: Send + 'static>(&mut self, responder: Responder<R>, response: R) {
        self.effects.replies.push(Reply::new(responder, response));
    }

    /// Answers without waiting: for errors that say nothing of the state, and for what comes from `committed`.
    pub fn reply_at_once<R: Send + 'static>(
        &mut self,
        responder: Responder<R>,
        response: Result<R, ErrorCode>,
    ) {
        self.effects.immediate.push(Box::new(move || responder.answer(response)));
    }

    /// Hands `completion` back through [`Shard::completed`] when the records of this operation are committed, have
    /// failed or have timed out.
    pub fn on_completion(&mut self, completion: S::Completion) {
        self.effects.completions.push(completion);
    }

    /// Calls [`Shard::timer_fired`] in `delay_ms` (negative counts as zero), instead of when this timer was to fire.
    pub fn schedule(&mut self, timer: S::Timer, delay_ms: i64) {
        let deadline = self.now.mono.plus_ms(delay_ms);
        self.effects.timers.push((timer, TimerChange::Set(deadline)));
    }

    /// The same, but leaves the timer as it is if it is set already.
    pub fn schedule_if_absent(&mut self, timer: S::Timer, delay_ms: i64) {
        let deadline = self.now.mono.plus_ms(delay_ms);
        self.effects.timers.push((timer, TimerChange::SetIfAbsent(deadline)));
    }

    pub fn cancel(&mut self, timer: S::Timer) {
        self.effects.timers.push((timer, TimerChange::Cancel));
    }

    /// Has `work` done elsewhere, for it would hold up the shard's other operations, and then `then` with what it yields, as
    /// an operation of its own. In between the state may become another. Where the records of this operation can't be
    /// written, or the shard is gone meanwhile, the responder gets the error instead.
    pub fn in_background<T: Send + 'static, R: Send + 'static>(
        &mut self,
        responder: Responder<R>,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut S, &mut Turn<'_, S>, T, Responder<R>) + Send + 'static,
    ) {
        self.effects.background.push(Box::new(move |written| {
            if let Err(code) = written {
                responder.answer(Err(code));
                return None;
            }
            let yielded = work();
            Some(Box::new(move |access| match access {
                Ok((shard, turn)) => then(shard, turn, yielded, responder),
                Err(code) => responder.answer(Err(code)),
            }))
        }));
    }

    /// Records asked for so far in this operation.
    pub fn has_records(&self) -> bool {
        !self.effects.records.is_empty()
    }
}

/// Work outside of the shard, which yields what the shard is to do then. None: the operation that has asked for it failed.
pub(crate) type Background<S> = Box<dyn FnOnce(Result<(), ErrorCode>) -> Option<Operation<S>> + Send>;

pub(crate) struct Effects<S: Shard> {
    pub(crate) records: Vec<S::Record>,
    pub(crate) may_split: bool,
    pub(crate) transaction: Option<Membership>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) immediate: Vec<Box<dyn FnOnce() + Send>>,
    pub(crate) completions: Vec<S::Completion>,
    pub(crate) background: Vec<Background<S>>,
    pub(crate) timers: Vec<(S::Timer, TimerChange)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerChange {
    Set(MonoMs),
    SetIfAbsent(MonoMs),
    Cancel,
}

impl<S: Shard> Default for Effects<S> {
    fn default() -> Effects<S> {
        Effects {
            records: Vec::new(),
            may_split: false,
            transaction: None,
            replies: Vec::new(),
            immediate: Vec::new(),
            completions: Vec::new(),
            background: Vec::new(),
            timers: Vec::new(),
        }
    }
}
