//! Batches of the metadata log as listeners want them: the values of their records.

use bytes::Bytes;
use ottla_raft::LogError;
use ottla_record::{Batch, Batches};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::Values;

/// What the records of one batch may expand to, in bytes. Kafka doesn't compress the metadata log.
const BATCH_BYTES_MAX: usize = 128 << 20;

/// One committed batch.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub append_timestamp: Timestamp,
    /// Bytes in the log.
    pub size: usize,
    /// Empty for a control batch. None when a value is missing would be corruption.
    pub values: Values,
}

/// The batches of a [`ottla_raft::Delivery::Committed`], without those that lie wholly before `from`. A listener's
/// position is always the start of a batch.
pub fn committed_batches(from: Offset, bytes: &Bytes) -> Result<Vec<CommittedBatch>, LogError> {
    let mut found = Vec::new();
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(corrupt)?;
        if batch.last_offset() < from {
            continue;
        }
        batch.check_crc().map_err(corrupt)?;
        found.push(CommittedBatch {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset(),
            leader_epoch: batch.partition_leader_epoch,
            append_timestamp: batch.max_timestamp,
            size: batch.bytes().len(),
            values: if batch.is_control() { Values::new() } else { values(&batch)? },
        });
    }
    Ok(found)
}

/// The values of a data batch.
pub(super) fn values(batch: &Batch<'_>) -> Result<Values, LogError> {
    let mut found = Values::new();
    let mut records = batch.records(BATCH_BYTES_MAX).map_err(corrupt)?;
    while let Some(record) = records.next().map_err(corrupt)? {
        let value = record.value.ok_or_else(|| corrupt("a metadata record without value"))?;
        found.push(Bytes::copy_from_slice(value));
    }
    Ok(found)
}

pub(super) fn corrupt(error: impl std::fmt::Display) -> LogError {
    LogError::Corrupt(error.to_string())
}
