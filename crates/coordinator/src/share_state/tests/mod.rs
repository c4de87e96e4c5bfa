mod combining;
mod histories;
mod operations;
mod random;
mod upkeep;

use std::sync::Arc;

use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, Timestamp, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::*;
use crate::runtime::LoadProgress;
use crate::testing::MemoryLogs;

pub(super) const TOPIC: Uuid = Uuid([7; 16]);
const PARTITIONS: i32 = 3;

/// A coordinator with one partition of its own topic, over a log in memory that commits at once.
pub(super) struct Fixture {
    pub(super) coordinator: Arc<ShareCoordinator>,
    pub(super) logs: Arc<MemoryLogs>,
    pub(super) pruned: Arc<Mutex<Vec<(i32, Offset)>>>,
    pub(super) now_ms: u64,
    config: ShareCoordinatorConfig,
}

struct Topics;

impl TopicPartitions for Topics {
    fn partition_count(&self, topic_id: Uuid) -> Option<i32> {
        (topic_id == TOPIC).then_some(PARTITIONS)
    }
}

struct Pruner(Arc<Mutex<Vec<(i32, Offset)>>>);

impl LogPruner for Pruner {
    fn delete_records_before(&self, partition: i32, offset: Offset, _: Now) {
        self.0.lock().push((partition, offset));
    }
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture::with(ShareCoordinatorConfig::default())
    }

    pub(super) fn with(config: ShareCoordinatorConfig) -> Fixture {
        let (logs, pruned) = (MemoryLogs::new(), Arc::default());
        *logs.commit_at_once.lock() = true;
        let coordinator = coordinator(&config, &logs, &pruned);
        let mut fixture = Fixture { coordinator, logs, pruned, now_ms: 1_000, config };
        fixture.reload();
        fixture
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: Timestamp(self.now_ms as i64), mono: MonoMs(self.now_ms) }
    }

    /// A new process over the same log.
    pub(super) fn reload(&mut self) {
        self.coordinator = coordinator(&self.config, &self.logs, &self.pruned);
        let told = Arc::downgrade(&self.coordinator);
        *self.logs.listener.lock() = Some(Arc::new(move |partition, offset| {
            if let Some(coordinator) = told.upgrade() {
                coordinator.high_watermark_updated(partition, offset);
            }
        }));
        self.coordinator.start(1, self.now());
        self.coordinator.on_partition_leader(0, LeaderEpoch(0));
        let mut load = self.coordinator.next_load().unwrap();
        while load.step(self.now()) == LoadProgress::More {}
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
        self.coordinator.tick(self.now());
    }

    pub(super) fn key(&self, partition: i32) -> SharePartitionKey {
        SharePartitionKey::new("g", TOPIC, partition)
    }

    pub(super) fn initialize(
        &self,
        key: &SharePartitionKey,
        epoch: i32,
        start: i64,
    ) -> Result<(), ErrorCode> {
        get(|reply| self.coordinator.initialize(key.clone(), epoch, start, self.now(), reply))
    }

    pub(super) fn read(&self, key: &SharePartitionKey, leader_epoch: i32) -> Result<ReadState, ErrorCode> {
        get(|reply| self.coordinator.read(key.clone(), leader_epoch, self.now(), reply))
    }

    pub(super) fn write(&self, key: &SharePartitionKey, data: WriteState) -> Result<(), ErrorCode> {
        get(|reply| self.coordinator.write(key.clone(), data, self.now(), reply))
    }

    pub(super) fn delete(&self, key: &SharePartitionKey) -> Result<(), ErrorCode> {
        get(|reply| self.coordinator.delete(key.clone(), self.now(), reply))
    }

    pub(super) fn summary(&self, key: &SharePartitionKey) -> Result<StateSummary, ErrorCode> {
        get(|reply| self.coordinator.summarize(key.clone(), self.now(), reply))
    }

    pub(super) fn records(&self) -> usize {
        self.logs.log(0).end().value() as usize
    }
}

fn coordinator(
    config: &ShareCoordinatorConfig,
    logs: &Arc<MemoryLogs>,
    pruned: &Arc<Mutex<Vec<(i32, Offset)>>>,
) -> Arc<ShareCoordinator> {
    Arc::new(ShareCoordinator::new(ShareCoordinatorParts {
        config: config.clone(),
        writer: Arc::clone(logs) as _,
        reader: Arc::clone(logs) as _,
        topics: Arc::new(Topics),
        pruner: Arc::new(Pruner(Arc::clone(pruned))),
    }))
}

/// The answer, which must have come when `ask` returns.
fn get<T: Send + 'static>(ask: impl FnOnce(Box<dyn FnOnce(Outcome<T>) + Send>)) -> Result<T, ErrorCode> {
    let answer = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answer);
    ask(Box::new(move |outcome| *slot.lock() = Some(outcome)));
    let outcome = answer.lock().take().expect("answered at once");
    outcome.map_err(|error| error.code)
}

pub(super) fn batch(
    first_offset: i64,
    last_offset: i64,
    delivery_state: i8,
    delivery_count: i16,
) -> StateBatch {
    StateBatch { first_offset, last_offset, delivery_state, delivery_count }
}

pub(super) fn written(leader_epoch: i32, start_offset: i64, batches: &[StateBatch]) -> WriteState {
    WriteState {
        state_epoch: 1,
        leader_epoch,
        start_offset,
        delivery_complete_count: 0,
        batches: batches.to_vec(),
    }
}
