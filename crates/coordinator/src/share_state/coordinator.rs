//! The share coordinator as the rest of the broker sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, SHARE_GROUP_STATE_TOPIC, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::config::ShareCoordinatorConfig;
use super::key::SharePartitionKey;
use super::outcome::{Outcome, ReadState, ShareStateError, StateSummary, WriteState};
use super::shard::{ShareStateShard, ShareStateTurn};
use crate::group::errors;
use crate::runtime::{
    LoadProgress, LoadTask, Outside, PartitionReader, PartitionWriter, Responder, Runtime, RuntimeConfig,
};

/// Which topics there are.
pub trait TopicPartitions: Send + Sync {
    /// `None` if there is no such topic.
    fn partition_count(&self, topic_id: Uuid) -> Option<i32>;
}

/// Lets go of what is not needed any more at the beginning of a partition of the coordinator's topic.
pub trait LogPruner: Send + Sync {
    fn delete_records_before(&self, partition: i32, offset: Offset, now: Now);
}

/// What a share coordinator needs of the node that it runs in.
pub struct ShareCoordinatorParts {
    pub config: ShareCoordinatorConfig,
    pub writer: Arc<dyn PartitionWriter>,
    pub reader: Arc<dyn PartitionReader>,
    pub topics: Arc<dyn TopicPartitions>,
    pub pruner: Arc<dyn LogPruner>,
}

impl fmt::Debug for ShareCoordinatorParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareCoordinatorParts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Keeps the state of the share partitions whose partition of `__share_group_state` this node leads.
///
/// Callbacks are called on whichever thread brings their answer about, never while a shard is held.
pub struct ShareCoordinator {
    config: Arc<ShareCoordinatorConfig>,
    pub(super) runtime: Runtime<ShareStateShard>,
    pruner: Arc<dyn LogPruner>,
    pruning: Mutex<Pruning>,
}

#[derive(Debug)]
struct Pruning {
    due: MonoMs,
    /// By partition.
    done: Arc<Mutex<BTreeMap<i32, Offset>>>,
}

impl fmt::Debug for ShareCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareCoordinator").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Reads the log of a shard back; see [`ShareCoordinator::next_load`].
#[derive(Debug)]
pub struct ShareStateLoad(LoadTask<ShareStateShard>);

impl ShareStateLoad {
    /// Reads and replays one buffer, on the caller's thread.
    pub fn step(&mut self, now: Now) -> LoadProgress {
        self.0.step(now)
    }
}

impl ShareCoordinator {
    pub fn new(parts: ShareCoordinatorParts) -> ShareCoordinator {
        let config = Arc::new(parts.config);
        let runtime_config = RuntimeConfig {
            write_timeout_ms: config.write_timeout_ms,
            append_linger_ms: config.append_linger_ms,
            load_buffer_bytes: config.load_buffer_bytes,
        };
        let (shard_config, topics) = (Arc::clone(&config), parts.topics);
        let new_shard = move |_: &TopicPartition| ShareStateShard {
            config: Arc::clone(&shard_config),
            topics: Arc::clone(&topics),
        };
        let runtime =
            Runtime::new(SHARE_GROUP_STATE_TOPIC, runtime_config, parts.writer, parts.reader, new_shard);
        ShareCoordinator {
            config,
            runtime,
            pruner: parts.pruner,
            pruning: Mutex::new(Pruning { due: MonoMs::NEVER, done: Arc::default() }),
        }
    }

    /// See [`Runtime::within`].
    #[must_use]
    pub fn within(mut self, outside: Outside) -> ShareCoordinator {
        self.runtime = self.runtime.within(outside);
        self
    }

    /// Begins to serve, with this many partitions of `__share_group_state`: those that the topic has, or else
    /// `share.coordinator.state.topic.num.partitions`. Until then all requests are answered COORDINATOR_NOT_AVAILABLE.
    pub fn start(&self, partitions: i32, now: Now) {
        if self.runtime.start(partitions) {
            self.pruning.lock().due = now.mono.plus_ms(self.config.prune_interval_ms);
        }
    }

    /// Stops serving and gives all shards up.
    pub fn stop(&self) {
        self.pruning.lock().due = MonoMs::NEVER;
        self.runtime.stop();
    }

    /// The partition of `__share_group_state` that holds a key (`group:topic id:partition`): its leader is the key's
    /// coordinator. `None` before the start.
    pub fn partition_for(&self, key: &str) -> Option<i32> {
        self.runtime.partition_for(key)
    }

    /// This node leads `partition` of `__share_group_state` from now on; see [`ShareCoordinator::next_load`].
    pub fn on_partition_leader(&self, partition: i32, epoch: LeaderEpoch) {
        self.runtime.become_leader(partition, epoch);
    }

    /// This node no longer leads `partition`: since this epoch, or it has no replica of it any more.
    pub fn on_resign(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        self.runtime.resign(partition, epoch);
        self.pruning.lock().done.lock().remove(&partition);
    }

    /// The next shard to load. Its requests are answered COORDINATOR_LOAD_IN_PROGRESS until somebody has stepped the
    /// task through, on a thread that may wait for the disk.
    pub fn next_load(&self) -> Option<ShareStateLoad> {
        self.runtime.next_load().map(ShareStateLoad)
    }

    /// The high watermark of `partition` is `offset` now; see [`PartitionWriter`] for where this may be called from.
    pub fn high_watermark_updated(&self, partition: i32, offset: Offset) {
        self.runtime.high_watermark_updated(partition, offset);
    }

    /// Topics with these ids are gone, and with them what groups have delivered of them.
    pub fn on_topics_deleted(&self, topic_ids: &[Uuid], now: Now) {
        let topic_ids: Arc<[Uuid]> = Arc::from(topic_ids);
        self.runtime.tell_all(now, move |shard, turn| shard.topics_deleted(turn, &topic_ids));
    }

    /// Does what is due; whether [`ShareCoordinator::next_load`] has something that is to be loaded anew.
    pub fn tick(&self, now: Now) -> bool {
        let loads = self.runtime.tick(now);
        let mut pruning = self.pruning.lock();
        if pruning.due > now.mono {
            return loads;
        }
        pruning.due = now.mono.plus_ms(self.config.prune_interval_ms);
        let done = Arc::clone(&pruning.done);
        drop(pruning);
        self.prune(&done, now);
        loads
    }

    /// When [`ShareCoordinator::tick`] has something to do next. Any request may bring it forward, so look again in
    /// between.
    pub fn next_deadline(&self) -> MonoMs {
        self.runtime.next_deadline().min(self.pruning.lock().due)
    }

    /// Lets each log go up to the first record that is still needed.
    fn prune(&self, done: &Arc<Mutex<BTreeMap<i32, Offset>>>, now: Now) {
        for partition in self.runtime.partitions() {
            let (done, pruner) = (Arc::clone(done), Arc::clone(&self.pruner));
            let responder = Responder::new(move |before: Result<Option<Offset>, ErrorCode>| {
                let Ok(Some(before)) = before else { return };
                let is_news = done.lock().insert(partition, before) != Some(before);
                if is_news && before > Offset::ZERO {
                    pruner.delete_records_before(partition, before, now);
                }
            });
            self.runtime.submit(partition, now, responder, |_, turn, responder| {
                let before = turn.committed.redundant_before();
                turn.reply_at_once(responder, Ok(before));
            });
        }
    }

    /// Has a group begin at `start_offset` (-1: by its policy), whatever it has delivered.
    pub fn initialize(
        &self,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        now: Now,
        reply: impl FnOnce(Outcome<()>) + Send + 'static,
    ) {
        self.run(key, now, reply, move |shard, turn, key, responder| {
            shard.initialize(turn, key, state_epoch, start_offset, responder);
        });
    }

    /// For the partition's leader, in this epoch; -1 fences nobody.
    pub fn read(
        &self,
        key: SharePartitionKey,
        leader_epoch: i32,
        now: Now,
        reply: impl FnOnce(Outcome<ReadState>) + Send + 'static,
    ) {
        self.run(key, now, reply, move |shard, turn, key, responder| {
            shard.read(turn, key, leader_epoch, responder);
        });
    }

    pub fn write(
        &self,
        key: SharePartitionKey,
        data: WriteState,
        now: Now,
        reply: impl FnOnce(Outcome<()>) + Send + 'static,
    ) {
        self.run(key, now, reply, move |shard, turn, key, responder| shard.write(turn, key, data, responder));
    }

    pub fn delete(&self, key: SharePartitionKey, now: Now, reply: impl FnOnce(Outcome<()>) + Send + 'static) {
        self.run(key, now, reply, |shard, turn, key, responder| shard.delete(turn, key, responder));
    }

    pub fn summarize(
        &self,
        key: SharePartitionKey,
        now: Now,
        reply: impl FnOnce(Outcome<StateSummary>) + Send + 'static,
    ) {
        self.run(key, now, reply, |shard, turn, key, responder| shard.summarize(turn, &key, responder));
    }

    fn run<T: Send + 'static>(
        &self,
        key: SharePartitionKey,
        now: Now,
        reply: impl FnOnce(Outcome<T>) + Send + 'static,
        operation: impl FnOnce(
            &mut ShareStateShard,
            &mut ShareStateTurn<'_>,
            SharePartitionKey,
            Responder<Outcome<T>>,
        ) + Send
        + 'static,
    ) {
        let Some(partition) = self.partition_for(&key.to_string()) else {
            return reply(Err(ShareStateError {
                code: ErrorCode::CoordinatorNotAvailable,
                message: "Share coordinator is not available.".to_owned(),
            }));
        };
        let responder = Responder::new(move |result: Result<Outcome<T>, ErrorCode>| {
            reply(result.unwrap_or_else(|code| Err(ShareStateError::of(errors::of_operation(code)))));
        });
        self.runtime.submit(partition, now, responder, |shard, turn, responder| {
            operation(shard, turn, key, responder);
        });
    }
}
