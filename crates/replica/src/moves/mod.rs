//! Replicas that move from one log directory to another (KIP-113, KIP-858).
//!
//! A copy of the log grows in the other directory, named as one to come, while the replica goes on in its own. When the copy
//! has all of it the controller is told where the replica is about to be, so that it knows whom either directory takes with it;
//! once the metadata say so the copy takes the log's place. A move that a process leaves behind is gone on with by the next.
//!
//! Nothing here runs by itself: whoever drives it takes a [`MoveStep`] and does it where waiting for the disk hurts nobody.

mod copying;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_log::log_manager::CreateLog;
use ottla_log::{OpenError, UnifiedLog};
use ottla_types::{MonoMs, Now, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

pub(crate) use self::copying::{MoveError, copy_some, is_behind};
use crate::errors;
use crate::manager::ReplicaManager;
use crate::partition::Partition;
use crate::quota::{Quota, RateWindow};

/// Before it is looked again whether the rate allows more, or whether the controller has taken note.
const LOOK_AGAIN_MS: i64 = 100;
/// After a failure.
const RETRY_MS: i64 = 1000;

/// All moves of a broker.
#[derive(Debug)]
pub(crate) struct LogMoves {
    pub quota: Quota,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    moves: BTreeMap<TopicPartition, Move>,
    /// Nothing is copied before: the rate is exceeded.
    held_back_until: MonoMs,
    under_way: usize,
    /// `num.replica.alter.log.dirs.threads`
    under_way_max: usize,
}

#[derive(Debug)]
struct Move {
    partition: Arc<Partition>,
    /// The log that grows.
    future: Arc<UnifiedLog>,
    /// Somebody is at it.
    is_under_way: bool,
    /// It is left alone before.
    wait_until: MonoMs,
}

/// A piece of work on one move.
#[derive(Debug)]
pub struct MoveStep {
    id: TopicPartition,
    partition: Arc<Partition>,
    future: Arc<UnifiedLog>,
}

/// What a step has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// There is more to copy, or to wait for.
    Onward,
    /// The copy is complete: the controller is to be told that the replica is in this directory.
    Tell { topic_id: Uuid, partition: i32, directory: Uuid },
    /// The replica is in the other directory, or is not to go there any more.
    Over,
}

impl LogMoves {
    pub fn new(window: RateWindow, under_way_max: usize) -> LogMoves {
        let state = State {
            moves: BTreeMap::new(),
            held_back_until: MonoMs::default(),
            under_way: 0,
            under_way_max: under_way_max.max(1),
        };
        LogMoves { quota: Quota::unbounded(window), state: Mutex::new(state) }
    }

    /// None if it was known already.
    fn begin(&self, partition: &Arc<Partition>, future: Arc<UnifiedLog>) -> Option<()> {
        let mut state = self.state.lock();
        let id = partition.topic_partition();
        let known = state.moves.get(id);
        if known.is_some_and(|known| {
            Arc::ptr_eq(&known.future, &future) && Arc::ptr_eq(&known.partition, partition)
        }) {
            return None;
        }
        let new = Move {
            partition: Arc::clone(partition),
            future,
            is_under_way: false,
            wait_until: MonoMs::default(),
        };
        let before = state.moves.insert(id.clone(), new);
        before.is_none().then_some(())
    }

    /// Whether there was one.
    fn end(&self, id: &TopicPartition) -> bool {
        self.state.lock().moves.remove(id).is_some()
    }

    fn next(&self, now: MonoMs) -> Option<MoveStep> {
        let mut state = self.state.lock();
        if state.under_way >= state.under_way_max || state.held_back_until > now {
            return None;
        }
        if !state.moves.is_empty() && self.quota.look(now) {
            state.held_back_until = now.plus_ms(LOOK_AGAIN_MS);
            return None;
        }
        let (id, next) =
            state.moves.iter_mut().find(|(_, next)| !next.is_under_way && next.wait_until <= now)?;
        next.is_under_way = true;
        let step = MoveStep {
            id: id.clone(),
            partition: Arc::clone(&next.partition),
            future: Arc::clone(&next.future),
        };
        state.under_way += 1;
        Some(step)
    }

    fn done(&self, step: &MoveStep, wait_until: MonoMs) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        // It may have ended, and another begun.
        if let Some(done) =
            state.moves.get_mut(&step.id).filter(|known| Arc::ptr_eq(&known.future, &step.future))
        {
            done.is_under_way = false;
            done.wait_until = wait_until;
        }
    }

    fn next_deadline(&self) -> MonoMs {
        let state = self.state.lock();
        if state.under_way >= state.under_way_max {
            return MonoMs::NEVER;
        }
        let waiting = state.moves.values().filter(|waiting| !waiting.is_under_way);
        let next = waiting.map(|waiting| waiting.wait_until).min();
        next.map_or(MonoMs::NEVER, |next| next.max(state.held_back_until))
    }

    fn is_known(&self, step: &MoveStep) -> bool {
        let state = self.state.lock();
        state.moves.get(&step.id).is_some_and(|known| Arc::ptr_eq(&known.future, &step.future))
    }
}

impl ReplicaManager {
    /// Moves the replica of a partition to a log directory, or leaves it where it is and ends the move that it is on. `unique` is
    /// random. Returns whether a move was ended.
    pub fn move_to_dir(
        &self,
        partition: &Arc<Partition>,
        dir: &Path,
        unique: Uuid,
        now: Now,
    ) -> Result<bool, ErrorCode> {
        let id = partition.topic_partition();
        let logs = &self.logs;
        let future = logs.future_log(id);
        let is_ended = future.as_ref().is_some_and(|future| future.log_dir() != dir);
        if is_ended {
            self.end_move(id);
            logs.delete_future(id, unique, now).map_err(|error| errors::of_storage(&error))?;
            tracing::info!(partition = %id, from = %partition.log().log_dir().display(),
                to = ?future.map(|future| future.log_dir()), "the move to another directory is given up");
        }
        if partition.log().log_dir() == dir {
            return Ok(is_ended);
        }
        let create = CreateLog {
            partition: id.clone(),
            topic_id: Some(partition.topic_id()),
            config: partition.log().config(),
            is_new: false,
            dir: Some(dir.to_owned()),
        };
        let made = logs.get_or_create_future(&create, unique, now).map_err(|error| refusal(&error))?;
        if self.begin_move(partition, made, now) {
            tracing::info!(partition = %id, from = %partition.log().log_dir().display(), to = %dir.display(),
                size_bytes = partition.log().size_bytes(), "moves to another directory");
        }
        Ok(is_ended)
    }

    /// Goes on with the move that a process before this one left behind.
    pub fn go_on_moving(&self, partition: &Arc<Partition>, now: Now) {
        let id = partition.topic_partition();
        let Some(future) = self.logs.future_log(id) else { return };
        // A process that ends while it makes a log may leave it without.
        if let Err(error) = future.assign_topic_id(partition.topic_id()) {
            tracing::warn!(partition = %id, dir = %future.dir().display(), %error,
                "does not go on moving to another directory");
            return;
        }
        let at = future.log_end_offset();
        let (from, to) = (partition.log().log_dir(), future.log_dir());
        if self.begin_move(partition, future, now) {
            tracing::info!(partition = %id, from = %from.display(), to = %to.display(), %at,
                end = %partition.log().log_end_offset(), "goes on moving to another directory");
        }
    }

    /// Nothing compacts or shortens the log meanwhile: what the cleaner knows of it is to be true of the copy. Whether that is
    /// news.
    fn begin_move(&self, partition: &Arc<Partition>, future: Arc<UnifiedLog>, now: Now) -> bool {
        // Before it is known to others, who may end it at once and take the pause back.
        let (cleaner, id) = (self.logs.cleaner(), partition.topic_partition());
        cleaner.abort_and_pause(id);
        let is_new = self.moves.begin(partition, future).is_some();
        if !is_new {
            cleaner.resume(id);
        }
        self.will_be_due(now.mono);
        is_new
    }

    pub(crate) fn end_move(&self, id: &TopicPartition) {
        if self.moves.end(id) {
            self.logs.cleaner().resume(id);
        }
    }

    /// Whether the metadata say that the replica is where its log to come is.
    pub fn is_expected_in_future_dir(&self, partition: &Partition, directory: Uuid) -> bool {
        let future = self.logs.future_log(partition.topic_partition());
        future.is_some_and(|future| self.logs.dir_id(&future.log_dir()) == Some(directory))
    }

    /// A piece of work that is due, if there is any: to be done with [`ReplicaManager::move_on`].
    pub fn next_move(&self, now: MonoMs) -> Option<MoveStep> {
        self.moves.next(now)
    }

    /// When there may be work for [`ReplicaManager::next_move`] to give.
    pub fn next_move_deadline(&self) -> MonoMs {
        self.moves.next_deadline()
    }

    /// Copies some of the log, or puts a copy that is complete in its place. `unique` is random. It waits for the disk.
    pub fn move_on(&self, step: MoveStep, unique: Uuid, now: Now) -> Moved {
        let MoveStep { id, partition, future } = &step;
        let is_gone =
            self.partition(&id.topic, id.partition).is_none_or(|known| !Arc::ptr_eq(&known, partition))
                || self.logs.future_log(id).is_none_or(|known| !Arc::ptr_eq(&known, future));
        if is_gone || !self.moves.is_known(&step) {
            if self.moves.is_known(&step) {
                tracing::info!(partition = %id, "the move to another directory is over: one of them is gone");
                self.end_move(id);
            }
            self.moves.done(&step, now.mono);
            return Moved::Over;
        }
        let (moved, wait_ms) = match self.advance(&step, unique, now) {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(partition = %id, to = %future.dir().display(), %error,
                    "does not move to another directory: tried again later");
                (Moved::Onward, RETRY_MS)
            }
        };
        if moved == Moved::Over {
            self.end_move(id);
        }
        self.moves.done(&step, now.mono.plus_ms(wait_ms));
        moved
    }

    fn advance(&self, step: &MoveStep, unique: Uuid, now: Now) -> Result<(Moved, i64), MoveError> {
        let MoveStep { partition, future, .. } = step;
        let current = partition.log();
        let copied = copy_some(&self.logs, &current, future, now)?;
        self.moves.quota.record(copied, now.mono);
        if is_behind(&current, future) {
            return Ok((Moved::Onward, 0));
        }
        match self.where_expected(partition, future) {
            Expected::There => {}
            Expected::Elsewhere { directory } => {
                let (topic_id, number) = (partition.topic_id(), partition.topic_partition().partition);
                return Ok((Moved::Tell { topic_id, partition: number, directory }, LOOK_AGAIN_MS));
            }
        }
        // Before the log stands still for it.
        future.flush(now)?;
        let from = current.log_dir();
        if !partition.replace_log(&self.logs, future, unique, now)? {
            return Ok((Moved::Onward, 0));
        }
        tracing::info!(partition = %step.id, from = %from.display(), to = %future.log_dir().display(),
            end = %future.log_end_offset(), "has moved to another directory");
        Ok((Moved::Over, 0))
    }

    fn where_expected(&self, partition: &Partition, future: &UnifiedLog) -> Expected {
        let Some(directory) = self.logs.dir_id(&future.log_dir()) else { return Expected::There };
        let known = self.rules.brokers.directory(
            self.local,
            partition.topic_id(),
            partition.topic_partition().partition,
        );
        match known {
            Some(known) if known != directory => Expected::Elsewhere { directory },
            // Metadata of an older version know nothing of directories.
            _ => Expected::There,
        }
    }
}

enum Expected {
    There,
    /// The metadata are to say that it is in `directory`.
    Elsewhere {
        directory: Uuid,
    },
}

fn refusal(error: &OpenError) -> ErrorCode {
    tracing::info!(%error, "a log can't be made where a replica is to move");
    ErrorCode::KafkaStorageError
}
