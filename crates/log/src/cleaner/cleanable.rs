//! What of a log can be cleaned, and how urgently.

use std::sync::Arc;

use ottla_types::{Offset, Timestamp};
use tracing::warn;

use super::CleanError;
use crate::segment::Segment;
use crate::unified_log::UnifiedLog;

/// From where to where a log may be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CleanableOffsets {
    pub first_dirty: Offset,
    pub first_uncleanable: Offset,
    /// The checkpoint was out of the log's range and is to be written again.
    pub is_reset: bool,
}

/// A log, the part of it to clean, and how dirty it is.
#[derive(Clone, Debug)]
pub(super) struct LogToClean {
    pub log: Arc<UnifiedLog>,
    /// All before it is clean.
    pub first_dirty_offset: Offset,
    /// The base offset of the first segment that is not cleaned.
    pub first_uncleanable_offset: Offset,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// `max.compaction.lag.ms` has passed for a record (KIP-354).
    pub needs_compaction_now: bool,
}

impl LogToClean {
    pub(super) fn new(
        log: &Arc<UnifiedLog>,
        offsets: CleanableOffsets,
        needs_compaction_now: bool,
    ) -> LogToClean {
        let segments = log.segments();
        let active = segments.last().map_or(Offset::ZERO, |active| active.base_offset());
        let first_uncleanable_offset = segments
            .inactive_from(offsets.first_uncleanable)
            .first()
            .map_or(active, |segment| segment.base_offset());
        let dirty_from = offsets.first_dirty.min(first_uncleanable_offset);
        LogToClean {
            log: Arc::clone(log),
            first_dirty_offset: offsets.first_dirty,
            first_uncleanable_offset,
            clean_bytes: size_bytes(segments.range(Offset::UNKNOWN, offsets.first_dirty)),
            cleanable_bytes: match dirty_from < first_uncleanable_offset {
                true => size_bytes(segments.range(dirty_from, first_uncleanable_offset)),
                false => 0,
            },
            needs_compaction_now,
        }
    }

    pub fn total_bytes(&self) -> u64 {
        self.clean_bytes + self.cleanable_bytes
    }

    /// The share of what could be cleaned that is dirty: 0 to 1.
    pub fn cleanable_ratio(&self) -> f64 {
        match self.total_bytes() {
            0 => 0.0,
            total => self.cleanable_bytes as f64 / total as f64,
        }
    }

    /// Whether it is worth cleaning, or must be cleaned.
    pub(super) fn is_due(&self) -> bool {
        (self.needs_compaction_now && self.cleanable_bytes > 0)
            || self.cleanable_ratio() > self.log.config().min_cleanable_dirty_ratio
    }
}

fn size_bytes(segments: &[Arc<Segment>]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.size())).sum()
}

/// `clean_up_to` is what the checkpoint says.
pub(super) fn cleanable_offsets(
    log: &UnifiedLog,
    clean_up_to: Option<Offset>,
    now: Timestamp,
) -> Result<CleanableOffsets, CleanError> {
    let config = log.config();
    let log_start = log.log_start_offset();
    let checkpointed = clean_up_to.unwrap_or(log_start);
    let is_reset = checkpointed < log_start || checkpointed > log.log_end_offset();
    let policy = config.cleanup_policy;
    if is_reset && !(checkpointed < log_start && policy.compact && policy.delete) {
        warn!(partition = %log.partition(), %checkpointed, %log_start, "the cleaner's offset is out of the log's range; cleaning starts over");
    }
    let first_dirty = if is_reset { log_start } else { checkpointed };
    // What is not decided yet, and the active segment, are not touched.
    let mut first_uncleanable = log.last_stable_offset().min(log.active_segment_base_offset());
    let min_lag_ms = config.min_compaction_lag_ms.max(0);
    if min_lag_ms > 0 {
        for segment in log.segments().inactive_from(first_dirty) {
            if segment.largest_timestamp()?.0 > now.0.saturating_sub(min_lag_ms) {
                first_uncleanable = first_uncleanable.min(segment.base_offset());
                break;
            }
        }
    }
    Ok(CleanableOffsets { first_dirty, first_uncleanable: first_uncleanable.max(first_dirty), is_reset })
}

/// For how many milliseconds the oldest dirty record has exceeded `max.compaction.lag.ms`; zero if it hasn't.
pub(super) fn max_compaction_delay_ms(
    log: &UnifiedLog,
    first_dirty: Offset,
    now: Timestamp,
) -> Result<i64, CleanError> {
    let max_lag_ms = log.config().max_compaction_lag_ms.max(0);
    let clean_until = now.0.saturating_sub(max_lag_ms);
    if clean_until <= 0 {
        // By default the lag has no bound: no segment need be looked at.
        return Ok(0);
    }
    let mut delay_ms = 0;
    for segment in log.segments().inactive_from(first_dirty) {
        if let Some(first) = segment.first_batch_timestamp()?.filter(|first| first.0 > 0) {
            delay_ms = delay_ms.max(clean_until - first.0);
        }
    }
    Ok(delay_ms)
}
