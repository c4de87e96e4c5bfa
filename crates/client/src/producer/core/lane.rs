//! The sender's side of one partition: what is under way, what is to be sent again, and the sequence.
//!
//! What always holds of an idempotent producer: batches have gapless sequences in the order in which they were taken; a
//! batch that failed once goes out again only when nothing with a lower sequence is open, and before anything new; no
//! batch gets another sequence while one of the partition is under way; the first batch of a sequence goes alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_record::increment_sequence;
use ottla_types::{MonoMs, ProducerEpoch, ProducerId};

use super::accumulator::Accumulator;
use super::batch::{Batch, OpenBatch, Sequenced};
use super::queue::Queue;

/// Who an idempotent producer is to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// A batch that was sent in a request.
#[derive(Debug)]
pub(super) struct Sent {
    pub request: u64,
    pub batch: Batch,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    pub queue: Arc<Queue>,
    /// In the order of their sequences.
    pub retries: VecDeque<Batch>,
    /// In the order in which they were sent.
    pub in_flight: Vec<Sent>,
    pub identity: Option<Identity>,
    next_sequence: i32,
    /// The sequence after the last one that the broker has confirmed.
    confirmed_until: i32,
    /// A batch has failed: if it wasn't written, what follows it has a gap before it.
    pub is_unresolved: bool,
    /// There is a gap: what is left starts anew, under a new epoch, once nothing is under way.
    pub needs_epoch: bool,
}

/// Why a batch isn't taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotNow {
    /// There is none, or another answer has to come first.
    Wait,
    /// There will be, at this time.
    Until(MonoMs),
}

impl Lane {
    pub fn new(queue: Arc<Queue>) -> Lane {
        Lane {
            queue,
            retries: VecDeque::new(),
            in_flight: Vec::new(),
            identity: None,
            next_sequence: 0,
            confirmed_until: 0,
            is_unresolved: false,
            needs_epoch: false,
        }
    }

    /// Whether a batch can be sent now.
    pub fn check(
        &self,
        accumulator: &Accumulator,
        identity: Option<Identity>,
        now: MonoMs,
    ) -> Result<(), NotNow> {
        let settings = &accumulator.settings;
        if self.needs_epoch || (settings.in_flight_max == 1 && !self.in_flight.is_empty()) {
            return Err(NotNow::Wait);
        }
        if let Some(batch) = self.retries.front() {
            if !self.is_lowest(batch) {
                return Err(NotNow::Wait);
            }
            return if batch.not_before <= now { Ok(()) } else { Err(NotNow::Until(batch.not_before)) };
        }
        let is_stale = self.identity != identity;
        // A leader that knows nothing of the producer takes any sequence: the first batch must not be overtaken.
        let is_first = self.confirmed_until == 0;
        let waits = self.is_unresolved || (!self.in_flight.is_empty() && (is_stale || is_first));
        if settings.is_idempotent && waits {
            return Err(NotNow::Wait);
        }
        let state = self.queue.state.lock();
        let Some(first) = state.waiting.front() else { return Err(NotNow::Wait) };
        let lingered = first.created.plus_ms(i64::try_from(settings.linger_ms).unwrap_or(i64::MAX));
        let is_ready = first.is_full
            || lingered <= now
            || accumulator.is_hurried(first.number)
            || accumulator.memory.is_wanted();
        if is_ready { Ok(()) } else { Err(NotNow::Until(lingered)) }
    }

    /// Of an idempotent producer's batches that have no answer yet.
    fn is_lowest(&self, batch: &Batch) -> bool {
        batch.sequenced.is_none() || self.in_flight.iter().all(|sent| !is_before(&sent.batch, batch))
    }

    /// The next batch, sealed if it is new. [`Lane::check`] has said that there is one.
    pub fn take(
        &mut self,
        accumulator: &Accumulator,
        identity: Option<Identity>,
        is_transactional: bool,
    ) -> Option<Batch> {
        if let Some(batch) = self.retries.pop_front() {
            return Some(batch);
        }
        let open = self.pop_waiting()?;
        if self.identity != identity {
            self.begin_sequence(identity);
        }
        let first = self.next_sequence;
        let sequenced =
            identity.map(|Identity { producer_id, epoch }| Sequenced { producer_id, epoch, first });
        match open.seal(sequenced, is_transactional) {
            Ok(batch) => {
                self.next_sequence = increment_sequence(first, batch.count);
                accumulator.learn_ratio(&self.queue.topic, batch.ratio());
                Some(batch)
            }
            Err(unsealed) => {
                accumulator.finish_unsealed(unsealed);
                None
            }
        }
    }

    /// Bytes of the next batch at most.
    pub fn next_bytes(&self) -> usize {
        match self.retries.front() {
            Some(batch) => batch.bytes.len(),
            None => {
                let state = self.queue.state.lock();
                state.waiting.front().map_or(0, |open| open.builder.uncompressed_bytes())
            }
        }
    }

    pub fn pop_waiting(&self) -> Option<OpenBatch> {
        let mut state = self.queue.state.lock();
        let open = state.waiting.pop_front();
        self.queue.backlog.store(state.waiting.len(), Ordering::Relaxed);
        open
    }

    /// When the oldest batch that waits was begun.
    pub fn oldest_waiting(&self) -> Option<MonoMs> {
        self.queue.state.lock().waiting.front().map(|open| open.created)
    }

    fn begin_sequence(&mut self, identity: Option<Identity>) {
        self.identity = identity;
        (self.next_sequence, self.confirmed_until) = (0, 0);
        (self.is_unresolved, self.needs_epoch) = (false, false);
    }

    /// Takes a batch out of a request that was answered.
    pub fn answered(&mut self, request: u64) -> Option<Batch> {
        let place = self.in_flight.iter().position(|sent| sent.request == request)?;
        Some(self.in_flight.remove(place).batch)
    }

    /// Whether nothing with a lower sequence is open any more.
    pub fn is_next(&self, batch: &Batch) -> bool {
        let open = self.in_flight.iter().map(|sent| &sent.batch).chain(&self.retries);
        open.into_iter().all(|other| !is_before(other, batch))
    }

    /// Puts a batch back, in its place among those that are to be sent again.
    pub fn send_again(&mut self, batch: Batch) {
        let place = match batch.sequenced {
            Some(_) => self.retries.iter().position(|other| is_before(&batch, other)),
            None => {
                let place = |batch: &Batch| (batch.number, batch.first_record);
                self.retries.iter().position(|other| place(&batch) < place(other))
            }
        };
        self.retries.insert(place.unwrap_or(self.retries.len()), batch);
    }

    pub fn confirmed(&mut self, batch: &Batch) {
        let of_this = |sequenced: &Sequenced| {
            self.identity == Some(Identity { producer_id: sequenced.producer_id, epoch: sequenced.epoch })
        };
        if let Some(sequenced) = batch.sequenced.filter(of_this) {
            let until = increment_sequence(sequenced.first, batch.count);
            if distance(self.confirmed_until, until) > 0 {
                self.confirmed_until = until;
            }
        }
    }

    /// A batch with a sequence was given up.
    pub fn failed(&mut self, batch: &Batch) {
        self.is_unresolved |= batch.sequenced.is_some();
    }

    /// Whether the partition has to start anew under a new epoch, and can: nothing of it is under way.
    pub fn wants_epoch(&mut self) -> bool {
        if self.in_flight.is_empty() && self.retries.is_empty() && self.is_unresolved {
            // What was confirmed last stands behind what was given up, or nothing does.
            if self.confirmed_until == self.next_sequence {
                self.is_unresolved = false;
            } else {
                self.needs_epoch = true;
            }
        }
        self.needs_epoch && self.in_flight.is_empty()
    }

    /// Starts anew: what is to be sent again comes first.
    pub fn start_anew(&mut self, identity: Identity) {
        self.begin_sequence(Some(identity));
        for batch in &mut self.retries {
            let Identity { producer_id, epoch } = identity;
            batch.resequence(Sequenced { producer_id, epoch, first: self.next_sequence });
            self.next_sequence = increment_sequence(self.next_sequence, batch.count);
        }
    }

    /// Nothing is here for the sender to do. From then on the queue tells when that changes.
    pub fn is_idle(&self) -> bool {
        if !self.retries.is_empty() || !self.in_flight.is_empty() {
            return false;
        }
        let mut state = self.queue.state.lock();
        let is_empty = state.waiting.is_empty();
        state.is_listed = !is_empty;
        is_empty
    }
}

fn is_before(batch: &Batch, other: &Batch) -> bool {
    match (batch.first_sequence(), other.first_sequence()) {
        (Some(first), Some(others)) => distance(first, others) > 0,
        _ => false,
    }
}

/// How far a sequence number lies behind another one; negative: before it. They wrap around after `i32::MAX`.
fn distance(from: i32, to: i32) -> i32 {
    const HALF: i32 = 1 << 30;
    let ahead = to.wrapping_sub(from) & i32::MAX;
    if ahead >= HALF { ahead.wrapping_sub(i32::MAX).wrapping_sub(1) } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_go_around() {
        for (from, to, expected) in
            [(0, 0, 0), (3, 10, 7), (10, 3, -7), (i32::MAX, 0, 1), (0, i32::MAX, -1), (i32::MAX - 4, 5, 10)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
