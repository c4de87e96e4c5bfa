//! A shard that is loaded: its state in versions, the batch that is being filled, and who waits for which offset.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_types::{MonoMs, Now, Offset, TopicPartition};
use ottla_wire::ErrorCode;
use tracing::{error, warn};

use super::Shard;
use super::responder::Reply;
use super::responder::Responder;
use super::shards::RuntimeConfig;
use super::storage::{
    BATCH_HEADER_BYTES, EncodedRecord, Membership, PartitionWriter, TransactionMarker, WriteBatch,
};
use super::timers::Timers;
use super::turn::{Background, Effects, TimerChange, Turn};

/// Something to run when the shard is no longer held: answers to clients.
pub(crate) type Answer = Box<dyn FnOnce() + Send>;

pub(crate) struct Active<S: Shard> {
    partition: TopicPartition,
    config: RuntimeConfig,
    writer: Arc<dyn PartitionWriter>,
    shard: S,
    /// Everything that was written.
    state: S::State,
    /// Earlier states and the offsets up to which they hold, oldest first. The front is what the high watermark covers;
    /// empty where it covers everything.
    versions: VecDeque<(Offset, S::State)>,
    /// Where the next batch will begin.
    end: Offset,
    /// Where it began when the shard was loaded.
    loaded_end: Offset,
    high_watermark: Offset,
    batch: Option<OpenBatch<S>>,
    waiting: VecDeque<Waiting<S>>,
    completed: VecDeque<(S::Completion, Result<(), ErrorCode>)>,
    timers: Timers<S::Timer>,
    answers: Vec<Answer>,
    background: Vec<Background<S>>,
    out_of_sync: bool,
}

/// Records that are replayed and not yet appended.
struct OpenBatch<S: Shard> {
    opened_at: MonoMs,
    transaction: Option<Membership>,
    records: Vec<EncodedRecord>,
    bytes: usize,
    max_bytes: usize,
    waiting: Vec<Waiting<S>>,
}

/// What one operation left to be done once the log is committed up to `end`.
struct Waiting<S: Shard> {
    end: Offset,
    deadline: MonoMs,
    replies: Vec<Reply>,
    completions: Vec<S::Completion>,
    /// Begins when the records are written.
    background: Vec<Background<S>>,
}

impl<S: Shard> Active<S> {
    pub(crate) fn new(
        partition: TopicPartition,
        config: RuntimeConfig,
        writer: Arc<dyn PartitionWriter>,
        shard: S,
        loaded: super::load::LoadedLog<S>,
    ) -> Active<S> {
        let mut active = Active {
            partition,
            config,
            writer,
            shard,
            state: loaded.state,
            versions: loaded.versions,
            end: loaded.end,
            loaded_end: loaded.end,
            high_watermark: Offset::UNKNOWN,
            batch: None,
            waiting: VecDeque::new(),
            completed: VecDeque::new(),
            timers: Timers::default(),
            answers: Vec::new(),
            background: Vec::new(),
            out_of_sync: false,
        };
        // What was not committed when it was read may have been by the time that the last was.
        active.advance(loaded.high_watermark);
        active
    }

    /// Runs one operation. Its records join the open batch.
    pub(crate) fn run(&mut self, now: Now, operation: impl FnOnce(&mut S, &mut Turn<'_, S>)) {
        let mut effects = Effects::default();
        let committed = self.versions.front().map_or(&self.state, |(_, state)| state);
        let knows_what_was_promised = self.loaded_end <= self.high_watermark;
        let mut turn =
            Turn { now, state: &self.state, committed, knows_what_was_promised, effects: &mut effects };
        operation(&mut self.shard, &mut turn);
        self.apply(effects, now);
        if self.config.append_linger_ms == Some(0) {
            self.flush(now);
        }
    }

    /// Fires what is due: timers, timeouts of operations, and the batch that has lingered long enough.
    pub(crate) fn tick(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.run(now, |shard, turn| shard.timer_fired(turn, timer));
        }
        while self.waiting.front().is_some_and(|waiting| waiting.deadline <= now.mono) {
            if let Some(waiting) = self.waiting.pop_front() {
                warn!(partition = %self.partition, end = %waiting.end, "not committed in time");
                self.finish(waiting, Err(ErrorCode::RequestTimedOut));
            }
        }
        if self.linger_deadline() <= now.mono {
            self.flush(now);
        }
    }

    /// Releases what the high watermark has reached.
    pub(crate) fn advance(&mut self, high_watermark: Offset) {
        if high_watermark <= self.high_watermark {
            return;
        }
        self.high_watermark = high_watermark;
        while self.versions.get(1).is_some_and(|(offset, _)| *offset <= high_watermark) {
            self.versions.pop_front();
        }
        if self.batch.is_none() && self.end <= high_watermark {
            self.versions.clear();
        }
        while self.waiting.front().is_some_and(|waiting| waiting.end <= high_watermark) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.finish(waiting, Ok(()));
            }
        }
    }

    /// Lets the shard hear of one outcome; false if there was none.
    pub(crate) fn run_completion(&mut self, now: Now) -> bool {
        let Some((completion, result)) = self.completed.pop_front() else { return false };
        self.run(now, |shard, turn| shard.completed(turn, completion, result));
        true
    }

    /// Appends the open batch when nothing else waits to join it. With a fixed linger it stays open until then.
    pub(crate) fn idle(&mut self, now: Now) {
        if self.config.append_linger_ms.is_none() {
            self.flush(now);
        }
    }

    pub(crate) fn next_deadline(&self) -> MonoMs {
        let timeout = self.waiting.front().map_or(MonoMs::NEVER, |waiting| waiting.deadline);
        self.timers.next_deadline().min(timeout).min(self.linger_deadline())
    }

    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// What operations want to be done elsewhere.
    pub(crate) fn take_background(&mut self) -> Vec<Background<S>> {
        std::mem::take(&mut self.background)
    }

    /// The log holds something that this shard did not write: it must be loaded again.
    pub(crate) fn is_out_of_sync(&self) -> bool {
        self.out_of_sync
    }

    /// Gives the shard up. Whoever waits is answered NOT_COORDINATOR.
    pub(crate) fn unload(mut self) -> Vec<Answer> {
        let open = self.batch.take().map_or_else(Vec::new, |batch| batch.waiting);
        for waiting in std::mem::take(&mut self.waiting).into_iter().chain(open) {
            self.answers.extend(answers(waiting.replies, Err(ErrorCode::NotCoordinator)));
            self.background.extend(waiting.background);
        }
        let mut answers = std::mem::take(&mut self.answers);
        answers.extend(refusals(self.background, ErrorCode::NotCoordinator));
        // The requests that the shard itself has parked are answered as they are dropped, outside of the lock.
        let shard = self.shard;
        answers.push(Box::new(move || drop(shard)));
        answers
    }

    fn linger_deadline(&self) -> MonoMs {
        match (&self.batch, self.config.append_linger_ms) {
            (Some(batch), Some(linger_ms)) => batch.opened_at.plus_ms(i64::from(linger_ms)),
            _ => MonoMs::NEVER,
        }
    }

    fn apply(&mut self, effects: Effects<S>, now: Now) {
        for (timer, change) in effects.timers {
            match change {
                TimerChange::Set(deadline) => self.timers.set(timer, deadline),
                TimerChange::SetIfAbsent(deadline) => self.timers.set_if_absent(timer, deadline),
                TimerChange::Cancel => self.timers.cancel(&timer),
            }
        }
        self.answers.extend(effects.immediate);
        let waiting = Waiting {
            end: self.end,
            deadline: now.mono.plus_ms(i64::from(self.config.write_timeout_ms)),
            replies: effects.replies,
            completions: effects.completions,
            background: effects.background,
        };
        match self.write(effects.records, effects.may_split, effects.transaction, now) {
            Ok(()) => self.wait(waiting),
            Err(code) => self.finish(waiting, Err(code)),
        }
        if effects.transaction.is_some() {
            self.flush(now);
        }
    }

    /// Replays the records and puts them into the open batch.
    fn write(
        &mut self,
        records: Vec<S::Record>,
        may_split: bool,
        transaction: Option<Membership>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        if records.is_empty() {
            return Ok(());
        }
        let encoded = S::encode_all(&records)?;
        let max_bytes = self.writer.max_batch_bytes(&self.partition);
        let bytes = encoded.iter().map(EncodedRecord::max_bytes).sum::<usize>();
        let in_one_batch = !may_split || transaction.is_some() || BATCH_HEADER_BYTES + bytes <= max_bytes;
        if in_one_batch {
            self.make_room(bytes, max_bytes, transaction, now)?;
        } else if encoded.iter().any(|record| BATCH_HEADER_BYTES + record.max_bytes() > max_bytes) {
            return Err(ErrorCode::MessageTooLarge);
        }
        for (record, encoded) in records.into_iter().zip(encoded) {
            if !in_one_batch {
                self.make_room(encoded.max_bytes(), max_bytes, transaction, now)?;
            }
            self.put(record, encoded, transaction, max_bytes, now);
        }
        Ok(())
    }

    /// Sees to it that `bytes` more fit into the open batch, if need be by appending it and beginning another.
    fn make_room(
        &mut self,
        bytes: usize,
        max_bytes: usize,
        transaction: Option<Membership>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        if BATCH_HEADER_BYTES + bytes > max_bytes {
            return Err(ErrorCode::MessageTooLarge);
        }
        let fits = |batch: &OpenBatch<S>| {
            batch.transaction.is_none() && transaction.is_none() && batch.bytes + bytes <= batch.max_bytes
        };
        match &self.batch {
            Some(batch) if !fits(batch) => self.try_flush(now),
            _ => Ok(()),
        }
    }

    fn put(
        &mut self,
        record: S::Record,
        encoded: EncodedRecord,
        transaction: Option<Membership>,
        max_bytes: usize,
        now: Now,
    ) {
        if self.batch.is_none() {
            self.versions.push_back((self.end, self.state.clone()));
        }
        let batch = self.batch.get_or_insert_with(|| OpenBatch {
            opened_at: now.mono,
            transaction,
            records: Vec::new(),
            bytes: BATCH_HEADER_BYTES,
            max_bytes,
            waiting: Vec::new(),
        });
        let offset = self.end + batch.records.len() as i64;
        batch.bytes += encoded.max_bytes();
        batch.records.push(encoded);
        let producer = transaction.map(|transaction| transaction.producer);
        S::replay(&mut self.state, offset, producer, record);
    }

    /// Queues what an operation left behind everything that is written so far.
    fn wait(&mut self, mut waiting: Waiting<S>) {
        if waiting.replies.is_empty() && waiting.completions.is_empty() && waiting.background.is_empty() {
            return;
        }
        if let Some(batch) = &mut self.batch {
            batch.waiting.push(waiting);
            return;
        }
        self.background.append(&mut waiting.background);
        if self.high_watermark < self.end {
            waiting.end = self.end;
            self.waiting.push_back(waiting);
        } else {
            self.finish(waiting, Ok(()));
        }
    }

    fn finish(&mut self, waiting: Waiting<S>, result: Result<(), ErrorCode>) {
        self.answers.extend(answers(waiting.replies, result));
        match result {
            Ok(()) => self.background.extend(waiting.background),
            Err(code) => self.answers.extend(refusals(waiting.background, code)),
        }
        self.completed.extend(waiting.completions.into_iter().map(|completion| (completion, result)));
    }

    fn flush(&mut self, now: Now) {
        // Whoever had a part in the batch has been told of its failure.
        let _ = self.try_flush(now);
    }

    fn try_flush(&mut self, now: Now) -> Result<(), ErrorCode> {
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        let next = self.end + batch.records.len() as i64;
        let append = WriteBatch {
            timestamp: now.wall,
            transaction: batch.transaction,
            base_sequence: S::BASE_SEQUENCE,
            records: batch.records,
        };
        let appended = self.writer.append(&self.partition, append, now);
        let result = self.settle_append(appended, next);
        match result {
            Ok(()) => {
                for waiting in &mut batch.waiting {
                    self.background.append(&mut waiting.background);
                }
                self.waiting
                    .extend(batch.waiting.into_iter().map(|waiting| Waiting { end: next, ..waiting }));
            }
            Err(code) => {
                for waiting in batch.waiting {
                    self.finish(waiting, Err(code));
                }
            }
        }
        result
    }

    /// Ends a transaction whose records lie in this log: the marker is a batch of its own.
    pub(crate) fn end_transaction(&mut self, now: Now, marker: TransactionMarker, responder: Responder<()>) {
        self.flush(now);
        self.versions.push_back((self.end, self.state.clone()));
        S::replay_end_transaction(&mut self.state, marker.producer, marker.committed);
        let next = self.end.next();
        let appended = self.writer.append_marker(&self.partition, marker, now);
        let result = self.settle_append(appended, next);
        let waiting = Waiting {
            end: next,
            deadline: now.mono.plus_ms(i64::from(self.config.write_timeout_ms)),
            replies: vec![Reply::new(responder, ())],
            completions: Vec::new(),
            background: Vec::new(),
        };
        match result {
            Ok(()) => self.wait(waiting),
            Err(code) => self.finish(waiting, Err(code)),
        }
    }

    /// Takes note of what became of an append of what is replayed already: what failed is taken back.
    fn settle_append(&mut self, appended: Result<Offset, ErrorCode>, next: Offset) -> Result<(), ErrorCode> {
        let result = match appended {
            Ok(end) if end == next => Ok(()),
            Ok(end) => {
                error!(partition = %self.partition, %end, expected = %next, "the log holds records of others");
                self.out_of_sync = true;
                Err(ErrorCode::NotCoordinator)
            }
            Err(code) => {
                warn!(partition = %self.partition, ?code, "append failed");
                Err(code)
            }
        };
        if result.is_ok() {
            self.end = next;
        } else if let Some((_, before)) = self.versions.pop_back() {
            self.state = before;
        }
        result
    }
}

fn answers(replies: Vec<Reply>, result: Result<(), ErrorCode>) -> impl Iterator<Item = Answer> {
    replies.into_iter().map(move |reply| -> Answer { Box::new(move || reply.release(result)) })
}

fn refusals<S: Shard>(background: Vec<Background<S>>, code: ErrorCode) -> impl Iterator<Item = Answer> {
    background.into_iter().map(move |work| -> Answer { Box::new(move || drop(work(Err(code)))) })
}
