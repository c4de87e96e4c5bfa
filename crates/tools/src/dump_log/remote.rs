//! Records of `__remote_log_metadata` (KIP-405), as Java's classes show themselves.

use std::fmt::Display;

use bytes::Bytes;
use ottla_wire::records::{
    RemoteLogSegmentMetadataRecord, RemoteLogSegmentMetadataUpdateRecord,
    RemotePartitionDeleteMetadataRecord, remote_log_segment_metadata_record,
    remote_log_segment_metadata_update_record,
};
use ottla_wire::{Decoder, Message};

const FRAME_VERSION: u32 = 1;

/// What a value says; `Err`: why it can't be read.
pub(super) fn shown(value: &[u8]) -> Result<String, String> {
    let mut d = Decoder::new(Bytes::copy_from_slice(value));
    let said = |error: ottla_wire::DecodeError| error.to_string();
    let frame_version = d.uvarint("frame_version").map_err(said)?;
    if frame_version != FRAME_VERSION {
        return Err(format!("Could not deserialize metadata record with frame version {frame_version}"));
    }
    let type_id = d.uvarint("type").map_err(said)?;
    let version = d.uvarint("version").map_err(said)?;
    let version = i16::try_from(version).map_err(|_| format!("version {version} is unknown"))?;
    match type_id {
        0 => read::<RemoteLogSegmentMetadataRecord>(&mut d, version).map(|record| segment(&record)),
        1 => read::<RemoteLogSegmentMetadataUpdateRecord>(&mut d, version).map(|record| update(&record)),
        2 => read::<RemotePartitionDeleteMetadataRecord>(&mut d, version).map(|record| delete(&record)),
        3 => Err("Failed to deserialize record with type 3".to_owned()),
        other => Err(format!(
            "org.apache.kafka.common.errors.UnsupportedVersionException: Unknown metadata id {other}"
        )),
    }
}

fn read<M: Message>(d: &mut Decoder, version: i16) -> Result<M, String> {
    M::decode(d, version).map_err(|error| error.to_string())
}

fn segment(record: &RemoteLogSegmentMetadataRecord) -> String {
    use remote_log_segment_metadata_record::{RemoteLogSegmentId, SegmentLeaderEpoch};
    let RemoteLogSegmentId { topic_id_partition: at, id, .. } = &record.remote_log_segment_id;
    let mut epochs: Vec<&SegmentLeaderEpoch> = record.segment_leader_epochs.iter().collect();
    epochs.sort_by_key(|epoch| epoch.leader_epoch);
    let epochs: Vec<String> =
        epochs.iter().map(|epoch| format!("{}={}", epoch.leader_epoch, epoch.offset)).collect();
    format!(
        "RemoteLogSegmentMetadata{{remoteLogSegmentId={}, startOffset={}, endOffset={}, brokerId={}, maxTimestampMs={}, \
         eventTimestampMs={}, segmentLeaderEpochs={{{}}}, segmentSizeInBytes={}, customMetadata={}, state={}, \
         txnIdxEmpty={}}}",
        segment_id(&at.id, &at.name, at.partition, id),
        record.start_offset,
        record.end_offset,
        record.broker_id,
        record.max_timestamp_ms,
        record.event_timestamp_ms,
        epochs.join(", "),
        record.segment_size_in_bytes,
        custom_metadata(record.custom_metadata.as_deref()),
        segment_state(record.remote_log_segment_state),
        record.txn_index_empty,
    )
}

fn update(record: &RemoteLogSegmentMetadataUpdateRecord) -> String {
    use remote_log_segment_metadata_update_record::RemoteLogSegmentId;
    let RemoteLogSegmentId { topic_id_partition: at, id, .. } = &record.remote_log_segment_id;
    format!(
        "RemoteLogSegmentMetadataUpdate{{remoteLogSegmentId={}, customMetadata={}, state={}, eventTimestampMs={}, \
         brokerId={}}}",
        segment_id(&at.id, &at.name, at.partition, id),
        custom_metadata(record.custom_metadata.as_deref()),
        segment_state(record.remote_log_segment_state),
        record.event_timestamp_ms,
        record.broker_id,
    )
}

fn delete(record: &RemotePartitionDeleteMetadataRecord) -> String {
    let at = &record.topic_id_partition;
    let state = match record.remote_partition_delete_state {
        0 => "DELETE_PARTITION_MARKED",
        1 => "DELETE_PARTITION_STARTED",
        2 => "DELETE_PARTITION_FINISHED",
        _ => "null",
    };
    format!(
        "RemotePartitionDeleteMetadata{{topicPartition={}, state={state}, eventTimestampMs={}, brokerId={}}}",
        topic_id_partition(&at.id, &at.name, at.partition),
        record.event_timestamp_ms,
        record.broker_id,
    )
}

fn segment_id(topic_id: &dyn Display, topic: &str, partition: i32, id: &dyn Display) -> String {
    let at = topic_id_partition(topic_id, topic, partition);
    format!("RemoteLogSegmentId{{topicIdPartition={at}, id={id}}}")
}

fn topic_id_partition(topic_id: &dyn Display, topic: &str, partition: i32) -> String {
    format!("{topic_id}:{topic}-{partition}")
}

fn custom_metadata(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) => format!("Optional[CustomMetadata{{{} bytes}}]", bytes.len()),
        None => "Optional.empty".to_owned(),
    }
}

fn segment_state(state: i8) -> &'static str {
    match state {
        0 => "COPY_SEGMENT_STARTED",
        1 => "COPY_SEGMENT_FINISHED",
        2 => "DELETE_SEGMENT_STARTED",
        3 => "DELETE_SEGMENT_FINISHED",
        _ => "null",
    }
}
