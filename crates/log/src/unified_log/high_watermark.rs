//! The bounds that readers keep to: high watermark and last stable offset; and where the log starts.

use ottla_types::Offset;
use tracing::{info, warn};

use super::UnifiedLog;
use super::offsets::{LogOffsetSnapshot, Offsets};
use crate::disk::Reach;
use crate::error::{DeleteRecordsError, ReadError, StorageError};
use crate::offset_metadata::OffsetMetadata;
use crate::producer_state::ProducerStateManager;

impl UnifiedLog {
    pub fn high_watermark(&self) -> Offset {
        self.offsets.get().high_watermark.message_offset
    }

    /// As it was set last: of unknown place, perhaps.
    pub fn high_watermark_metadata(&self) -> OffsetMetadata {
        self.offsets.get().high_watermark
    }

    /// Readers of committed data see what is below: every transaction there is decided, and replicated.
    pub fn last_stable_offset(&self) -> Offset {
        self.offsets.get().last_stable().message_offset
    }

    /// Offsets that are replicated and not yet decided.
    pub fn last_stable_offset_lag(&self) -> i64 {
        let offsets = self.offsets.get();
        offsets.high_watermark.message_offset - offsets.last_stable().message_offset
    }

    /// The start of the oldest transaction that holds the last stable offset back.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.offsets.get().first_unstable.map(|first| first.message_offset)
    }

    /// All offsets at one moment, with their places.
    pub fn offset_snapshot(&self) -> Result<LogOffsetSnapshot, ReadError> {
        self.resolved_high_watermark(Reach::Disk)?;
        self.resolved_last_stable_offset(Reach::Disk)?;
        let offsets = self.offsets.get();
        Ok(LogOffsetSnapshot {
            log_start_offset: offsets.log_start,
            log_end_offset: offsets.log_end,
            high_watermark: offsets.high_watermark,
            last_stable_offset: offsets.last_stable(),
        })
    }

    /// Sets the high watermark, kept between log start and log end: to what a checkpoint, or the leader, says.
    /// Returns what it is now.
    pub fn update_high_watermark(&self, wanted: Offset) -> Offset {
        self.set_high_watermark(|offsets| {
            let wanted = OffsetMetadata::offset_only(wanted);
            if wanted.message_offset < offsets.high_watermark.message_offset {
                warn!(partition = %self.partition, from = %offsets.high_watermark, to = %wanted,
                    "the high watermark goes back");
            }
            offsets.set_high_watermark(wanted);
        });
        self.high_watermark()
    }

    /// Moves the high watermark on to `wanted` if that is further, or the same in a later segment. Returns what it was,
    /// if it was moved. It never passes the log's end.
    pub fn maybe_increment_high_watermark(&self, wanted: OffsetMetadata) -> Option<OffsetMetadata> {
        let mut moved_from = None;
        self.set_high_watermark(|offsets| {
            let old = offsets.high_watermark;
            let is_further = old.message_offset < wanted.message_offset
                || (old.message_offset == wanted.message_offset
                    && (old.on_older_segment(&wanted) || (old.is_offset_only() && !wanted.is_offset_only())));
            if is_further {
                offsets.set_high_watermark(wanted);
                moved_from = Some(old);
            }
        });
        moved_from
    }

    /// Sets the high watermark and lets go of the transactions that it has passed.
    fn set_high_watermark(&self, change: impl FnOnce(&mut Offsets)) {
        let mut offsets = self.offsets.change();
        if offsets.first_unstable.is_none() {
            return change(&mut offsets);
        }
        drop(offsets);
        let mut producers = self.writer.lock();
        offsets = self.offsets.change();
        change(&mut offsets);
        producers.on_high_watermark_updated(offsets.high_watermark.message_offset);
        publish_first_unstable(&producers, &mut offsets);
    }

    /// The log starts at `offset` from now on: records below it are gone for readers and their segments go with
    /// retention (KIP-107). True if that is news.
    pub fn maybe_increment_log_start_offset(
        &self,
        offset: Offset,
        reason: &str,
    ) -> Result<bool, DeleteRecordsError> {
        let mut producers = self.lock_writer()?;
        self.increment_log_start_offset(&mut producers, offset, reason)
    }

    pub(super) fn increment_log_start_offset(
        &self,
        producers: &mut ProducerStateManager,
        offset: Offset,
        reason: &str,
    ) -> Result<bool, DeleteRecordsError> {
        {
            let mut offsets = self.offsets.change();
            let high_watermark = offsets.high_watermark.message_offset;
            if offset > high_watermark {
                let partition = self.partition.clone();
                return Err(DeleteRecordsError::BeyondHighWatermark { partition, offset, high_watermark });
            }
            if offset <= offsets.log_start {
                return Ok(false);
            }
            offsets.log_start = offset;
            producers.on_log_start_offset_incremented(offset);
            publish_first_unstable(producers, &mut offsets);
        }
        info!(partition = %self.partition, %offset, "log start offset incremented: {reason}");
        if self.leader_epochs.truncate_from_start(offset) {
            self.flush_leader_epochs()?;
        }
        Ok(true)
    }

    pub(super) fn flush_leader_epochs(&self) -> Result<(), StorageError> {
        self.leader_epochs
            .flush()
            .map_err(|error| self.failed("writing the leader epoch checkpoint", error.into()))
    }

    /// The high watermark with its place, which is looked up once.
    pub(super) fn resolved_high_watermark(&self, reach: Reach) -> Result<OffsetMetadata, ReadError> {
        let high_watermark = self.offsets.get().high_watermark;
        self.resolve(high_watermark, reach, |offsets| &mut offsets.high_watermark)
    }

    pub(super) fn resolved_last_stable_offset(&self, reach: Reach) -> Result<OffsetMetadata, ReadError> {
        self.resolved_last_stable_offset_of(&self.offsets.get(), reach)
    }

    /// All that it goes by is of one moment: a high watermark that has moved on since may have passed a transaction that
    /// was not there yet.
    pub(super) fn resolved_last_stable_offset_of(
        &self,
        offsets: &Offsets,
        reach: Reach,
    ) -> Result<OffsetMetadata, ReadError> {
        let high_watermark = offsets.high_watermark;
        match offsets.first_unstable {
            Some(first) if first.message_offset < high_watermark.message_offset => {
                let truncations = self.truncations();
                let placed = self.place_of(first, reach)?;
                let mut offsets = self.offsets.change();
                if offsets.first_unstable == Some(first) && !self.is_truncated_since(truncations) {
                    offsets.first_unstable = Some(placed);
                }
                Ok(placed)
            }
            _ => self.resolve(high_watermark, reach, |offsets| &mut offsets.high_watermark),
        }
    }

    fn resolve(
        &self,
        wanted: OffsetMetadata,
        reach: Reach,
        field: impl Fn(&mut Offsets) -> &mut OffsetMetadata,
    ) -> Result<OffsetMetadata, ReadError> {
        if !wanted.is_offset_only() {
            return Ok(wanted);
        }
        let truncations = self.truncations();
        let placed = self.place_of(wanted, reach)?;
        let mut offsets = self.offsets.change();
        let stored = field(&mut offsets);
        // The same offset may have come to lie elsewhere.
        if *stored == wanted && !self.is_truncated_since(truncations) {
            *stored = placed;
        }
        Ok(placed)
    }
}

/// Publishes what bounds the last stable offset; a place that is known already stays.
pub(super) fn publish_first_unstable(producers: &ProducerStateManager, offsets: &mut Offsets) {
    let first = producers.first_unstable_offset().map(|offset| offset.max(offsets.log_start));
    if first != offsets.first_unstable.map(|first| first.message_offset) {
        offsets.first_unstable = first.map(OffsetMetadata::offset_only);
    }
}
