//! Reading one segment from its start, and making its indexes anew.

use std::io;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset};
use tracing::{debug, warn};

use super::Loader;
use crate::checkpoint::EpochEntry;
use crate::index::TimestampOffset;
use crate::names::FileState;
use crate::producer_state::{BatchSource, ProducerBatch, ProducerStateManager};
use crate::recovery::producer_state::take_snapshot;
use crate::recovery::{OFFSET_MAX, rebuild_producer_state, split_overflowed, tolerate_full_disk};
use crate::scan::{BatchScan, ScanError};
use crate::segment::{Segment, SegmentError};

/// What was found valid in a segment.
struct Recovered {
    size: u32,
    next_offset: Offset,
    largest: TimestampOffset,
    epochs: Vec<EpochEntry>,
}

impl Loader<'_> {
    /// Checks every batch of a segment and makes its indexes anew; it is cut off at the first batch that is not valid.
    ///
    /// True: the segment had not been flushed and was cut off, or what follows does not continue it, so that the log ends
    /// in it; all later segments are removed. What had been flushed is kept, whatever lies before it.
    ///
    /// A segment whose offsets are too far apart for its indexes is split first.
    pub(super) fn recover_segment(
        &mut self,
        segment: &Arc<Segment>,
        is_unflushed: bool,
    ) -> Result<bool, SegmentError> {
        match self.try_to_recover(segment, is_unflushed) {
            Err(SegmentError::OffsetOverflow { .. }) => {}
            recovered => return recovered,
        }
        let parts = self.split(segment)?;
        for (n, part) in parts.iter().enumerate() {
            // Between the parts there may be gaps; what comes after the last one has to continue it.
            let is_last = n + 1 == parts.len();
            if self.try_to_recover(part, is_unflushed && is_last)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As a compaction replaces segments: a crash in between is finished when the log is loaded again.
    fn split(&mut self, segment: &Arc<Segment>) -> Result<Vec<Arc<Segment>>, SegmentError> {
        warn!(path = %segment.path().display(), "splitting a segment whose offsets are too far apart");
        let parts = split_overflowed(self.params.dir, segment, self.params.config, self.now.wall)?;
        for part in parts.iter().rev() {
            part.rename(FileState::Swap)?;
        }
        segment.delete_files()?;
        self.segments.remove(segment.base_offset());
        for part in &parts {
            part.rename(FileState::Live)?;
            self.segments.insert(Arc::clone(part));
        }
        Ok(parts)
    }

    fn try_to_recover(&mut self, segment: &Arc<Segment>, is_unflushed: bool) -> Result<bool, SegmentError> {
        debug!(path = %segment.path().display(), bytes = segment.size(), "recovering a segment");
        self.has_recovered = true;
        self.found_epochs_in_flushed |= !is_unflushed;
        let base_offset = segment.base_offset();
        let log_start_offset = self.log_start_offset();
        rebuild_producer_state(
            &mut self.producers,
            &self.segments,
            log_start_offset,
            base_offset,
            self.now,
            false,
        )?;
        if is_unflushed {
            // What is read now says which epochs there are from here on.
            let _ = self.leader_epochs.truncate_from_end(base_offset);
        }
        let recovered = self.read_segment(segment)?;
        let is_cut_off = recovered.size < segment.size();
        let ends_here =
            is_unflushed && (is_cut_off || self.does_not_continue(segment, recovered.next_offset));
        if ends_here {
            warn!(path = %segment.path().display(), valid_bytes = recovered.size,
                log_end_offset = %recovered.next_offset, "the log ends here");
            // Before the cut: without it, recovery after a crash sees the damage again, and removes the rest.
            self.remove_from_end(self.segments.after(base_offset).to_vec())?;
        }
        if !self.blank.contains(&base_offset) {
            self.take_over(segment, &recovered)?;
        }
        if !is_unflushed {
            // No later flush reaches below the recovery point.
            segment.flush()?;
        } else if is_cut_off {
            // What was cut off must not come back behind what is appended.
            segment.flush_batches()?;
        }
        self.leader_epochs.assign_all(&recovered.epochs);
        self.producers.set_map_end_offset(recovered.next_offset);
        take_snapshot(&mut self.producers)?;
        Ok(ends_here)
    }

    fn take_over(&self, segment: &Segment, recovered: &Recovered) -> Result<(), SegmentError> {
        segment.set_recovered(recovered.size, recovered.largest)?;
        let max_bytes = self.params.config.segment_index_bytes;
        let closing_entry = segment.time_index().maybe_append(
            recovered.largest.timestamp,
            recovered.largest.offset,
            max_bytes,
            true,
        );
        Ok(tolerate_full_disk(closing_entry.map_err(io::Error::from))?)
    }

    /// Whether the next segment does not continue this one: records are missing that had not been flushed, and what
    /// follows them is no use without them; or it was removed, and its name came back. Compaction leaves gaps where nothing is
    /// missing: not in front of a segment that continued this one when this one was not on disk.
    fn does_not_continue(&self, segment: &Segment, next_offset: Offset) -> bool {
        self.segments.higher(segment.base_offset()).is_some_and(|next| {
            let gap = next.base_offset() - next_offset;
            let may_be_compacted = self.params.config.cleanup_policy.compact
                && !self.unflushed_ends.contains(next.base_offset());
            gap < 0 || (gap > 0 && !may_be_compacted)
        })
    }

    fn read_segment(&mut self, segment: &Segment) -> Result<Recovered, SegmentError> {
        let mut recovered = Recovered {
            size: 0,
            next_offset: segment.base_offset(),
            largest: TimestampOffset { timestamp: -1, offset: segment.base_offset().0 },
            epochs: Vec::new(),
        };
        if self.blank.contains(&segment.base_offset()) {
            return Ok(recovered);
        }
        segment.offset_index().reset()?;
        segment.time_index().reset()?;
        segment.txn_index().reset()?;
        let file = segment.file()?;
        let mut scan = BatchScan::new(Arc::clone(&file), 0, segment.size());
        let mut latest_epoch = self.leader_epochs.latest_epoch();
        let mut indexed_size = 0;
        loop {
            let (position, batch) = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(ScanError::Io(error)) => return Err(error.into()),
                Err(error @ ScanError::Corrupt { .. }) => {
                    warn!(path = %segment.path().display(), "{error}");
                    break;
                }
            };
            let producer_batch = match check(&batch, recovered.next_offset) {
                Ok(producer_batch) => producer_batch,
                Err(reason) => {
                    warn!(path = %segment.path().display(), position, "no valid batch: {reason}");
                    break;
                }
            };
            let end = position + batch.size_in_bytes as u32;
            if batch.base_offset > recovered.next_offset
                && self.is_followed_by_less(segment, end, batch.last_offset())?
            {
                warn!(path = %segment.path().display(), position, offset = %batch.base_offset,
                    "no valid batch: what follows lies before it");
                break;
            }
            // Only of a batch that continues the others: the checksum does not cover the base offset, and a torn write may
            // have left zeros in its place.
            if !segment.fits(batch.last_offset()) {
                return Err(SegmentError::OffsetOverflow {
                    base_offset: segment.base_offset(),
                    offset: batch.last_offset(),
                });
            }
            let (last_offset, max_timestamp) = (batch.last_offset(), batch.max_timestamp);
            if max_timestamp.0 > recovered.largest.timestamp {
                recovered.largest = TimestampOffset { timestamp: max_timestamp.0, offset: last_offset.0 };
            }
            if position - indexed_size > self.params.config.index_interval_bytes {
                segment.add_index_entry(last_offset, position, recovered.largest, self.params.config)?;
                indexed_size = position;
            }
            let epoch = batch.partition_leader_epoch;
            if epoch >= LeaderEpoch(0) && latest_epoch.is_none_or(|latest| epoch > latest) {
                recovered.epochs.push(EpochEntry { epoch, start_offset: batch.base_offset });
                latest_epoch = Some(epoch);
            }
            recovered.size = end;
            recovered.next_offset = last_offset.next();
            if let Some(producer_batch) = producer_batch {
                replay(&mut self.producers, &producer_batch, segment)?;
            }
        }
        Ok(recovered)
    }

    /// Whether the batch at `position`, or the next segment, lies before what is in front of it: that has an offset then
    /// which nobody gave it, since the checksum does not cover it.
    fn is_followed_by_less(
        &self,
        segment: &Segment,
        position: u32,
        last_offset: Offset,
    ) -> Result<bool, SegmentError> {
        let file = segment.file()?;
        let next = match segment.headers(&*file, position).next() {
            Ok(Some(next)) => Some(next.header.base_offset),
            Err(ScanError::Io(error)) => return Err(error.into()),
            _ => self.segments.higher(segment.base_offset()).map(|next| next.base_offset()),
        };
        Ok(next.is_some_and(|next| next <= last_offset))
    }
}

/// Whether a batch is whole and continues the segment; what it says of its producer, if it has one.
fn check(batch: &ottla_record::Batch<'_>, next_offset: Offset) -> Result<Option<ProducerBatch>, String> {
    batch.check_crc().map_err(|error| error.to_string())?;
    let offsets = batch.base_offset..=batch.last_offset();
    if batch.base_offset < next_offset || offsets.is_empty() || batch.last_offset() >= OFFSET_MAX {
        return Err(format!(
            "offsets {} to {} where {next_offset} is the next one",
            batch.base_offset,
            batch.last_offset()
        ));
    }
    if !batch.has_producer_id() {
        return Ok(None);
    }
    ProducerBatch::of(batch).map(Some).map_err(|error| error.to_string())
}

/// Takes a batch of the log over into the producer state, and the transaction it aborts into the segment's index.
fn replay(
    producers: &mut ProducerStateManager,
    batch: &ProducerBatch,
    segment: &Segment,
) -> Result<(), SegmentError> {
    let mut append = producers.prepare(batch.producer_id, BatchSource::Replication);
    // From the log itself: nothing is refused.
    let Ok(completed) = append.append(batch, 0) else { return Ok(()) };
    if let Some(completed) = completed {
        for aborted in producers.aborted_txns(std::iter::once(&append), &[completed]) {
            segment.append_aborted(aborted)?;
        }
    }
    producers.update(&append);
    if let Some(completed) = completed {
        producers.complete_txn(&completed);
    }
    producers.set_map_end_offset(batch.last_offset.next());
    Ok(())
}
