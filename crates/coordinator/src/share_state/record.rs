//! Records of `__share_group_state`: a snapshot is a share partition's whole state, an update what has changed since.

use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::records::share_snapshot_value::StateBatch as SnapshotBatch;
use ottla_wire::records::share_update_value::StateBatch as UpdateBatch;
use ottla_wire::records::{
    ShareGroupStateRecord, ShareSnapshotKey, ShareSnapshotValue, ShareUpdateKey, ShareUpdateValue,
};
use tracing::warn;

use super::batches::StateBatch;
use super::key::SharePartitionKey;
use crate::runtime::{DecodeError, EncodedRecord};

/// The only version of the values.
const VALUE_VERSION: i16 = 0;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ShareStateRecord {
    Snapshot(SharePartitionKey, Snapshot),
    Update(SharePartitionKey, Update),
    /// The share partition is gone.
    Tombstone(SharePartitionKey),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) snapshot_epoch: i32,
    pub(crate) state_epoch: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) start_offset: i64,
    pub(crate) delivery_complete_count: i32,
    pub(crate) create_timestamp: i64,
    pub(crate) write_timestamp: i64,
    pub(crate) batches: Arc<[StateBatch]>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    /// Of the snapshot that this goes with.
    pub(crate) snapshot_epoch: i32,
    /// -1: as before.
    pub(crate) leader_epoch: i32,
    /// -1: as before.
    pub(crate) start_offset: i64,
    pub(crate) delivery_complete_count: i32,
    pub(crate) batches: Vec<StateBatch>,
}

pub(crate) fn encode(record: &ShareStateRecord) -> Result<EncodedRecord, ErrorCode> {
    let record = match record {
        ShareStateRecord::Snapshot(key, snapshot) => {
            ShareGroupStateRecord::ShareSnapshot(snapshot_key(key), Some(snapshot_value(snapshot)))
        }
        ShareStateRecord::Tombstone(key) => ShareGroupStateRecord::ShareSnapshot(snapshot_key(key), None),
        ShareStateRecord::Update(key, update) => {
            ShareGroupStateRecord::ShareUpdate(update_key(key), Some(update_value(update)))
        }
    };
    let encoded = record.encode_key().and_then(|key| {
        let value = record.encode_value(VALUE_VERSION)?;
        Ok(EncodedRecord { key, value })
    });
    encoded.map_err(|error| {
        warn!(%error, "a record can't be encoded");
        ErrorCode::UnknownServerError
    })
}

pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<ShareStateRecord>, DecodeError> {
    let record_type = key.first_chunk().map_or(-1, |bytes| i16::from_be_bytes(*bytes));
    let failed = |reason: String| DecodeError { record_type, reason };
    let (record, _) = ShareGroupStateRecord::decode(key, value).map_err(|error| failed(error.to_string()))?;
    Ok(match record {
        ShareGroupStateRecord::ShareSnapshot(key, value) => {
            let key = SharePartitionKey::new(key.group_id, key.topic_id, key.partition);
            Some(match value {
                Some(value) => ShareStateRecord::Snapshot(key, snapshot(value)),
                None => ShareStateRecord::Tombstone(key),
            })
        }
        ShareGroupStateRecord::ShareUpdate(key, Some(value)) => {
            let key = SharePartitionKey::new(key.group_id, key.topic_id, key.partition);
            Some(ShareStateRecord::Update(key, update(value)))
        }
        ShareGroupStateRecord::ShareUpdate(_, None) => None,
        ShareGroupStateRecord::Unknown { .. } => {
            warn!(record_type, "a record of an unknown type is left alone");
            None
        }
    })
}

fn snapshot_key(key: &SharePartitionKey) -> ShareSnapshotKey {
    ShareSnapshotKey { group_id: key.group_id.to_string(), topic_id: key.topic_id, partition: key.partition }
}

fn update_key(key: &SharePartitionKey) -> ShareUpdateKey {
    ShareUpdateKey { group_id: key.group_id.to_string(), topic_id: key.topic_id, partition: key.partition }
}

fn snapshot_value(snapshot: &Snapshot) -> ShareSnapshotValue {
    let batch = |batch: &StateBatch| SnapshotBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
        ..SnapshotBatch::default()
    };
    ShareSnapshotValue {
        snapshot_epoch: snapshot.snapshot_epoch,
        state_epoch: snapshot.state_epoch,
        leader_epoch: snapshot.leader_epoch,
        start_offset: snapshot.start_offset,
        delivery_complete_count: snapshot.delivery_complete_count,
        create_timestamp: snapshot.create_timestamp,
        write_timestamp: snapshot.write_timestamp,
        state_batches: snapshot.batches.iter().map(batch).collect(),
        ..ShareSnapshotValue::default()
    }
}

fn snapshot(value: ShareSnapshotValue) -> Snapshot {
    let batch = |batch: SnapshotBatch| StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
    };
    Snapshot {
        snapshot_epoch: value.snapshot_epoch,
        state_epoch: value.state_epoch,
        leader_epoch: value.leader_epoch,
        start_offset: value.start_offset,
        delivery_complete_count: value.delivery_complete_count,
        create_timestamp: value.create_timestamp,
        write_timestamp: value.write_timestamp,
        batches: value.state_batches.into_iter().map(batch).collect(),
    }
}

fn update_value(update: &Update) -> ShareUpdateValue {
    let batch = |batch: &StateBatch| UpdateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
        ..UpdateBatch::default()
    };
    ShareUpdateValue {
        snapshot_epoch: update.snapshot_epoch,
        leader_epoch: update.leader_epoch,
        start_offset: update.start_offset,
        delivery_complete_count: update.delivery_complete_count,
        state_batches: update.batches.iter().map(batch).collect(),
        ..ShareUpdateValue::default()
    }
}

fn update(value: ShareUpdateValue) -> Update {
    let batch = |batch: UpdateBatch| StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
    };
    Update {
        snapshot_epoch: value.snapshot_epoch,
        leader_epoch: value.leader_epoch,
        start_offset: value.start_offset,
        delivery_complete_count: value.delivery_complete_count,
        batches: value.state_batches.into_iter().map(batch).collect(),
    }
}
