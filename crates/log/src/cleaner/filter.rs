//! What is left of one batch: nothing, its header, some of its records, or all.
//!
//! A batch that is written again keeps base offset, last offset, producer, sequence and leader epoch, so that producer
//! state and replicas come to the same as with the original.

use ottla_record::{
    Batch, BatchBuilder, BatchHeader, BatchOptions, BuildError, Codec, Compression, Record, RecordError,
    empty_batch,
};
use ottla_types::{Offset, Timestamp};
use thiserror::Error;

/// More than a batch can hold when it is not compressed. What is in the log was checked when it was appended.
pub(super) const RECORDS_BYTES_MAX: usize = i32::MAX as usize;

/// What becomes of a batch without records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfEmpty {
    Remove,
    /// Its header stays: the last sequence of a producer that is still active, or the end of what was cleaned.
    Keep,
}

/// What is known about a batch before its records are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchVerdict {
    /// All records go.
    pub discard_records: bool,
    pub if_empty: IfEmpty,
    /// It is the marker of a transaction of which nothing is left: it gets a delete horizon.
    pub marks_empty_txn: bool,
}

/// When what is deleted may be forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeleteHorizon {
    pub now: Timestamp,
    pub delete_retention_ms: i64,
}

/// A batch that was kept, as it was written to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub size_in_bytes: usize,
    pub max_timestamp: Timestamp,
    pub records: u64,
}

/// Why a batch could not be cleaned.
#[derive(Debug, Error)]
pub(super) enum FilterError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("cannot write the batch at offset {base_offset} again: {source}")]
    Build { base_offset: Offset, source: BuildError },
}

/// What `retain` said about the records of a batch.
#[derive(Debug, Default)]
struct Retention {
    retain: Vec<bool>,
    retained: u64,
    has_tombstones: bool,
}

/// Appends to `output` what is left of a batch; returns how many records it had, and what was kept.
pub(super) fn filter(
    batch: &Batch<'_>,
    verdict: BatchVerdict,
    horizon: DeleteHorizon,
    retain: impl FnMut(&Record<'_>) -> bool,
    output: &mut Vec<u8>,
) -> Result<(u64, Option<Kept>), FilterError> {
    if verdict.discard_records && verdict.if_empty == IfEmpty::Remove {
        return Ok((0, None));
    }
    let retention = decide(batch, verdict, retain)?;
    let read = retention.retain.len() as u64;
    let start = output.len();
    if retention.retained == 0 {
        match verdict.if_empty {
            // The legacy formats know no empty batch, nor producers that would need one.
            IfEmpty::Keep if !batch.is_legacy() => output.extend_from_slice(&empty_batch(batch.header())),
            _ => return Ok((read, None)),
        }
    } else {
        let needs_horizon = !batch.is_legacy()
            && batch.delete_horizon().is_none()
            && (retention.has_tombstones || verdict.marks_empty_txn);
        if retention.retained == read && !needs_horizon {
            output.extend_from_slice(batch.bytes());
            return Ok((read, Some(kept(batch, read))));
        }
        let new_horizon = Timestamp(horizon.now.0.saturating_add(horizon.delete_retention_ms));
        let rewritten = rewrite(batch, &retention, needs_horizon.then_some(new_horizon))?;
        output.extend_from_slice(&rewritten);
    }
    let written = BatchHeader::parse(output.get(start..).unwrap_or_default())?;
    Ok((read, written.map(|header| kept(&header, retention.retained))))
}

fn kept(header: &BatchHeader, records: u64) -> Kept {
    Kept {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        size_in_bytes: header.size_in_bytes,
        max_timestamp: header.max_timestamp,
        records,
    }
}

fn decide(
    batch: &Batch<'_>,
    verdict: BatchVerdict,
    mut retain: impl FnMut(&Record<'_>) -> bool,
) -> Result<Retention, FilterError> {
    let mut retention = Retention::default();
    let mut records = batch.records(RECORDS_BYTES_MAX)?;
    while let Some(record) = records.next()? {
        let is_retained = !verdict.discard_records && retain(&record);
        retention.retain.push(is_retained);
        if is_retained {
            retention.retained += 1;
            retention.has_tombstones |= record.value.is_none();
        }
    }
    Ok(retention)
}

/// The batch with the retained records alone. A batch of an older format becomes one of magic 2.
fn rewrite(
    batch: &Batch<'_>,
    retention: &Retention,
    new_horizon: Option<Timestamp>,
) -> Result<Vec<u8>, FilterError> {
    let build = |source| FilterError::Build { base_offset: batch.base_offset, source };
    let codec = Codec::from_id(batch.attributes.codec_id())?;
    let mut options = BatchOptions::like(batch.header(), Compression::new(codec));
    options.delete_horizon = new_horizon.or(options.delete_horizon);
    let mut records = batch.records(RECORDS_BYTES_MAX)?;
    let mut retain = retention.retain.iter();
    let mut builder: Option<BatchBuilder> = None;
    while let Some(record) = records.next()? {
        if retain.next() != Some(&true) {
            continue;
        }
        let builder = builder.get_or_insert_with(|| {
            if batch.is_legacy() {
                // A compressed message of the old formats stands at its last record's offset.
                options.base_offset = record.offset;
            }
            BatchBuilder::with_capacity(options, batch.size_in_bytes)
        });
        builder.append_copy(record.offset, &record).map_err(build)?;
    }
    match builder {
        Some(builder) => builder.build_with_last_offset(batch.last_offset()).map_err(build),
        None => Ok(Vec::new()),
    }
}
