//! What a shard needs of its partition: to append batches as the leader, and to read the log back when it is loaded.

use bytes::Bytes;
use ottla_types::{Now, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use ottla_wire::ErrorCode;

/// One record, ready for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    pub key: Bytes,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl EncodedRecord {
    /// An upper bound of the record's bytes in an uncompressed batch of magic 2: lengths, attributes, deltas and header
    /// count never take more than this beside key and value.
    pub fn max_bytes(&self) -> usize {
        36 + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The bytes of a batch of magic 2 before its records.
pub const BATCH_HEADER_BYTES: usize = 61;

/// The producer of a transactional batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// What makes a batch part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    pub producer: Producer,
    /// The number of the verification that the log has handed out for it, where one was needed (KIP-890).
    pub verification: Option<u64>,
}

/// The record that ends a producer's transaction in one partition (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionMarker {
    pub producer: Producer,
    pub committed: bool,
    /// Of the transaction coordinator: an older one is refused.
    pub coordinator_epoch: i32,
    /// `transaction.version` of the transaction: from 2 on, the marker carries a larger epoch than the batches (KIP-890).
    pub transaction_version: i16,
}

/// What one append writes: one batch of magic 2 with CreateTime timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBatch {
    /// Every record's timestamp.
    pub timestamp: Timestamp,
    /// Set for a batch that belongs to a transaction.
    pub transaction: Option<Membership>,
    pub base_sequence: i32,
    pub records: Vec<EncodedRecord>,
}

/// The leader's side of the partitions that hold shards.
///
/// An append that answers `Ok` is in the leader's log; it is committed when the high watermark reaches its end, which
/// the owner tells through `Runtime::high_watermark_updated`: from within the append, or else without holding a lock that
/// an append needs, since operations that waited may go on to append.
pub trait PartitionWriter: Send + Sync {
    /// Appends as leader, with the acknowledgement of all in-sync replicas to follow through the high watermark.
    /// Answers the log's end after the batch.
    fn append(&self, partition: &TopicPartition, batch: WriteBatch, now: Now) -> Result<Offset, ErrorCode>;

    /// Appends the end of a transaction, likewise.
    fn append_marker(
        &self,
        partition: &TopicPartition,
        marker: TransactionMarker,
        now: Now,
    ) -> Result<Offset, ErrorCode>;

    /// The topic's `max.message.bytes`.
    fn max_batch_bytes(&self, partition: &TopicPartition) -> usize;
}

/// One batch as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// The producer of a transactional batch or of a marker; `None` for all others.
    pub producer: Option<Producer>,
    pub content: StoredContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredContent {
    Records(Vec<StoredRecord>),
    /// The marker that ends the producer's transaction.
    EndTransaction {
        committed: bool,
    },
    /// Control records that are of no concern to a coordinator.
    OtherControl,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub offset: Offset,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// What one read answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// In the order of their offsets. Empty only where nothing is left to read.
    pub batches: Vec<StoredBatch>,
    pub high_watermark: Offset,
    pub log_end: Offset,
}

/// Reads a partition's log up to the leader's end of it.
pub trait PartitionReader: Send + Sync {
    /// Whole batches from `from` on (from the log's start if that lies behind it), about `max_bytes` of them but at
    /// least one.
    fn read(&self, partition: &TopicPartition, from: Offset, max_bytes: usize)
    -> Result<LogChunk, ErrorCode>;
}
