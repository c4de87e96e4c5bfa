//! The group coordinator as the rest of the broker sees it: one method an API, each answering through a callback. Those of
//! each kind of group, and of offsets, stand beside what they are about, in files named `api`.

use std::sync::Arc;

use ottla_metadata::{Changes, MetadataImage};
use ottla_types::{CONSUMER_OFFSETS_TOPIC, LeaderEpoch, MonoMs, Now, Offset, Uuid};
use ottla_wire::ErrorCode;

use super::config::GroupCoordinatorConfig;
use super::errors;
use super::metadata::{ChangedTopics, SharedMetadata};
use super::shard::{GroupShard, GroupTurn};
use crate::runtime::{
    LoadProgress, LoadTask, Outside, PartitionReader, PartitionWriter, Responder, Runtime, RuntimeConfig,
};

/// Coordinates the groups whose partition of `__consumer_offsets` this node leads.
///
/// Callbacks are called on whichever thread brings their answer about, never while a shard is held.
pub struct GroupCoordinator {
    pub(super) config: Arc<GroupCoordinatorConfig>,
    pub(super) metadata: Arc<SharedMetadata>,
    pub(super) runtime: Runtime<GroupShard>,
}

impl std::fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCoordinator").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Reads the log of a shard back; see [`GroupCoordinator::next_load`].
#[derive(Debug)]
pub struct GroupLoad(LoadTask<GroupShard>);

impl GroupLoad {
    /// Reads and replays one buffer, on the caller's thread.
    pub fn step(&mut self, now: Now) -> LoadProgress {
        self.0.step(now)
    }
}

impl GroupCoordinator {
    pub fn new(
        config: GroupCoordinatorConfig,
        writer: Arc<dyn PartitionWriter>,
        reader: Arc<dyn PartitionReader>,
    ) -> GroupCoordinator {
        let config = Arc::new(config);
        let runtime_config = RuntimeConfig {
            write_timeout_ms: config.offsets_commit_timeout_ms,
            append_linger_ms: config.append_linger_ms,
            load_buffer_bytes: config.offsets_load_buffer_size,
        };
        let metadata = Arc::new(SharedMetadata::new(
            config.consumer.assignment_interval_ms.default,
            config.share.assignment_interval_ms.default,
        ));
        let (of_shard, share_inquiries) = ((Arc::clone(&config), Arc::clone(&metadata)), Arc::default());
        let new_shard = move |_: &ottla_types::TopicPartition| {
            let (config, metadata) = &of_shard;
            GroupShard::new(Arc::clone(config), Arc::clone(metadata), Arc::clone(&share_inquiries))
        };
        let runtime = Runtime::new(CONSUMER_OFFSETS_TOPIC, runtime_config, writer, reader, new_shard);
        GroupCoordinator { config, metadata, runtime }
    }

    /// See [`Runtime::within`].
    #[must_use]
    pub fn within(mut self, outside: Outside) -> GroupCoordinator {
        self.runtime = self.runtime.within(outside);
        self
    }

    /// Begins to serve, with this many partitions of `__consumer_offsets`: those that the topic has, or else
    /// `offsets.topic.num.partitions`. Until then all requests are answered COORDINATOR_NOT_AVAILABLE.
    pub fn start(&self, partitions: i32) {
        self.runtime.start(partitions);
    }

    /// Stops serving and gives all shards up.
    pub fn stop(&self) {
        self.runtime.stop();
    }

    /// The partition of `__consumer_offsets` that holds the group: its leader is the group's coordinator. `None` before
    /// the start.
    pub fn partition_for(&self, group_id: &str) -> Option<i32> {
        self.runtime.partition_for(group_id)
    }

    /// This node leads `partition` of `__consumer_offsets` from now on; see [`GroupCoordinator::next_load`].
    pub fn on_partition_leader(&self, partition: i32, epoch: LeaderEpoch) {
        self.runtime.become_leader(partition, epoch);
    }

    /// This node no longer leads `partition`: since this epoch, or it has no replica of it any more.
    pub fn on_resign(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        self.runtime.resign(partition, epoch);
    }

    /// The next shard to load. Its requests are answered COORDINATOR_LOAD_IN_PROGRESS until somebody has stepped the
    /// task through, on a thread that may wait for the disk.
    pub fn next_load(&self) -> Option<GroupLoad> {
        self.runtime.next_load().map(GroupLoad)
    }

    /// The high watermark of `partition` is `offset` now; see [`PartitionWriter`] for where this may be called from.
    pub fn high_watermark_updated(&self, partition: i32, offset: Offset) {
        self.runtime.high_watermark_updated(partition, offset);
    }

    /// Topics with these names and ids are gone, and with them the offsets committed for them.
    pub fn on_topics_deleted(&self, topics: &[(String, Uuid)], now: Now) {
        let topics: Arc<[(String, Uuid)]> = Arc::from(topics);
        self.runtime.tell_all(now, move |shard, turn| shard.topics_deleted(turn, Arc::clone(&topics)));
    }

    /// The metadata is this from now on. Before the first image no topic exists.
    pub fn on_new_image(
        &self,
        previous: &MetadataImage,
        image: &Arc<MetadataImage>,
        changes: &Changes,
        now: Now,
    ) {
        self.metadata.set_image(Arc::clone(image));
        let changed = ChangedTopics::new(image, previous, changes);
        for partition in self.runtime.partitions() {
            let (image, changed) = (Arc::clone(image), changed.clone());
            let nobody = Responder::new(|_: Result<(), ErrorCode>| {});
            self.runtime.submit(partition, now, nobody, move |shard, turn, done| {
                shard.new_image(turn, image, &changed);
                turn.reply_at_once(done, Ok(()));
            });
        }
    }

    pub(super) fn topic_id(&self, name: &str) -> Option<Uuid> {
        Some(self.metadata.image().topics.by_name(name)?.id)
    }

    pub(super) fn topic_name(&self, id: Uuid) -> Option<String> {
        Some(self.metadata.image().topics.by_id(id)?.name.to_string())
    }

    /// Does what is due; whether [`GroupCoordinator::next_load`] has something that is to be loaded anew.
    pub fn tick(&self, now: Now) -> bool {
        self.runtime.tick(now)
    }

    /// When [`GroupCoordinator::tick`] has something to do next. Any request may bring it forward, so look again in between.
    pub fn next_deadline(&self) -> MonoMs {
        self.runtime.next_deadline()
    }

    /// The partition of a group that must have a name: one whose members the coordinator manages.
    pub(super) fn partition_of_named(&self, group_id: &str) -> Result<i32, ErrorCode> {
        let partition = self.partition_for(group_id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        if group_id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(partition) }
    }

    /// Has the shard of `partition` do what a request asks for; where there is no partition for it, the answer is why.
    pub(super) fn submit<R: Send + 'static>(
        &self,
        partition: Result<i32, ErrorCode>,
        now: Now,
        reply: impl FnOnce(R) + Send + 'static,
        error: impl FnOnce(ErrorCode) -> R + Send + 'static,
        operation: impl FnOnce(&mut GroupShard, &mut GroupTurn<'_>, Responder<R>) + Send + 'static,
    ) {
        match partition {
            Ok(partition) => self.runtime.submit(partition, now, responder(reply, error), operation),
            Err(code) => reply(error(code)),
        }
    }
}

pub(super) fn responder<R: Send + 'static>(
    reply: impl FnOnce(R) + Send + 'static,
    error: impl FnOnce(ErrorCode) -> R + Send + 'static,
) -> Responder<R> {
    Responder::new(move |result: Result<R, ErrorCode>| {
        reply(result.unwrap_or_else(|code| error(errors::of_operation(code))));
    })
}
