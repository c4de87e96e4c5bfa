//! Where records wait: threads that send append to the queue of a partition, each under that queue's lock alone.
//!
//! What always holds: what all batches together may hold is at most `buffer.memory`; a record is encoded once, into
//! the batch that goes out; once closed, nothing is appended.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use ottla_record::{BATCH_HEADER_BYTES, Codec, NewRecord, record_bytes_max};
use ottla_types::MonoMs;
use parking_lot::Mutex;

use super::CoreSettings;
use super::batch::{OpenBatch, Unsealed};
use super::delivery::{Deliveries, Delivery, Outcome};
use super::incomplete::{Answered, Incomplete};
use super::memory::Memory;
use super::partitioner::Sticky;
use super::queue::{Queue, QueueState};
use crate::cluster::Topic;
use crate::error::ClientError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Accumulator {
    pub settings: CoreSettings,
    pub memory: Arc<Memory>,
    incomplete: Arc<Incomplete>,
    topics: ArcSwap<HashMap<Arc<str>, Arc<TopicQueues>>>,
    /// Changes of `topics` happen one after the other.
    growing: Mutex<u64>,
    listed: Mutex<Vec<Arc<Queue>>>,
    queues_made: AtomicUsize,
    /// Batches with lower numbers are sent without waiting for more records.
    flush_until: AtomicU64,
    is_closed: AtomicBool,
    /// It is closed, and nobody appends any more who had begun before.
    is_complete: AtomicBool,
    /// Why nothing is appended for now.
    shut: Mutex<Option<ClientError>>,
    is_shut: AtomicBool,
}

/// The queues of a topic's partitions, each at the place of its index.
#[derive(Debug)]
pub(crate) struct TopicQueues {
    pub name: Arc<str>,
    pub queues: Vec<Arc<Queue>>,
    pub sticky: Arc<Sticky>,
    /// When something was appended last, to about a second.
    last_used_ms: Arc<AtomicU64>,
    /// The bits of an `f32`: how small compression makes this topic's records.
    ratio: Arc<AtomicU32>,
}

/// A record was taken.
#[derive(Debug)]
pub(crate) struct Appended {
    pub delivery: Delivery,
    /// The sender has something to do.
    pub wakes: bool,
    pub bytes: usize,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// So much of `buffer.memory` is needed for a new batch.
    NeedsMemory {
        bytes: usize,
        /// The sender has something to do.
        wakes: bool,
    },
    /// The batch there is full, and the record may go to another partition as well.
    BatchFull,
    Error(ClientError),
}

/// What an estimate of a compressed size is multiplied with, for it may be wrong.
const ESTIMATE_MARGIN: f32 = 1.05;

enum Room {
    Enough,
    /// There is, once so much more of `buffer.memory` was taken.
    ForMemory(usize),
    None,
}

impl Accumulator {
    pub fn new(settings: CoreSettings, seed: u64) -> Accumulator {
        Accumulator {
            memory: Memory::new(settings.buffer_bytes),
            incomplete: Arc::default(),
            topics: ArcSwap::default(),
            growing: Mutex::new(seed),
            listed: Mutex::default(),
            queues_made: AtomicUsize::new(0),
            flush_until: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            shut: Mutex::default(),
            is_shut: AtomicBool::new(false),
            settings,
        }
    }

    /// The queues of a topic, at least as many as it has partitions.
    pub fn topic(&self, topic: &Topic) -> Arc<TopicQueues> {
        let is_enough = |queues: &&Arc<TopicQueues>| queues.queues.len() >= topic.partitions.len();
        if let Some(queues) = self.topics.load().get(&topic.name).filter(is_enough) {
            return Arc::clone(queues);
        }
        let mut seed = self.growing.lock();
        let topics = self.topics.load_full();
        let known = topics.get(&topic.name);
        if let Some(queues) = known.filter(is_enough) {
            return Arc::clone(queues);
        }
        let name = known.map_or_else(|| Arc::clone(&topic.name), |known| Arc::clone(&known.name));
        let mut queues = known.map(|known| known.queues.clone()).unwrap_or_default();
        for partition in topic.partitions.iter().skip(queues.len()) {
            queues.push(Arc::new(Queue {
                topic: Arc::clone(&name),
                partition: partition.index,
                id: self.queues_made.fetch_add(1, Ordering::Relaxed),
                backlog: AtomicUsize::new(0),
                state: Mutex::default(),
            }));
        }
        *seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let made = Arc::new(TopicQueues {
            name: Arc::clone(&name),
            queues,
            last_used_ms: known.map_or_else(Arc::default, |known| Arc::clone(&known.last_used_ms)),
            sticky: known.map_or_else(|| Arc::new(Sticky::new(*seed)), |known| Arc::clone(&known.sticky)),
            ratio: known
                .map_or_else(|| Arc::new(AtomicU32::new(1f32.to_bits())), |known| Arc::clone(&known.ratio)),
        });
        let mut next = HashMap::clone(&topics);
        next.insert(name, Arc::clone(&made));
        self.topics.store(Arc::new(next));
        made
    }

    /// What can never be sent is refused before it waits for memory.
    pub fn check_size(&self, record: &NewRecord<'_>) -> Result<(), ClientError> {
        let bytes = BATCH_HEADER_BYTES + record_bytes_max(record);
        let limits = [
            ("max.request.size", self.settings.request_bytes_max),
            ("buffer.memory", self.settings.buffer_bytes),
        ];
        match limits.into_iter().find(|(_, limit)| bytes > *limit) {
            Some((setting, limit)) => {
                Err(ClientError::RecordTooLarge { bytes, setting, limit: limit as u64 })
            }
            None => Ok(()),
        }
    }

    /// Appends a record that may go to any partition.
    pub fn append_anywhere(
        &self,
        known: &Topic,
        topic: &TopicQueues,
        record: &NewRecord<'_>,
        granted: Option<usize>,
        now: MonoMs,
    ) -> Result<Appended, Refused> {
        let (sticky, batch_bytes) = (&topic.sticky, self.settings.batch_bytes);
        let is_adaptive = self.settings.is_adaptive;
        let partition = sticky.current(known, &topic.queues, is_adaptive);
        match self.append_where(topic, partition, record, granted, true, now) {
            Ok(appended) => {
                let enough = batch_bytes.saturating_mul(2);
                sticky.appended(partition, appended.bytes, enough, known, &topic.queues, is_adaptive);
                Ok(appended)
            }
            Err(Refused::BatchFull) => {
                sticky.appended(partition, 0, batch_bytes, known, &topic.queues, is_adaptive);
                let next = sticky.current(known, &topic.queues, is_adaptive);
                let mut appended = self.append_where(topic, next, record, granted, false, now);
                if let Ok(appended) = &mut appended {
                    sticky.appended(next, appended.bytes, usize::MAX, known, &topic.queues, is_adaptive);
                }
                match &mut appended {
                    Ok(Appended { wakes, .. }) | Err(Refused::NeedsMemory { wakes, .. }) => *wakes = true,
                    Err(_) => {}
                }
                appended
            }
            refused => refused,
        }
    }

    /// Appends a record. `granted` is memory that the caller has taken for it, after it was refused for want of some.
    pub fn append(
        &self,
        topic: &TopicQueues,
        partition: i32,
        record: &NewRecord<'_>,
        granted: Option<usize>,
        now: MonoMs,
    ) -> Result<Appended, Refused> {
        self.append_where(topic, partition, record, granted, false, now)
    }

    fn append_where(
        &self,
        topic: &TopicQueues,
        partition: i32,
        record: &NewRecord<'_>,
        granted: Option<usize>,
        may_leave: bool,
        now: MonoMs,
    ) -> Result<Appended, Refused> {
        let queue = usize::try_from(partition).ok().and_then(|place| topic.queues.get(place));
        let Some(queue) = queue else {
            let why = format!("{} has no partition {partition}", topic.name);
            return Err(self.refuse(granted, ClientError::misuse(why)));
        };
        topic.used(now);
        let mut state = queue.state.lock();
        // Under the lock: whoever closes and then takes every lock knows that nothing is appended any more.
        if self.is_closed.load(Ordering::Acquire) {
            return Err(self.refuse(granted, ClientError::Closed));
        }
        if self.is_shut.load(Ordering::Acquire)
            && let Some(error) = self.shut.lock().clone()
        {
            return Err(self.refuse(granted, error));
        }
        let bytes = record_bytes_max(record);
        let mut wakes = false;
        if let Some(open) = state.waiting.back_mut().filter(|open| !open.is_full) {
            let has_room = match self.room(open, record, topic.ratio()) {
                Room::Enough => true,
                Room::ForMemory(more) if self.memory.try_take(more) => {
                    open.reserved_bytes += more;
                    true
                }
                _ => false,
            };
            if has_room {
                let delivery = open.append(record);
                let delivery =
                    delivery.map_err(|error| Refused::Error(ClientError::misuse(error.to_string())));
                if let Some(granted) = granted {
                    self.memory.give_back(granted);
                }
                return Ok(Appended { delivery: delivery?, wakes: false, bytes });
            }
            (open.is_full, wakes) = (true, true);
            if may_leave {
                return Err(Refused::BatchFull);
            }
        }
        let needed = self.settings.batch_bytes.max(BATCH_HEADER_BYTES + bytes);
        let reserved_bytes = match granted {
            Some(granted) => granted,
            None if self.memory.try_take(needed) => needed,
            None => return Err(Refused::NeedsMemory { bytes: needed, wakes }),
        };
        let number = self.incomplete.begin();
        let compression = self.settings.compression;
        let mut open = OpenBatch::begin(queue, compression, needed, reserved_bytes, number, now);
        let delivery = match open.append(record) {
            Ok(delivery) => delivery,
            Err(error) => {
                self.finish(&open.deliveries, number, reserved_bytes, Outcome::Failed(ClientError::Closed));
                return Err(Refused::Error(ClientError::misuse(error.to_string())));
            }
        };
        state.waiting.push_back(open);
        queue.backlog.store(state.waiting.len(), Ordering::Relaxed);
        self.list(queue, &mut state);
        Ok(Appended { delivery, wakes: true, bytes })
    }

    fn refuse(&self, granted: Option<usize>, error: ClientError) -> Refused {
        if let Some(granted) = granted {
            self.memory.give_back(granted);
        }
        Refused::Error(error)
    }

    fn room(&self, open: &OpenBatch, record: &NewRecord<'_>, ratio: f32) -> Room {
        let bytes = open.builder.uncompressed_bytes_with(record);
        let estimated = match self.settings.compression.codec() {
            Codec::None => bytes,
            _ => {
                BATCH_HEADER_BYTES + ((bytes - BATCH_HEADER_BYTES) as f32 * ratio * ESTIMATE_MARGIN) as usize
            }
        };
        if estimated > self.settings.batch_bytes {
            return Room::None;
        }
        match bytes.checked_sub(open.reserved_bytes) {
            None | Some(0) => Room::Enough,
            Some(missing) => Room::ForMemory(missing.max(self.settings.batch_bytes)),
        }
    }

    fn list(&self, queue: &Arc<Queue>, state: &mut QueueState) {
        if !std::mem::replace(&mut state.is_listed, true) {
            self.listed.lock().push(Arc::clone(queue));
        }
    }

    /// Queues in which something waits that were not told of before, or not since they were empty.
    pub fn take_listed(&self) -> Vec<Arc<Queue>> {
        std::mem::take(&mut self.listed.lock())
    }

    /// Topics to which nothing was appended since then. Their queues stay: few bytes for each partition.
    pub fn unused_topics(&self, since: MonoMs) -> Vec<Arc<str>> {
        let topics = self.topics.load();
        let unused = topics.values().filter(|topic| topic.last_used_ms.load(Ordering::Relaxed) < since.0);
        unused.map(|topic| Arc::clone(&topic.name)).collect()
    }

    /// How small a batch of a topic has become; estimates for the next ones follow, faster to the worse than to the
    /// better.
    pub fn learn_ratio(&self, topic: &Arc<str>, ratio: f32) {
        const WORSE: f32 = 0.05;
        const BETTER: f32 = 0.005;
        if let Some(topic) = self.topics.load().get(topic) {
            let known = topic.ratio();
            let next = if ratio > known { ratio.max(known + WORSE) } else { ratio.max(known - BETTER) };
            topic.ratio.store(next.to_bits(), Ordering::Relaxed);
        }
    }

    /// An answer for a batch: its memory is free again.
    pub fn finish(&self, deliveries: &Deliveries, number: u64, reserved_bytes: usize, outcome: Outcome) {
        deliveries.complete(outcome);
        self.memory.give_back(reserved_bytes);
        self.incomplete.end(number);
    }

    pub fn finish_unsealed(&self, unsealed: Unsealed) {
        let error = ClientError::misuse(unsealed.error.to_string());
        self.finish(&unsealed.deliveries, unsealed.number, unsealed.reserved_bytes, Outcome::Failed(error));
    }

    /// A batch has become so many.
    pub fn split(&self, number: u64, parts: usize) {
        self.incomplete.split(number, parts);
    }

    /// Whether a batch goes out without waiting for `linger.ms`.
    pub fn is_hurried(&self, number: u64) -> bool {
        number < self.flush_until.load(Ordering::Acquire)
    }

    /// Everything that was appended so far goes out; ready when it was answered.
    pub fn flush(&self) -> Answered {
        let until = self.incomplete.next();
        self.flush_until.fetch_max(until, Ordering::AcqRel);
        self.incomplete.until(until)
    }

    /// Nothing more is appended, and everything goes out; ready when it was answered.
    pub fn close(&self) -> Answered {
        self.is_closed.store(true, Ordering::Release);
        self.wait_for_appends();
        self.flush_until.store(u64::MAX, Ordering::Release);
        self.is_complete.store(true, Ordering::Release);
        self.incomplete.until(u64::MAX)
    }

    /// Nothing more is appended, for this reason, until it is `None` again. What was appended is there when this returns.
    pub fn shut(&self, why: Option<ClientError>) {
        let is_shut = why.is_some();
        *self.shut.lock() = why;
        self.is_shut.store(is_shut, Ordering::Release);
        if is_shut {
            self.wait_for_appends();
        }
    }

    /// Until those that have begun under what was before have come to their end.
    fn wait_for_appends(&self) {
        // Whoever makes queues later knows of what is now.
        drop(self.growing.lock());
        for topic in self.topics.load().values() {
            for queue in &topic.queues {
                drop(queue.state.lock());
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Whether all that was ever appended has been answered, and nothing will be appended any more.
    pub fn is_over(&self) -> bool {
        self.is_complete.load(Ordering::Acquire) && self.is_empty()
    }
}

impl TopicQueues {
    fn used(&self, now: MonoMs) {
        const COARSE_MS: u64 = 1_000;
        if now.0 >= self.last_used_ms.load(Ordering::Relaxed) + COARSE_MS {
            self.last_used_ms.store(now.0, Ordering::Relaxed);
        }
    }

    fn ratio(&self) -> f32 {
        f32::from_bits(self.ratio.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::partitioner::tests::topic;
    use super::*;
    use crate::producer::ProducerSettings;

    #[test]
    fn it_is_not_over_as_long_as_somebody_appends_who_had_begun_before_it_was_closed() {
        let accumulator = Accumulator::new(ProducerSettings::new("unused").core(), 1);
        let queue = Arc::clone(&accumulator.topic(&topic(&[None])).queues[0]);
        let appending = queue.state.lock();
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| drop(accumulator.close()));
            while !accumulator.is_closed.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            assert!(!accumulator.is_over());
            // As an append does.
            let number = accumulator.incomplete.begin();
            drop(appending);
            closing.join().expect("it is closed");
            assert!(!accumulator.is_over(), "nobody would send what was appended");
            accumulator.incomplete.end(number);
            assert!(accumulator.is_over());
        });
    }
}
