//! The share coordinator's topic: how far it is replicated, where its log may begin, and which topics there are.

use std::sync::{Arc, OnceLock, Weak};

use ottla_coordinator::share_state::{LogPruner, ShareCoordinator, TopicPartitions};
use ottla_replica::{PartitionListener, ReplicaManager};
use ottla_types::{Now, Offset, SHARE_GROUP_STATE_TOPIC, TopicPartition, Uuid};
use ottla_wire::ErrorCode;

use super::NodeLink;

/// What followers have to delete the same, in milliseconds; as Apache Kafka gives them.
const PRUNING_TIMEOUT_MS: i32 = 30_000;

/// Tells the share coordinator how far its partitions are replicated: to be set as the listener of each.
///
/// It is made before the coordinator, whose storage needs the replicas that call it.
#[derive(Debug, Default)]
pub(crate) struct StateTopicListener {
    coordinator: OnceLock<Weak<ShareCoordinator>>,
}

impl StateTopicListener {
    /// Only the first coordinator that is given is told.
    pub fn tell(&self, coordinator: &Arc<ShareCoordinator>) {
        self.coordinator.get_or_init(|| Arc::downgrade(coordinator));
    }
}

impl PartitionListener for StateTopicListener {
    fn high_watermark_updated(&self, partition: &TopicPartition, high_watermark: Offset) {
        debug_assert_eq!(&*partition.topic, SHARE_GROUP_STATE_TOPIC);
        if let Some(coordinator) = self.coordinator.get().and_then(Weak::upgrade) {
            coordinator.high_watermark_updated(partition.partition, high_watermark);
        }
    }
}

pub(super) struct StateTopicPruner(pub Arc<ReplicaManager>);

impl LogPruner for StateTopicPruner {
    fn delete_records_before(&self, partition: i32, offset: Offset, now: Now) {
        let replica = self.0.partition(SHARE_GROUP_STATE_TOPIC, partition);
        let replica = replica.ok_or(ErrorCode::NotLeaderOrFollower);
        self.0.delete_records(vec![(replica, offset)], PRUNING_TIMEOUT_MS, now, move |results| {
            if let Some(Err(code)) = results.first() {
                tracing::warn!(partition, %offset, ?code, "old states of share groups were not deleted");
            }
        });
    }
}

/// The topics of the newest image.
pub(super) struct NodeTopics(pub Arc<NodeLink>);

impl TopicPartitions for NodeTopics {
    fn partition_count(&self, topic_id: Uuid) -> Option<i32> {
        let node = self.0.get()?;
        let image = node.metadata.image();
        let topic = image.topics.by_id(topic_id)?;
        i32::try_from(topic.partitions.len()).ok()
    }
}
