//! Where coordinators keep their state: internal topics whose partitions this node leads.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use ottla_coordinator::group::{CONSUMER_OFFSETS_TOPIC, GroupCoordinator};
use ottla_coordinator::runtime::{LogChunk, PartitionReader, PartitionWriter, StoredBatch, WriteBatch};
use ottla_log::{FetchIsolation, LogConfig};
use ottla_record::{AppendOrigin, Compression};
use ottla_replica::{Partition, PartitionListener, ReplicaManager, errors};
use ottla_types::{Now, Offset, TopicPartition};
use ottla_wire::ErrorCode;

/// What a compressed batch of a coordinator's may expand to, in bytes. It is written with an open end: what bounds it is
/// `max.message.bytes` before compression, which is far below.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

/// The partitions of internal topics, for the coordinators that live in them.
#[derive(Debug)]
pub struct CoordinatorStorage {
    replicas: Arc<ReplicaManager>,
    /// `offsets.topic.compression.codec`, or what the topic's coordinator has in its place.
    compression: Compression,
}

impl CoordinatorStorage {
    pub fn new(replicas: Arc<ReplicaManager>, compression: Compression) -> CoordinatorStorage {
        CoordinatorStorage { replicas, compression }
    }

    fn partition(&self, id: &TopicPartition) -> Result<Arc<Partition>, ErrorCode> {
        self.replicas.partition(&id.topic, id.partition).ok_or(ErrorCode::NotLeaderOrFollower)
    }
}

impl PartitionWriter for CoordinatorStorage {
    fn append(&self, partition: &TopicPartition, batch: WriteBatch, now: Now) -> Result<Offset, ErrorCode> {
        let replica = self.partition(partition)?;
        let records = batch.encode(self.compression).map_err(|error| {
            tracing::error!(%partition, %error, "a coordinator's records make no batch");
            ErrorCode::UnknownServerError
        })?;
        self.replicas.append(replica, &Bytes::from(records), AppendOrigin::Coordinator, now)
    }

    fn max_batch_bytes(&self, partition: &TopicPartition) -> usize {
        let bytes = match self.partition(partition) {
            Ok(replica) => replica.log().config().max_message_bytes,
            Err(_) => LogConfig::default().max_message_bytes,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl PartitionReader for CoordinatorStorage {
    fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<LogChunk, ErrorCode> {
        let replica = self.partition(partition)?;
        if !replica.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let log = replica.log();
        // Taken before the read: what is appended meanwhile is not needed, and may be missing from it.
        let (log_end, high_watermark) = (log.log_end_offset(), log.high_watermark());
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let from = from.max(log.log_start_offset());
        let found = log.read(from, max_bytes, FetchIsolation::LogEnd, true);
        let found = found.map_err(|error| errors::of_read(&error))?;
        let batches = match found.records {
            None => Vec::new(),
            Some(slice) => {
                let bytes = slice.read().map_err(|error| {
                    tracing::error!(%partition, %error, "a coordinator's log can't be read");
                    ErrorCode::KafkaStorageError
                })?;
                StoredBatch::decode_all(&bytes, DECOMPRESSED_BYTES_MAX).map_err(|error| {
                    tracing::error!(%partition, %error, "a coordinator's log holds what is no batch");
                    ErrorCode::CorruptMessage
                })?
            }
        };
        Ok(LogChunk { batches, high_watermark, log_end })
    }
}

/// Tells the group coordinator how far its partitions are replicated: to be set as the listener of every partition of
/// `__consumer_offsets`.
///
/// It is made before the coordinator, whose storage needs the replicas that call it.
#[derive(Debug, Default)]
pub struct OffsetsTopicListener {
    groups: OnceLock<Weak<GroupCoordinator>>,
}

impl OffsetsTopicListener {
    /// Only the first coordinator that is given is told.
    pub fn tell(&self, groups: &Arc<GroupCoordinator>) {
        self.groups.get_or_init(|| Arc::downgrade(groups));
    }
}

impl PartitionListener for OffsetsTopicListener {
    fn high_watermark_updated(&self, partition: &TopicPartition, high_watermark: Offset) {
        debug_assert_eq!(&*partition.topic, CONSUMER_OFFSETS_TOPIC);
        if let Some(groups) = self.groups.get().and_then(Weak::upgrade) {
            groups.high_watermark_updated(partition.partition, high_watermark);
        }
    }
}
