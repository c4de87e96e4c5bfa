use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, TopicPartition, java_string_hash};
use ottla_wire::ErrorCode;
use parking_lot::{Mutex, RwLock};

use super::cell::{Cell, Event, Operation, Outside};
use super::load::LoadTask;
use super::storage::{PartitionReader, PartitionWriter, TransactionMarker};
use super::turn::Turn;
use super::{Responder, Shard};

/// How a coordinator's shards write and load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// How long an operation waits for its records to be committed, in milliseconds.
    pub write_timeout_ms: i32,
    /// How long a batch stays open for more operations, in milliseconds. `None`: until no operation waits to join it.
    pub append_linger_ms: Option<i32>,
    /// Bytes read at a time while loading.
    pub load_buffer_bytes: usize,
}

/// All shards of one coordinator on this node: one for each partition of its topic that this node leads.
pub struct Runtime<S: Shard> {
    topic: Arc<str>,
    config: RuntimeConfig,
    writer: Arc<dyn PartitionWriter>,
    reader: Arc<dyn PartitionReader>,
    outside: Option<Outside>,
    new_shard: Box<dyn Fn(&TopicPartition) -> S + Send + Sync>,
    /// Of the topic; 0 until the coordinator is started.
    topic_partitions: AtomicI32,
    cells: RwLock<BTreeMap<i32, Arc<Cell<S>>>>,
    loads: Mutex<VecDeque<LoadTask<S>>>,
}

impl<S: Shard> std::fmt::Debug for Runtime<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<S: Shard> Runtime<S> {
    pub fn new(
        topic: &str,
        config: RuntimeConfig,
        writer: Arc<dyn PartitionWriter>,
        reader: Arc<dyn PartitionReader>,
        new_shard: impl Fn(&TopicPartition) -> S + Send + Sync + 'static,
    ) -> Runtime<S> {
        Runtime {
            topic: Arc::from(topic),
            config,
            writer,
            reader,
            outside: None,
            new_shard: Box::new(new_shard),
            topic_partitions: AtomicI32::new(0),
            cells: RwLock::default(),
            loads: Mutex::default(),
        }
    }

    /// Without it, what is to be done outside of shards is done by the thread that has run the shard, and whoever ticks has
    /// to look at [`Runtime::next_deadline`] after whatever it does.
    #[must_use]
    pub fn within(mut self, outside: Outside) -> Runtime<S> {
        self.outside = Some(outside);
        self
    }

    /// Begins to serve, with this many partitions of the topic; true if it did not before.
    pub fn start(&self, topic_partitions: i32) -> bool {
        self.topic_partitions.swap(topic_partitions, Ordering::AcqRel) == 0
    }

    /// Stops serving and gives all shards up.
    pub fn stop(&self) {
        self.topic_partitions.store(0, Ordering::Release);
        for partition in self.partitions() {
            self.resign(partition, None);
        }
    }

    /// How many partitions the topic has; `None` before the start.
    pub fn topic_partitions(&self) -> Option<i32> {
        Some(self.topic_partitions.load(Ordering::Acquire)).filter(|partitions| *partitions > 0)
    }

    /// The partition that holds what is called `key`: its leader is the key's coordinator. `None` before the start.
    pub fn partition_for(&self, key: &str) -> Option<i32> {
        self.topic_partitions().map(|partitions| partition_for_key(key, partitions))
    }

    /// This node leads `partition` from now on. Its shard is loading until the task that [`Runtime::next_load`] hands
    /// out is done. A shard that is there already goes on under the newer epoch, for the log is the same.
    pub fn become_leader(&self, partition: i32, epoch: LeaderEpoch) {
        let mut cells = self.cells.write();
        match cells.get(&partition) {
            Some(cell) if !cell.load_failed() => cell.raise_epoch(epoch),
            failed => {
                let failed = failed.cloned();
                let cell = self.insert_new(&mut cells, partition, epoch);
                drop(cells);
                if let Some(failed) = failed {
                    failed.close(Some(cell));
                }
            }
        }
    }

    fn insert_new(
        &self,
        cells: &mut BTreeMap<i32, Arc<Cell<S>>>,
        partition: i32,
        epoch: LeaderEpoch,
    ) -> Arc<Cell<S>> {
        let partition_name = TopicPartition { topic: Arc::clone(&self.topic), partition };
        let shard = (self.new_shard)(&partition_name);
        let writer = Arc::clone(&self.writer);
        let outside = self.outside.clone();
        let cell = Cell::new(partition_name, epoch, self.config.clone(), writer, outside, shard);
        cells.insert(partition, Arc::clone(&cell));
        let (reader, buffer_bytes) = (Arc::clone(&self.reader), self.config.load_buffer_bytes);
        self.loads.lock().push_back(LoadTask::new(Arc::clone(&cell), reader, buffer_bytes));
        cell
    }

    /// This node no longer leads `partition`: its shard is given up, and all who wait are answered NOT_COORDINATOR.
    /// With an epoch, only if the shard is not of that epoch or a newer one.
    pub fn resign(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        let mut cells = self.cells.write();
        let stale = |cell: &Arc<Cell<S>>| epoch.is_none_or(|epoch| cell.epoch() < epoch);
        let removed = if cells.get(&partition).is_some_and(stale) { cells.remove(&partition) } else { None };
        drop(cells);
        if let Some(cell) = removed {
            cell.close(None);
        }
    }

    /// The next shard to load, if any waits. Whoever takes the task steps it until it is done.
    pub fn next_load(&self) -> Option<LoadTask<S>> {
        self.loads.lock().pop_front()
    }

    /// The high watermark of `partition` is `offset` now. Whoever calls this holds no lock that an append to the
    /// partition needs, unless it is within one.
    pub fn high_watermark_updated(&self, partition: i32, offset: Offset) {
        if let Some(cell) = self.cell(partition) {
            cell.post(Event::HighWatermark(offset));
        }
    }

    /// Runs `operation` on the shard of `partition`. Its responder comes back with the error if there is no such shard,
    /// or none that is loaded.
    pub fn submit<R: Send + 'static>(
        &self,
        partition: i32,
        now: Now,
        responder: Responder<R>,
        operation: impl FnOnce(&mut S, &mut Turn<'_, S>, Responder<R>) + Send + 'static,
    ) {
        match self.cell(partition) {
            Some(cell) => cell.post(Event::Operation(now, with_responder(responder, operation))),
            None => responder.answer(Err(ErrorCode::NotCoordinator)),
        }
    }

    /// The same for every shard, for what is told once and must reach all: one that is being loaded, or is about to be, does
    /// it when it is there. One that is none any more by then does not.
    pub fn tell_all(&self, now: Now, operation: impl Fn(&mut S, &mut Turn<'_, S>) + Clone + Send + 'static) {
        let cells: Vec<Arc<Cell<S>>> = self.cells.read().values().cloned().collect();
        for cell in cells {
            let operation = operation.clone();
            cell.post(Event::OnceLoaded(
                now,
                Box::new(move |access| {
                    if let Ok((shard, turn)) = access {
                        operation(shard, turn);
                    }
                }),
            ));
        }
    }

    /// Ends a transaction whose records may lie in the log of `partition`: appends the marker, and answers when it is
    /// committed.
    pub fn end_transaction(
        &self,
        partition: i32,
        now: Now,
        marker: TransactionMarker,
        responder: Responder<()>,
    ) {
        match self.cell(partition) {
            Some(cell) => cell.post(Event::EndTransaction(now, marker, responder)),
            None => responder.answer(Err(ErrorCode::NotCoordinator)),
        }
    }

    /// The partitions of which this node has a shard, loaded or not, in ascending order.
    pub fn partitions(&self) -> Vec<i32> {
        self.cells.read().keys().copied().collect()
    }

    /// Lets every shard fire what is due, and has those loaded anew that are down and may be up again: where the log turned
    /// out to be another than the shard's, or could not be read. Returns whether there are such, for [`Runtime::next_load`].
    pub fn tick(&self, now: Now) -> bool {
        let cells: Vec<(i32, Arc<Cell<S>>)> =
            self.cells.read().iter().map(|(partition, cell)| (*partition, Arc::clone(cell))).collect();
        let mut loads = false;
        for (partition, cell) in cells {
            if cell.next_deadline() <= now.mono {
                cell.post(Event::Tick(now));
            }
            if cell.reload_at() <= now.mono {
                loads |= self.reload(partition, &cell);
            }
        }
        loads
    }

    /// False if the shard has been given up, or taken up anew, meanwhile.
    fn reload(&self, partition: i32, down: &Arc<Cell<S>>) -> bool {
        let mut cells = self.cells.write();
        if !cells.get(&partition).is_some_and(|known| Arc::ptr_eq(known, down)) {
            return false;
        }
        let cell = self.insert_new(&mut cells, partition, down.epoch());
        drop(cells);
        down.close(Some(cell));
        true
    }

    /// When [`Runtime::tick`] has something to do next. Any request may bring it forward: then [`Outside::wake_at`] is told.
    pub fn next_deadline(&self) -> MonoMs {
        self.cells.read().values().map(|cell| cell.next_deadline()).min().unwrap_or(MonoMs::NEVER)
    }

    fn cell(&self, partition: i32) -> Option<Arc<Cell<S>>> {
        self.cells.read().get(&partition).cloned()
    }
}

fn with_responder<S: Shard, R: Send + 'static>(
    responder: Responder<R>,
    operation: impl FnOnce(&mut S, &mut Turn<'_, S>, Responder<R>) + Send + 'static,
) -> Operation<S> {
    Box::new(move |access| match access {
        Ok((shard, turn)) => operation(shard, turn, responder),
        Err(code) => responder.answer(Err(code)),
    })
}

/// Kafka's `Utils.abs(key.hashCode()) % partitions`: the least int counts as 0.
pub(crate) fn partition_for_key(key: &str, partitions: i32) -> i32 {
    java_string_hash(key).checked_abs().unwrap_or(0) % partitions
}
