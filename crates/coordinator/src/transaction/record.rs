//! Records of `__transaction_state`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::records::transaction_log_value::TransactionPartition;
use ottla_wire::records::{TransactionLogKey, TransactionLogValue, TransactionStateRecord};
use tracing::{error, warn};

use super::metadata::{Status, TransactionMetadata};
use crate::runtime::{DecodeError, EncodedRecord, Producer};

/// From this level of `transaction.version` on, values are written in their flexible version.
const FLEXIBLE_SINCE_LEVEL: i16 = 1;

/// What is known of a transactional id from now on: nothing, with a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TransactionRecord {
    pub transactional_id: Arc<str>,
    pub metadata: Option<TransactionMetadata>,
    /// Of the value.
    pub version: i16,
}

impl TransactionRecord {
    /// A record as the finalized level of `transaction.version` has it. What the version of its value has no room for is
    /// forgotten now, not when the log is read back.
    pub fn new(
        transactional_id: &Arc<str>,
        metadata: Option<TransactionMetadata>,
        level: i16,
    ) -> TransactionRecord {
        let version = i16::from(level >= FLEXIBLE_SINCE_LEVEL);
        let metadata = metadata.map(|metadata| match version {
            0 => TransactionMetadata {
                previous_producer_id: ProducerId::NONE,
                next_producer_id: ProducerId::NONE,
                next_producer_epoch: ProducerEpoch::NONE,
                client_version: 0,
                ..metadata
            },
            _ => metadata,
        });
        TransactionRecord { transactional_id: Arc::clone(transactional_id), metadata, version }
    }
}

pub(super) fn encode(record: &TransactionRecord) -> Result<EncodedRecord, ErrorCode> {
    let key = TransactionLogKey { transactional_id: record.transactional_id.to_string() };
    let stored = TransactionStateRecord::TransactionLog(key, record.metadata.as_ref().map(to_value));
    let encode =
        || Ok(EncodedRecord { key: stored.encode_key()?, value: stored.encode_value(record.version)? });
    encode().map_err(|error: ottla_wire::EncodeError| {
        error!(%error, "a transaction's record can't be encoded");
        ErrorCode::UnknownServerError
    })
}

/// `None` for a key of an unknown type, which is left alone.
pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<TransactionRecord>, DecodeError> {
    let failed = |reason: String| DecodeError { record_type: 0, reason };
    let (record, version) =
        TransactionStateRecord::decode(key, value).map_err(|error| failed(error.to_string()))?;
    match record {
        TransactionStateRecord::TransactionLog(key, value) => Ok(Some(TransactionRecord {
            transactional_id: Arc::from(key.transactional_id),
            metadata: value.map(from_value).transpose().map_err(failed)?,
            version: version.unwrap_or(0),
        })),
        TransactionStateRecord::Unknown { .. } => {
            warn!("a record of an unknown type or version is left alone");
            Ok(None)
        }
    }
}

fn to_value(metadata: &TransactionMetadata) -> TransactionLogValue {
    let mut by_topic: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in metadata.partitions.iter() {
        by_topic.entry(&partition.topic).or_default().push(partition.partition);
    }
    let partitions = by_topic.into_iter().map(|(topic, partition_ids)| TransactionPartition {
        topic: topic.to_string(),
        partition_ids,
        ..TransactionPartition::default()
    });
    TransactionLogValue {
        producer_id: metadata.producer.id.0,
        previous_producer_id: metadata.previous_producer_id.0,
        next_producer_id: metadata.next_producer_id.0,
        producer_epoch: metadata.producer.epoch.0,
        next_producer_epoch: metadata.next_producer_epoch.0,
        transaction_timeout_ms: metadata.timeout_ms,
        transaction_status: metadata.status.id(),
        transaction_partitions: (metadata.status != Status::Empty).then(|| partitions.collect()),
        transaction_last_update_timestamp_ms: metadata.last_update.0,
        transaction_start_timestamp_ms: metadata.start.0,
        client_transaction_version: metadata.client_version,
        ..TransactionLogValue::default()
    }
}

fn from_value(value: TransactionLogValue) -> Result<TransactionMetadata, String> {
    let status = Status::from_id(value.transaction_status)
        .ok_or_else(|| format!("there is no transaction status {}", value.transaction_status))?;
    let mut partitions = BTreeSet::new();
    for topic in value.transaction_partitions.into_iter().flatten() {
        let name: Arc<str> = Arc::from(topic.topic);
        partitions.extend(topic.partition_ids.iter().map(|id| TopicPartition::new(Arc::clone(&name), *id)));
    }
    Ok(TransactionMetadata {
        producer: Producer { id: ProducerId(value.producer_id), epoch: ProducerEpoch(value.producer_epoch) },
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        next_producer_epoch: ProducerEpoch(value.next_producer_epoch),
        timeout_ms: value.transaction_timeout_ms,
        status,
        partitions: Arc::new(partitions),
        start: Timestamp(value.transaction_start_timestamp_ms),
        last_update: Timestamp(value.transaction_last_update_timestamp_ms),
        client_version: value.client_transaction_version,
    })
}
