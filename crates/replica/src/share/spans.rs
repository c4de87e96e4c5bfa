//! Where in a slice of a log which batches lie, read from their headers alone.

use ottla_log::FileSlice;
use ottla_log::index::AbortedTxn;
use ottla_record::{BATCH_HEADER_BYTES, Batch, BatchHeader, ControlRecordType};
use ottla_types::{Offset, ProducerId};
use ottla_wire::ErrorCode;

use super::types::LogBatch;

/// A whole batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSpan {
    pub(super) batch: LogBatch,
    /// In the slice, in bytes.
    pub(super) position: u32,
    pub(super) len: u32,
    producer_id: ProducerId,
    is_transactional: bool,
    is_control: bool,
}

/// Markers are this large at most; what is larger is none.
const CONTROL_BATCH_BYTES_MAX: u32 = 4096;

/// The batches that lie in the slice whole.
pub(super) fn of_slice(slice: &FileSlice) -> Result<Vec<BatchSpan>, ErrorCode> {
    let mut spans = Vec::new();
    let mut position = 0u32;
    let mut header_bytes = [0; BATCH_HEADER_BYTES];
    while position < slice.len {
        let read = slice.file.read_at(&mut header_bytes, slice.position + u64::from(position));
        let read = read.map_err(|_| ErrorCode::KafkaStorageError)?;
        let bytes = header_bytes.get(..read).unwrap_or_default();
        let Some(header) = BatchHeader::parse(bytes).map_err(|_| ErrorCode::CorruptMessage)? else { break };
        let len = u32::try_from(header.size_in_bytes).map_err(|_| ErrorCode::CorruptMessage)?;
        let Some(end) = position.checked_add(len).filter(|end| *end <= slice.len) else { break };
        if header.last_offset() < header.base_offset {
            return Err(ErrorCode::CorruptMessage);
        }
        spans.push(BatchSpan {
            batch: LogBatch { base_offset: header.base_offset, last_offset: header.last_offset() },
            position,
            len,
            producer_id: header.producer_id,
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
        });
        position = end;
    }
    Ok(spans)
}

/// The offsets of records that belong to transactions that were aborted.
pub(super) fn aborted(
    slice: &FileSlice,
    spans: &[BatchSpan],
    transactions: Option<&[AbortedTxn]>,
) -> Result<Vec<(Offset, Offset)>, ErrorCode> {
    let mut transactions: Vec<AbortedTxn> = transactions.unwrap_or_default().to_vec();
    if transactions.is_empty() {
        return Ok(Vec::new());
    }
    transactions.sort_by_key(|transaction| transaction.first_offset);
    let mut coming = transactions.into_iter().peekable();
    let mut producers: Vec<i64> = Vec::new();
    let mut aborted = Vec::new();
    for span in spans {
        let last = span.batch.last_offset.value();
        while let Some(transaction) = coming.next_if(|transaction| transaction.first_offset <= last) {
            producers.push(transaction.producer_id);
        }
        let id = span.producer_id.value();
        if !span.is_transactional || !producers.contains(&id) {
            continue;
        }
        if !span.is_control {
            aborted.push((span.batch.base_offset, span.batch.last_offset));
        } else if is_abort_marker(slice, span)? {
            producers.retain(|producer| *producer != id);
        }
    }
    Ok(aborted)
}

fn is_abort_marker(slice: &FileSlice, span: &BatchSpan) -> Result<bool, ErrorCode> {
    if span.len > CONTROL_BATCH_BYTES_MAX {
        return Ok(false);
    }
    let position = slice.position + u64::from(span.position);
    let marker = FileSlice { file: slice.file.clone(), position, len: span.len };
    let bytes = marker.read().map_err(|_| ErrorCode::KafkaStorageError)?;
    let corrupt = |_| ErrorCode::CorruptMessage;
    let batch = Batch::parse(&bytes).map_err(corrupt)?;
    let mut records = batch.records(CONTROL_BATCH_BYTES_MAX as usize).map_err(corrupt)?;
    let Some(record) = records.next().map_err(corrupt)? else { return Ok(false) };
    let kind = ControlRecordType::parse(record.key.unwrap_or_default()).map_err(corrupt)?;
    Ok(kind == ControlRecordType::Abort)
}
