//! Segments and snapshots of the metadata: batches, and the records in them.

use bytes::Bytes;
use ottla_record::{Batch, Codec, Record, TimestampType};
use ottla_wire::ToJson;
use ottla_wire::records::ControlRecord;

use super::Plan;
use super::findings::Findings;
use crate::segment_files::{File, SegmentReader};
use crate::tool::{Failure, Output, said};

/// A compressed batch may grow to this and not further.
const BATCH_EXPANDED_BYTES_MAX: usize = i32::MAX as usize;

pub(super) fn dump(
    file: &File,
    plan: &Plan,
    findings: &mut Findings,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    print_head(file, output)?;
    let mut reader = SegmentReader::open(file, 0, plan.bytes_max)?;
    // Kafka compares the first record too, so that it tells of a gap at the start of every segment but the first.
    let mut last_offset = -1i64;
    loop {
        let position = reader.position();
        let Some(batch) = reader.next()? else { break };
        print_batch(&batch, position, output)?;
        if plan.is_deep {
            let unreadable =
                |error| said(format_args!("{}: the batch at position {position}: {error}", file.shown));
            let mut records = batch.records(BATCH_EXPANDED_BYTES_MAX).map_err(unreadable)?;
            while let Some(record) = records.next().map_err(unreadable)? {
                let offset = record.offset.0;
                if last_offset.checked_add(1) != Some(offset) {
                    findings.gap(file, last_offset, offset);
                }
                last_offset = offset;
                print_record(&batch, &record, plan, output)?;
            }
        }
    }
    let trailing_bytes = reader.end().saturating_sub(reader.position());
    if trailing_bytes > 0 && plan.bytes_max == i32::MAX {
        output.line(format_args!("Found {trailing_bytes} invalid bytes at the end of {}", file.name()))?;
    }
    Ok(())
}

fn print_head(file: &File, output: &mut Output<'_>) -> Result<(), Failure> {
    if file.suffix() == ".log" {
        return output.line(format_args!("Log starting offset: {}", file.base_offset()?));
    }
    if file.name() == "bootstrap.checkpoint" {
        return output.line("KRaft bootstrap snapshot");
    }
    let numbers = file.stem().split_once('-');
    let id =
        numbers.and_then(|(offset, epoch)| Some((offset.parse::<i64>().ok()?, epoch.parse::<i32>().ok()?)));
    let (offset, epoch) = id.ok_or_else(|| {
        said(format_args!("{}: the name is not that of a snapshot: OFFSET-EPOCH.checkpoint", file.shown))
    })?;
    output.line(format_args!("Snapshot end offset: {offset}, epoch: {epoch}"))
}

fn print_batch(batch: &Batch<'_>, position: u64, output: &mut Output<'_>) -> Result<(), Failure> {
    if batch.is_legacy() {
        write!(output.out, "offset: {}", batch.last_offset())?;
    } else {
        let horizon = batch
            .delete_horizon()
            .map_or("OptionalLong.empty".to_owned(), |at| format!("OptionalLong[{}]", at.0));
        write!(
            output.out,
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
             producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon}",
            batch.base_offset,
            batch.last_offset(),
            batch.record_count,
            batch.base_sequence,
            batch.last_sequence(),
            batch.producer_id,
            batch.producer_epoch,
            batch.partition_leader_epoch,
            batch.is_transactional(),
            batch.is_control(),
        )?;
    }
    let codec = match Codec::from_id(batch.attributes.codec_id()) {
        Ok(codec) => codec_name(codec).to_owned(),
        Err(error) => return Err(said(error)),
    };
    output.line(format_args!(
        " position: {position} {}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {}",
        timestamp_type(batch),
        batch.max_timestamp.0,
        batch.size_in_bytes,
        batch.magic,
        batch.crc,
        batch.check_crc().is_ok(),
    ))
}

fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::None => "none",
        Codec::Gzip => "gzip",
        Codec::Snappy => "snappy",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
    }
}

fn timestamp_type(batch: &Batch<'_>) -> &'static str {
    match batch.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
        TimestampType::None => "NoTimestampType",
    }
}

fn print_record(
    batch: &Batch<'_>,
    record: &Record<'_>,
    plan: &Plan,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut prefix = "| ";
    if !plan.skips_record_metadata {
        let size = |field: Option<&[u8]>| field.map_or(-1, |bytes| bytes.len() as i64);
        write!(
            output.out,
            "| offset: {} {}: {} keySize: {} valueSize: {}",
            record.offset,
            timestamp_type(batch),
            record.timestamp.0,
            size(record.key),
            size(record.value),
        )?;
        prefix = " ";
        if !batch.is_legacy() {
            let keys: Vec<_> =
                record.headers.iter().map(|header| String::from_utf8_lossy(header.key)).collect();
            write!(output.out, " sequence: {} headerKeys: [{}]", record.sequence, keys.join(","))?;
        }
        if batch.is_control() {
            write!(output.out, "{}", control(record)?)?;
        }
    }
    if plan.prints_data && !batch.is_control() {
        let shown = plan.decoder.decode(record)?;
        if let Some(key) = shown.key {
            write!(output.out, "{prefix}key: {key}")?;
            prefix = " ";
        }
        if let Some(payload) = shown.payload {
            write!(output.out, "{prefix}payload: {payload}")?;
        }
    }
    output.line("")
}

fn control(record: &Record<'_>) -> Result<String, Failure> {
    let bytes = |field: Option<&[u8]>| Bytes::copy_from_slice(field.unwrap_or_default());
    let decoded = ControlRecord::decode(bytes(record.key), bytes(record.value)).map_err(said)?;
    Ok(match decoded {
        ControlRecord::Abort(marker) => {
            format!(" endTxnMarker: ABORT coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        ControlRecord::Commit(marker) => {
            format!(" endTxnMarker: COMMIT coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        ControlRecord::LeaderChange(change) => format!(" LeaderChange: {}", change.to_json(change.version)),
        ControlRecord::SnapshotHeader(header) => {
            format!(" SnapshotHeader {}", header.to_json(header.version))
        }
        ControlRecord::SnapshotFooter(footer) => {
            format!(" SnapshotFooter {}", footer.to_json(footer.version))
        }
        ControlRecord::KraftVersion(version) => format!(" KRaftVersion {}", version.to_json(version.version)),
        ControlRecord::Voters(voters) => format!(" KRaftVoters {}", voters.to_json(voters.version)),
        ControlRecord::Unknown { key, .. } => {
            let type_id =
                key.get(2..4).map_or(-1, |id| id.iter().fold(0i16, |id, &byte| id << 8 | i16::from(byte)));
            format!(" controlType: UNKNOWN({type_id})")
        }
    })
}
