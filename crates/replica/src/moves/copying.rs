//! One log becomes a copy of another that goes on meanwhile.

use bytes::Bytes;
use ottla_log::leader_epoch_cache::EpochEndOffset;
use ottla_log::log_manager::LogManager;
use ottla_log::{
    AppendError, DeleteRecordsError, FetchIsolation, OffsetMetadata, ReadError, StorageError, UnifiedLog,
};
use ottla_types::{LeaderEpoch, Now, Offset};
use thiserror::Error;

/// In one step.
const COPY_BYTES_MAX: u32 = 1024 * 1024;

/// Why a log was not copied on.
#[derive(Debug, Error)]
pub(crate) enum MoveError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("reading the records: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Whether the copy lacks something, or has what the log has no more.
pub(crate) fn is_behind(current: &UnifiedLog, copy: &UnifiedLog) -> bool {
    current.log_end_offset() != copy.log_end_offset() || parts_at(current, copy).is_some()
}

/// Brings a copy nearer to its log, by up to [`COPY_BYTES_MAX`]; returns how many bytes were copied. What the log has lost the
/// copy loses too.
pub(crate) fn copy_some(
    logs: &LogManager,
    current: &UnifiedLog,
    copy: &UnifiedLog,
    now: Now,
) -> Result<u64, MoveError> {
    if let Some(common) = parts_at(current, copy) {
        tracing::info!(partition = %copy.partition(), from = %copy.log_end_offset(), to = %common,
            "truncates the log that a replica moves to: the log it is a copy of parts from it");
        logs.truncate_to(copy, common, now)?;
    }
    let start = current.log_start_offset();
    if copy.log_end_offset() < start {
        logs.truncate_fully_and_start_at(copy, start, None, now)?;
    }
    let at = copy.log_end_offset();
    let copied = if at < current.log_end_offset() { copy_from(current, copy, at, now)? } else { 0 };
    copy.maybe_increment_high_watermark(OffsetMetadata::offset_only(current.high_watermark()));
    match copy
        .maybe_increment_log_start_offset(current.log_start_offset(), "as in the log that it is a copy of")
    {
        // It follows when the high watermark does.
        Ok(_) | Err(DeleteRecordsError::BeyondHighWatermark { .. }) => {}
        Err(DeleteRecordsError::Storage(error)) => return Err(error.into()),
    }
    Ok(copied)
}

fn copy_from(current: &UnifiedLog, copy: &UnifiedLog, at: Offset, now: Now) -> Result<u64, MoveError> {
    // One append can't be larger than a segment; a first batch comes whole in any case.
    let max_bytes = COPY_BYTES_MAX.min(copy.config().segment_bytes);
    let found = match current.read(at, max_bytes, FetchIsolation::LogEnd, true) {
        Ok(found) => found,
        // Records were deleted meanwhile, or cut off: the next step begins where the log is then.
        Err(ReadError::OffsetOutOfRange { .. }) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let Some(slice) = found.records else { return Ok(0) };
    let records = Bytes::from(slice.read()?);
    let bytes = records.len() as u64;
    // Of any epoch: what the log has may be copied.
    copy.append_as_follower(&records, LeaderEpoch(i32::MAX), now)?;
    Ok(bytes)
}

/// Where the copy goes on with what is not in the log, if it does: as a follower's log is compared with its leader's.
fn parts_at(current: &UnifiedLog, copy: &UnifiedLog) -> Option<Offset> {
    let copy_end = copy.log_end_offset();
    let Some(epoch) = copy.latest_epoch() else {
        return (copy_end > current.log_end_offset()).then(|| current.log_end_offset());
    };
    let end = current.end_offset_for_epoch(epoch);
    if end == EpochEndOffset::UNKNOWN {
        // The log has begun anew, without anything that it had: nothing is in common.
        return Some(copy.log_start_offset()).filter(|start| *start < copy_end);
    }
    if end.epoch == epoch && end.end_offset >= copy_end {
        return None;
    }
    let own = copy.end_offset_for_epoch(end.epoch);
    let common = if own.epoch == end.epoch { own.end_offset.min(end.end_offset) } else { end.end_offset };
    Some(common.min(copy_end))
}
