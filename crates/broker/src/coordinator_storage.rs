//! Where coordinators keep their state: internal topics whose partitions this node leads.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use ottla_coordinator::group::GroupCoordinator;
use ottla_coordinator::runtime::{
    LogChunk, PartitionReader, PartitionWriter, StoredBatch, TransactionMarker, WriteBatch,
};
use ottla_coordinator::transaction::TransactionCoordinator;
use ottla_log::producer_state::VerificationGuard;
use ottla_log::{FetchIsolation, LogConfig};
use ottla_record::{Compression, EndTxnMarker, end_txn_batch};
use ottla_replica::{Partition, PartitionListener, ReplicaManager, errors};
use ottla_types::{LeaderEpoch, Now, Offset, TopicPartition};
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
        let asked = batch.transaction.and_then(|transaction| transaction.verification);
        let verification = asked.map_or(VerificationGuard::NotNeeded, VerificationGuard::Asked);
        self.replicas.append(replica, &Bytes::from(records), verification, 0, now)
    }

    fn append_marker(
        &self,
        partition: &TopicPartition,
        marker: TransactionMarker,
        now: Now,
    ) -> Result<Offset, ErrorCode> {
        let replica = self.partition(partition)?;
        let records = marker_batch(&marker, now)?;
        let version = marker.transaction_version;
        self.replicas.append(replica, &records, VerificationGuard::NotNeeded, version, now)
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

/// The batch that ends a producer's transaction in a partition.
pub fn marker_batch(marker: &TransactionMarker, now: Now) -> Result<Bytes, ErrorCode> {
    let TransactionMarker { producer, committed, coordinator_epoch, .. } = *marker;
    let end = EndTxnMarker { committed, coordinator_epoch };
    // The log gives the batch its offset and its leader's epoch.
    end_txn_batch(end, producer.id, producer.epoch, now.wall, LeaderEpoch::NONE).map(Bytes::from).map_err(
        |error| {
            tracing::error!(%error, "a transaction's marker makes no batch");
            ErrorCode::UnknownServerError
        },
    )
}

/// A coordinator that follows the high watermarks of its topic.
pub trait TopicCoordinator: Send + Sync {
    fn high_watermark_updated(&self, partition: i32, high_watermark: Offset);
}

impl TopicCoordinator for GroupCoordinator {
    fn high_watermark_updated(&self, partition: i32, high_watermark: Offset) {
        GroupCoordinator::high_watermark_updated(self, partition, high_watermark);
    }
}

impl TopicCoordinator for TransactionCoordinator {
    fn high_watermark_updated(&self, partition: i32, high_watermark: Offset) {
        TransactionCoordinator::high_watermark_updated(self, partition, high_watermark);
    }
}

/// Tells a coordinator how far its partitions are replicated: to be set as the listener of every partition of its topic.
///
/// It is made before the coordinator, whose storage needs the replicas that call it.
pub struct TopicListener<C>(OnceLock<Weak<C>>);

impl<C> Default for TopicListener<C> {
    fn default() -> TopicListener<C> {
        TopicListener(OnceLock::new())
    }
}

impl<C> std::fmt::Debug for TopicListener<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TopicListener")
    }
}

impl<C> TopicListener<C> {
    /// Only the first coordinator that is given is told.
    pub fn tell(&self, coordinator: &Arc<C>) {
        self.0.get_or_init(|| Arc::downgrade(coordinator));
    }
}

impl<C: TopicCoordinator> PartitionListener for TopicListener<C> {
    fn high_watermark_updated(&self, partition: &TopicPartition, high_watermark: Offset) {
        if let Some(coordinator) = self.0.get().and_then(Weak::upgrade) {
            coordinator.high_watermark_updated(partition.partition, high_watermark);
        }
    }
}
