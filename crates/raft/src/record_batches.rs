//! Between what the core appends and the record batches that are in the log and on the wire.
//!
//! Metadata records lie in uncompressed batches without keys, all with the timestamp at which they were accepted; control
//! records in control batches.

use bytes::Bytes;
use ottla_record::{Batch, BatchBuilder, BatchOptions, Batches, BuildError, ControlRecordType, NewRecord};
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};
use ottla_wire::records as stored;
use thiserror::Error;

use crate::control::{ControlRecord, LeaderChange};
use crate::log::{BatchRecords, LeaderBatch};
use crate::messages::ReceivedBatch;
use crate::replica::{Endpoints, HostPort, ReplicaKey};
use crate::voter_set::{VoterNode, VoterSet};

/// Bytes that the control records of one batch may have when decompressed.
const CONTROL_BATCH_BYTES_MAX: usize = 1 << 20;

/// Why a batch of the metadata log can't be written or read.
#[derive(Debug, Error)]
pub enum RecordBatchError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Record(#[from] ottla_record::RecordError),
    #[error("control record: {0}")]
    Encode(#[from] ottla_wire::EncodeError),
    #[error("control record: {0}")]
    Decode(#[from] ottla_wire::DecodeError),
}

/// Writes a batch as Kafka does.
pub fn encode(batch: &LeaderBatch) -> Result<Vec<u8>, RecordBatchError> {
    match &batch.records {
        BatchRecords::Data(values) => {
            encode_data(batch.base_offset, batch.leader_epoch, batch.append_timestamp, values)
        }
        BatchRecords::Control(records) => {
            encode_control(batch.base_offset, batch.leader_epoch, batch.append_timestamp, records)
        }
    }
}

/// A batch of values without keys.
pub fn encode_data(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: Timestamp,
    values: &[Bytes],
) -> Result<Vec<u8>, RecordBatchError> {
    let options =
        BatchOptions { base_offset, partition_leader_epoch: leader_epoch, ..BatchOptions::default() };
    let size: usize = values.iter().map(|value| value.len() + 16).sum();
    let mut builder = BatchBuilder::with_capacity(options, size + 64);
    for value in values {
        builder.append(&NewRecord { timestamp, value: Some(value), ..NewRecord::default() })?;
    }
    Ok(builder.build()?)
}

/// A control batch.
pub fn encode_control(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: Timestamp,
    records: &[ControlRecord],
) -> Result<Vec<u8>, RecordBatchError> {
    let options = BatchOptions {
        base_offset,
        partition_leader_epoch: leader_epoch,
        control: true,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let (record_type, value) = control_to_stored(record);
        builder.append_control(record_type, timestamp, &value.encode_value()?)?;
    }
    Ok(builder.build()?)
}

/// Takes apart what a leader sent: whole batches with right checksums. What follows the first that is broken, or that
/// isn't complete, is left out; the next fetch asks for it again.
pub fn parse(bytes: Bytes) -> Vec<ReceivedBatch> {
    let mut received = Vec::new();
    for batch in Batches::new(&bytes) {
        let parsed = batch.map_err(RecordBatchError::from).and_then(|batch| received_batch(&bytes, &batch));
        match parsed {
            Ok(batch) => received.push(batch),
            Err(error) => {
                tracing::error!(%error, "the leader sent a broken batch");
                break;
            }
        }
    }
    received
}

fn received_batch(frame: &Bytes, batch: &Batch<'_>) -> Result<ReceivedBatch, RecordBatchError> {
    batch.check_crc()?;
    Ok(ReceivedBatch {
        base_offset: batch.base_offset,
        last_offset: batch.last_offset(),
        leader_epoch: batch.partition_leader_epoch,
        control: control_records(batch)?,
        bytes: frame.slice_ref(batch.bytes()),
    })
}

/// The control records of a batch that are known here, with their offsets; none for a data batch.
pub fn control_records(batch: &Batch<'_>) -> Result<Vec<(Offset, ControlRecord)>, RecordBatchError> {
    let mut found = Vec::new();
    if !batch.is_control() {
        return Ok(found);
    }
    let mut records = batch.records(CONTROL_BATCH_BYTES_MAX)?;
    while let Some(record) = records.next()? {
        let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
        let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
        if let Some(control) = control_from_stored(stored::ControlRecord::decode(key, value)?) {
            found.push((record.offset, control));
        }
    }
    Ok(found)
}

fn control_to_stored(record: &ControlRecord) -> (ControlRecordType, stored::ControlRecord) {
    use stored::{leader_change_message as change, voters_record as voters};
    match record {
        ControlRecord::LeaderChange(LeaderChange { version, leader_id, voters, granting_voters }) => {
            let message = change::LeaderChangeMessage {
                version: *version,
                leader_id: leader_id.value(),
                voters: voters
                    .iter()
                    .map(|(id, directory)| change::Voter {
                        voter_id: id.value(),
                        voter_directory_id: if *version >= 1 { *directory } else { Default::default() },
                        ..Default::default()
                    })
                    .collect(),
                granting_voters: granting_voters
                    .iter()
                    .map(|(id, directory)| change::GrantingVoter {
                        voter_id: id.value(),
                        voter_directory_id: if *version >= 1 { *directory } else { Default::default() },
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            (ControlRecordType::LeaderChange, stored::ControlRecord::LeaderChange(message))
        }
        ControlRecord::SnapshotHeader { last_contained_log_timestamp } => {
            let header = stored::SnapshotHeaderRecord {
                last_contained_log_timestamp: *last_contained_log_timestamp,
                ..Default::default()
            };
            (ControlRecordType::SnapshotHeader, stored::ControlRecord::SnapshotHeader(header))
        }
        ControlRecord::SnapshotFooter => {
            let footer = stored::SnapshotFooterRecord::default();
            (ControlRecordType::SnapshotFooter, stored::ControlRecord::SnapshotFooter(footer))
        }
        ControlRecord::KRaftVersion(version) => {
            let record = stored::KRaftVersionRecord { kraft_version: *version, ..Default::default() };
            (ControlRecordType::KRaftVersion, stored::ControlRecord::KraftVersion(record))
        }
        ControlRecord::Voters(set) => {
            let voter = |voter: &VoterNode| voters::Voter {
                voter_id: voter.key.id.value(),
                voter_directory_id: voter.key.directory_id_or_zero(),
                endpoints: voter
                    .listeners
                    .iter()
                    .map(|(name, address)| voters::Endpoint {
                        name: name.to_owned(),
                        host: address.host.clone(),
                        port: address.port,
                        ..Default::default()
                    })
                    .collect(),
                kraft_version_feature: voters::KraftVersionFeature {
                    min_supported_version: voter.supported_kraft_version.0,
                    max_supported_version: voter.supported_kraft_version.1,
                    ..Default::default()
                },
                ..Default::default()
            };
            let record =
                stored::VotersRecord { voters: set.iter().map(voter).collect(), ..Default::default() };
            (ControlRecordType::KRaftVoters, stored::ControlRecord::Voters(record))
        }
    }
}

fn control_from_stored(record: stored::ControlRecord) -> Option<ControlRecord> {
    match record {
        stored::ControlRecord::LeaderChange(message) => Some(ControlRecord::LeaderChange(LeaderChange {
            version: message.version,
            leader_id: NodeId(message.leader_id),
            voters: message
                .voters
                .iter()
                .map(|voter| (NodeId(voter.voter_id), voter.voter_directory_id))
                .collect(),
            granting_voters: message
                .granting_voters
                .iter()
                .map(|voter| (NodeId(voter.voter_id), voter.voter_directory_id))
                .collect(),
        })),
        stored::ControlRecord::SnapshotHeader(header) => Some(ControlRecord::SnapshotHeader {
            last_contained_log_timestamp: header.last_contained_log_timestamp,
        }),
        stored::ControlRecord::SnapshotFooter(_) => Some(ControlRecord::SnapshotFooter),
        stored::ControlRecord::KraftVersion(record) => {
            Some(ControlRecord::KRaftVersion(record.kraft_version))
        }
        stored::ControlRecord::Voters(record) => {
            let voter = |voter: stored::voters_record::Voter| {
                let mut listeners = Endpoints::new();
                for endpoint in voter.endpoints {
                    listeners.insert(&endpoint.name, HostPort::new(endpoint.host, endpoint.port));
                }
                let feature = voter.kraft_version_feature;
                VoterNode {
                    key: ReplicaKey::new(NodeId(voter.voter_id), voter.voter_directory_id),
                    listeners,
                    supported_kraft_version: (feature.min_supported_version, feature.max_supported_version),
                }
            };
            Some(ControlRecord::Voters(VoterSet::new(record.voters.into_iter().map(voter))))
        }
        stored::ControlRecord::Abort(_)
        | stored::ControlRecord::Commit(_)
        | stored::ControlRecord::Unknown { .. } => None,
    }
}
