//! Indexes and snapshots of producers.

use std::fs;

use ottla_log::index::stored;
use ottla_log::producer_snapshot;

use super::findings::Findings;
use super::{IndexCheck, Plan};
use crate::segment_files::{File, SegmentReader};
use crate::tool::{Failure, Output, said};

const NO_TIMESTAMP: i64 = -1;

fn read(file: &File) -> Result<Vec<u8>, Failure> {
    fs::read(&file.path).map_err(|error| file.unreadable(error))
}

pub(super) fn dump_offset_index(
    file: &File,
    plan: &Plan,
    findings: &mut Findings,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let base_offset = file.base_offset()?;
    let bytes = read(file)?;
    let entries = stored::offset_entries(&bytes, base_offset);
    if entries.is_empty() {
        return output.line(format_args!("{} is empty.", file.shown));
    }
    if plan.index == IndexCheck::Sanity {
        let last = entries.last().map(|entry| entry.offset);
        return check_sane(file, bytes.len(), stored::OFFSET_ENTRY_BYTES, last, base_offset, output);
    }
    let log = file.beside(".log");
    for (n, entry) in entries.iter().enumerate() {
        // A file that was not closed is longer than what is in it.
        if entry.offset == base_offset && n > 0 {
            break;
        }
        let mut reader = SegmentReader::open(&log, u64::from(entry.position), plan.message_size_max)?;
        let batch = reader.next()?.ok_or_else(|| {
            said(format_args!("{}: no whole batch at position {}", log.shown, entry.position))
        })?;
        let last_offset = batch.last_offset().0;
        if last_offset != entry.offset {
            findings.index_mismatch(file, entry.offset, last_offset);
        }
        if plan.index == IndexCheck::Print {
            output.line(format_args!("offset: {} position: {}", entry.offset, entry.position))?;
        }
    }
    Ok(())
}

fn check_sane(
    file: &File,
    len: usize,
    entry_bytes: usize,
    last_offset: Option<i64>,
    base_offset: i64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if let Some(last_offset) = last_offset.filter(|last_offset| *last_offset < base_offset) {
        return Err(said(format_args!(
            "Corrupt index found, index file ({}) has non-zero size but the last offset is {last_offset} which is less \
             than the base offset {base_offset}",
            file.absolute()
        )));
    }
    if !len.is_multiple_of(entry_bytes) {
        return Err(said(format_args!(
            "Corrupt index found, index file ({}) has {len} bytes, which are no whole number of entries of {entry_bytes}",
            file.absolute()
        )));
    }
    output.line(format_args!("{} passed sanity check.", file.shown))
}

pub(super) fn dump_time_index(
    file: &File,
    plan: &Plan,
    findings: &mut Findings,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let base_offset = file.base_offset()?;
    let bytes = read(file)?;
    let entries = stored::time_entries(&bytes, base_offset);
    if plan.index == IndexCheck::Sanity {
        let last = entries.last().map(|entry| entry.offset);
        return check_sane(file, bytes.len(), stored::TIME_ENTRY_BYTES, last, base_offset, output);
    }
    let log = file.beside(".log");
    let positions = stored::offset_entries(&read(&file.beside(".index"))?, base_offset);
    let mut before = NO_TIMESTAMP;
    for (n, entry) in entries.iter().enumerate() {
        if entry.offset == base_offset && n > 0 {
            break;
        }
        let sought = positions.iter().rev().find(|at| at.offset <= entry.offset);
        let position = sought.map_or(0, |at| at.position);
        match find_batch(&log, position, entry.offset)? {
            Found::Nothing => findings.offset_not_found(file, entry.offset, -1),
            Found::Other { last_offset } => findings.offset_not_found(file, entry.offset, last_offset),
            Found::Batch { max_timestamp } => {
                if max_timestamp != entry.timestamp {
                    findings.time_mismatch(file, entry.timestamp, max_timestamp);
                }
                if before >= entry.timestamp {
                    findings.time_out_of_order(file, entry.timestamp, before);
                }
            }
        }
        if plan.index == IndexCheck::Print {
            output.line(format_args!("timestamp: {} offset: {}", entry.timestamp, entry.offset))?;
        }
        before = entry.timestamp;
    }
    Ok(())
}

enum Found {
    Nothing,
    /// The first batch that ends there or later ends later.
    Other {
        last_offset: i64,
    },
    Batch {
        max_timestamp: i64,
    },
}

fn find_batch(log: &File, position: u32, offset: i64) -> Result<Found, Failure> {
    let mut reader = SegmentReader::open(log, u64::from(position), i32::MAX)?;
    while let Some(batch) = reader.next()? {
        let last_offset = batch.last_offset().0;
        if last_offset < offset {
            continue;
        }
        if last_offset != offset {
            return Ok(Found::Other { last_offset });
        }
        let unreadable = |error| said(format_args!("{}: {error}", log.shown));
        let mut records = batch.records(i32::MAX as usize).map_err(unreadable)?;
        let mut max_timestamp = NO_TIMESTAMP;
        while let Some(record) = records.next().map_err(unreadable)? {
            max_timestamp = max_timestamp.max(record.timestamp.0);
        }
        return Ok(Found::Batch { max_timestamp });
    }
    Ok(Found::Nothing)
}

pub(super) fn dump_txn_index(file: &File, output: &mut Output<'_>) -> Result<(), Failure> {
    for (version, txn) in stored::txn_entries(&read(file)?) {
        output.line(format_args!(
            "version: {version} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            txn.producer_id, txn.first_offset, txn.last_offset, txn.last_stable_offset
        ))?;
    }
    Ok(())
}

pub(super) fn dump_producer_snapshot(file: &File, output: &mut Output<'_>) -> Result<(), Failure> {
    let entries = match producer_snapshot::decode(&read(file)?) {
        Ok(entries) => entries,
        Err(error) => return output.tell(error),
    };
    for entry in entries {
        write!(
            output.out,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {}",
            entry.producer_id,
            entry.producer_epoch,
            entry.coordinator_epoch,
            optional_long(entry.current_txn_first_offset.0),
            entry.timestamp.0
        )?;
        if entry.last_offset.0 >= 0 {
            let first_sequence = ottla_record::decrement_sequence(entry.last_sequence, entry.offset_delta);
            write!(
                output.out,
                " firstSequence: {first_sequence} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                entry.last_sequence, entry.last_offset, entry.offset_delta, entry.timestamp.0
            )?;
        }
        output.line("")?;
    }
    Ok(())
}

fn optional_long(value: i64) -> String {
    if value < 0 { "OptionalLong.empty".to_owned() } else { format!("OptionalLong[{value}]") }
}
