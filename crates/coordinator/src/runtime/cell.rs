//! One partition's shard and the queue before it. Threads leave events in the queue; whoever finds the shard free runs
//! it until the queue is empty, then appends the batch that came together. Nobody ever blocks on a shard, so an event
//! may be left from anywhere, also from within an append. Nor is a thread kept by the events of others: what has come by
//! the end of its turn is another's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, TopicPartition};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;
use tracing::debug;

use super::Shard;
use super::active::{Active, Answer};
use super::load::LoadedLog;
use super::responder::Responder;
use super::shards::RuntimeConfig;
use super::storage::{PartitionWriter, TransactionMarker};
use super::turn::{Background, Turn};

/// An operation: it gets the shard, or the reason why it can't.
pub(crate) type Operation<S> =
    Box<dyn for<'a, 'b> FnOnce(Result<(&'a mut S, &'a mut Turn<'b, S>), ErrorCode>) + Send>;

/// After so many events a turn ends, so that those who wait for answers get them.
pub(super) const EVENTS_A_TURN: usize = 1_000;

/// Before a log is read again that could not be read.
const RELOAD_MS: i64 = 1000;

type Job = Box<dyn FnOnce() + Send>;

/// What shards ask of whoever runs them.
#[derive(Clone)]
pub struct Outside {
    /// Does what would hold up a shard, for up to a second or so, on a thread that holds none, at once or later.
    pub compute: Arc<dyn Fn(Job) + Send + Sync>,
    /// Goes on with a shard that is kept busy, which is short, on such a thread. It must not wait for what `compute` was given.
    pub go_on: Arc<dyn Fn(Job) + Send + Sync>,
    /// There is something for [`Runtime::tick`](super::Runtime::tick) to do at this time, which is earlier than its next
    /// deadline was. Called often: it must be cheap, and call nothing of the coordinator's.
    pub wake_at: Arc<dyn Fn(MonoMs) + Send + Sync>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

pub(crate) enum Event<S: Shard> {
    Operation(Now, Operation<S>),
    /// The same, but it waits where the shard is being loaded, or is about to be.
    OnceLoaded(Now, Operation<S>),
    EndTransaction(Now, TransactionMarker, Responder<()>),
    HighWatermark(Offset),
    Tick(Now),
    Loaded(Now, Result<Box<LoadedLog<S>>, ErrorCode>),
    /// With the cell that takes this one's place.
    Unload(Option<Arc<Cell<S>>>),
}

pub(crate) struct Cell<S: Shard> {
    pub(crate) partition: TopicPartition,
    epoch: Mutex<LeaderEpoch>,
    config: RuntimeConfig,
    writer: Arc<dyn PartitionWriter>,
    outside: Option<Outside>,
    this: Weak<Cell<S>>,
    queue: Mutex<VecDeque<Event<S>>>,
    held: Mutex<Held<S>>,
    next_deadline: AtomicU64,
    closed: AtomicBool,
    /// When the shard, which is down, is to be loaded anew: at once where the log holds what it did not write, later where the
    /// log could not be read just now.
    reload_at: AtomicU64,
    load_failed: AtomicBool,
}

struct Held<S: Shard> {
    phase: Phase<S>,
    now: Now,
    high_watermark: Offset,
    /// What waits until the shard is loaded.
    once_loaded: Vec<Operation<S>>,
    answers: Vec<Answer>,
    background: Vec<Background<S>>,
}

enum Phase<S: Shard> {
    Loading(S),
    Active(Box<Active<S>>),
    Failed,
    /// With the cell that has taken this one's place, if any has: who had found this one just before comes here still.
    Closed(Option<Arc<Cell<S>>>),
}

impl<S: Shard> Cell<S> {
    pub(crate) fn new(
        partition: TopicPartition,
        epoch: LeaderEpoch,
        config: RuntimeConfig,
        writer: Arc<dyn PartitionWriter>,
        outside: Option<Outside>,
        shard: S,
    ) -> Arc<Cell<S>> {
        Arc::new_cyclic(|this| Cell {
            partition,
            epoch: Mutex::new(epoch),
            config,
            writer,
            outside,
            this: Weak::clone(this),
            queue: Mutex::new(VecDeque::new()),
            held: Mutex::new(Held {
                phase: Phase::Loading(shard),
                now: Now::default(),
                high_watermark: Offset::UNKNOWN,
                once_loaded: Vec::new(),
                answers: Vec::new(),
                background: Vec::new(),
            }),
            next_deadline: AtomicU64::new(MonoMs::NEVER.0),
            closed: AtomicBool::new(false),
            reload_at: AtomicU64::new(MonoMs::NEVER.0),
            load_failed: AtomicBool::new(false),
        })
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        *self.epoch.lock()
    }

    pub(crate) fn raise_epoch(&self, epoch: LeaderEpoch) {
        let mut current = self.epoch.lock();
        *current = epoch.max(*current);
    }

    pub(crate) fn post(&self, event: Event<S>) {
        self.queue.lock().push_back(event);
        self.pump();
    }

    /// `successor` is the cell that takes this one's place: what waits here goes on there.
    pub(crate) fn close(&self, successor: Option<Arc<Cell<S>>>) {
        self.closed.store(true, Ordering::Release);
        self.post(Event::Unload(successor));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Never, unless the shard is down and loading it anew may help.
    pub(crate) fn reload_at(&self) -> MonoMs {
        MonoMs(self.reload_at.load(Ordering::Acquire))
    }

    pub(crate) fn load_failed(&self) -> bool {
        self.load_failed.load(Ordering::Acquire)
    }

    pub(crate) fn next_deadline(&self) -> MonoMs {
        MonoMs(self.next_deadline.load(Ordering::Acquire))
    }

    /// A turn of the shard, if it is free; and where there is nobody to hand it over to, as many as it takes.
    fn pump(&self) {
        while self.turn() && !self.queue.lock().is_empty() {
            if let Some(outside) = &self.outside {
                // This thread is a client's, as a rule, who has more to ask than of this shard: those who keep a shard busy
                // would keep it here for as long as they do.
                return self.hand_over(outside);
            }
        }
    }

    /// False: somebody else holds the shard, who looks at the queue again after letting go of it.
    fn turn(&self) -> bool {
        let Some(mut held) = self.held.try_lock() else { return false };
        self.drain(&mut held);
        let deadline = match &held.phase {
            Phase::Active(active) => active.next_deadline(),
            Phase::Failed => self.reload_at(),
            Phase::Loading(_) | Phase::Closed(_) => MonoMs::NEVER,
        };
        let is_earlier = deadline.0 < self.next_deadline.swap(deadline.0, Ordering::AcqRel);
        let answers = std::mem::take(&mut held.answers);
        let background = std::mem::take(&mut held.background);
        let now = held.now;
        drop(held);
        if let Some(outside) = self.outside.as_ref().filter(|_| is_earlier) {
            (outside.wake_at)(deadline);
        }
        for answer in answers {
            answer();
        }
        for work in background {
            self.execute(work, now);
        }
        true
    }

    fn hand_over(&self, outside: &Outside) {
        let cell = Weak::clone(&self.this);
        (outside.go_on)(Box::new(move || {
            if let Some(cell) = cell.upgrade() {
                cell.pump();
            }
        }));
    }

    fn execute(&self, work: Background<S>, now: Now) {
        let cell = Weak::clone(&self.this);
        let job = move || {
            if let Some(operation) = work(Ok(()))
                && let Some(cell) = cell.upgrade()
            {
                cell.post(Event::Operation(now, operation));
            }
        };
        match &self.outside {
            Some(outside) => (outside.compute)(Box::new(job)),
            None => job(),
        }
    }

    fn drain(&self, held: &mut Held<S>) {
        for number in 0.. {
            let event = if number < EVENTS_A_TURN { self.queue.lock().pop_front() } else { None };
            let idle = event.is_none();
            if let Some(event) = event {
                self.handle(held, event);
            } else if let Phase::Active(active) = &mut held.phase {
                active.idle(held.now);
            }
            self.settle(held);
            if idle && (number >= EVENTS_A_TURN || self.queue.lock().is_empty()) {
                return;
            }
        }
    }

    fn handle(&self, held: &mut Held<S>, event: Event<S>) {
        match event {
            Event::Operation(now, operation) => {
                held.observe(now);
                let now = held.now;
                match held.active() {
                    Ok(active) => active.run(now, |shard, turn| operation(Ok((shard, turn)))),
                    Err(refusal) => held.answers.push(Box::new(move || operation(Err(refusal)))),
                }
            }
            Event::OnceLoaded(now, operation) => {
                held.observe(now);
                let (now, waits) = (held.now, self.may_be_loaded(held));
                match held.active() {
                    Ok(active) => active.run(now, |shard, turn| operation(Ok((shard, turn)))),
                    Err(_) if waits => held.once_loaded.push(operation),
                    Err(refusal) => held.pass_on(operation, refusal),
                }
            }
            Event::EndTransaction(now, marker, responder) => {
                held.observe(now);
                let now = held.now;
                match held.active() {
                    Ok(active) => active.end_transaction(now, marker, responder),
                    Err(refusal) => held.answers.push(Box::new(move || responder.answer(Err(refusal)))),
                }
            }
            Event::HighWatermark(offset) => held.high_watermark = held.high_watermark.max(offset),
            Event::Tick(now) => {
                held.observe(now);
                if let Phase::Active(active) = &mut held.phase {
                    active.tick(held.now);
                }
            }
            Event::Loaded(now, loaded) => {
                held.observe(now);
                self.finish_load(held, loaded);
            }
            Event::Unload(successor) => {
                self.leave(held, Phase::Closed(successor));
                held.give_up_waiting();
            }
        }
    }

    fn may_be_loaded(&self, held: &Held<S>) -> bool {
        match held.phase {
            Phase::Loading(_) => true,
            Phase::Failed => self.reload_at() != MonoMs::NEVER,
            Phase::Active(_) | Phase::Closed(_) => false,
        }
    }

    /// Does what every event may have made possible: releases what is committed, tells the shard of outcomes.
    fn settle(&self, held: &mut Held<S>) {
        let Phase::Active(active) = &mut held.phase else { return };
        active.advance(held.high_watermark);
        while active.run_completion(held.now) {}
        held.answers.extend(active.take_answers());
        held.background.extend(active.take_background());
        if active.is_out_of_sync() {
            self.leave(held, Phase::Failed);
            self.reload_at.store(held.now.mono.0, Ordering::Release);
        }
    }

    fn finish_load(&self, held: &mut Held<S>, loaded: Result<Box<LoadedLog<S>>, ErrorCode>) {
        if !matches!(held.phase, Phase::Loading(_)) {
            return;
        }
        let Phase::Loading(shard) = std::mem::replace(&mut held.phase, Phase::Failed) else { return };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(code) => {
                self.load_failed.store(true, Ordering::Release);
                if may_pass(code) {
                    let at = held.now.mono.plus_ms(RELOAD_MS);
                    self.reload_at.store(at.0, Ordering::Release);
                } else {
                    held.give_up_waiting();
                }
                return;
            }
        };
        held.high_watermark = held.high_watermark.max(loaded.high_watermark);
        let mut active = Box::new(Active::new(
            self.partition.clone(),
            self.config.clone(),
            Arc::clone(&self.writer),
            shard,
            *loaded,
        ));
        active.run(held.now, |shard, turn| shard.loaded(turn));
        for operation in std::mem::take(&mut held.once_loaded) {
            active.run(held.now, |shard, turn| operation(Ok((shard, turn))));
        }
        held.phase = Phase::Active(active);
        debug!(partition = %self.partition, epoch = %self.epoch(), "coordinator loaded");
    }

    fn leave(&self, held: &mut Held<S>, next: Phase<S>) {
        match std::mem::replace(&mut held.phase, next) {
            Phase::Active(active) => held.answers.extend(active.unload()),
            Phase::Loading(shard) => held.answers.push(Box::new(move || drop(shard))),
            Phase::Failed | Phase::Closed(_) => {}
        }
    }
}

/// Whether a log that can't be read may be readable in a while: its partition, or its disk, is not there just now. What it holds
/// will not change.
pub(super) fn may_pass(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError)
}

impl<S: Shard> Held<S> {
    /// The shard that serves requests, or what they are refused with.
    fn active(&mut self) -> Result<&mut Active<S>, ErrorCode> {
        match &mut self.phase {
            Phase::Active(active) => Ok(active),
            Phase::Loading(_) => Err(ErrorCode::CoordinatorLoadInProgress),
            Phase::Failed | Phase::Closed(_) => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Nothing is loaded here any more for what waits for that.
    fn give_up_waiting(&mut self) {
        for operation in std::mem::take(&mut self.once_loaded) {
            self.pass_on(operation, ErrorCode::NotCoordinator);
        }
    }

    /// Hands what waits for the shard to be loaded to who has taken its place, or refuses it where nobody has.
    fn pass_on(&mut self, operation: Operation<S>, refusal: ErrorCode) {
        let successor = match &self.phase {
            Phase::Closed(successor) => successor.clone(),
            _ => None,
        };
        let now = self.now;
        self.answers.push(Box::new(move || match successor {
            Some(cell) => cell.post(Event::OnceLoaded(now, operation)),
            None => operation(Err(refusal)),
        }));
    }

    /// Time goes forward, however the threads overtake each other between reading the clock and getting here.
    fn observe(&mut self, now: Now) {
        if now.mono >= self.now.mono {
            self.now = now;
        }
    }
}
