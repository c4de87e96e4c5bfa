//! Opening the files of a log, and making a log of them again after an unclean stop.
//!
//! What always holds afterwards: the log is a prefix of what was appended, with all that was flushed; every batch that
//! was not known to be on disk has been read and its checksum checked, and the indexes, leader epochs and producer state
//! over it are made anew. A log that was closed is taken as it is, and nothing of it is read but its end.
//!
//! A crash during recovery is harmless: what is removed is removed from the end of the log backwards.

mod leftovers;
mod producer_state;
mod segment;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use self::producer_state::{rebuild_producer_state, replay_segment};
pub(crate) use self::split::split_overflowed;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use ottla_types::{Now, Offset, TopicPartition};
use tracing::{info, warn};

use self::leftovers::{FoundFile, FoundFiles};
use crate::context::{LogContext, is_no_space};
use crate::leader_epoch_cache::LeaderEpochCache;
use crate::log_config::LogConfig;
use crate::names::{FileKind, FileState};
use crate::offset_metadata::OffsetMetadata;
use crate::partition_dir::PartitionDir;
use crate::producer_state::ProducerStateManager;
use crate::segment::{Segment, SegmentError};
use crate::segments::Segments;
use crate::unflushed_ends::UnflushedEnds;

/// No log gets there: an offset beyond comes from a file that was damaged, or is no log's, and soon there would be no
/// next one to give to a record.
pub(crate) const OFFSET_MAX: Offset = Offset(i64::MAX / 2);

/// What to load, and what is known about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadParams<'a> {
    pub dir: &'a Arc<PartitionDir>,
    pub context: &'a LogContext,
    pub partition: &'a TopicPartition,
    pub config: &'a LogConfig,
    pub had_clean_shutdown: bool,
    pub log_start_offset: Offset,
    pub recovery_point: Offset,
}

/// A log's parts, loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub segments: Segments,
    pub leader_epochs: LeaderEpochCache,
    pub producers: ProducerStateManager,
    pub log_start_offset: Offset,
    pub log_end_offset: OffsetMetadata,
    pub recovery_point: Offset,
    pub unflushed_ends: UnflushedEnds,
}

/// Loads a log from its directory. An empty directory becomes an empty log.
pub(crate) fn load(params: &LoadParams<'_>, now: Now) -> Result<Loaded, SegmentError> {
    let found = leftovers::tidy(params.dir)?;
    let producers = ProducerStateManager::new(
        params.dir,
        &params.context.producer_state,
        found.offsets_of(FileKind::ProducerSnapshot),
    );
    let leader_epochs = LeaderEpochCache::open(Arc::clone(params.dir)).map_err(io::Error::from)?;
    let mut loader = Loader {
        params,
        now,
        leader_epochs,
        producers,
        segments: Segments::default(),
        recovered_from: None,
        found_epochs_in_flushed: false,
        has_recovered: false,
        blank: found.blank_segments(),
        unflushed_ends: UnflushedEnds::new(params.dir, found.unflushed_ends.clone()),
    };
    if params.had_clean_shutdown {
        loader.unflushed_ends.retain(|_| false)?;
    } else {
        loader.unflushed_ends.flushed_up_to(params.recovery_point)?;
    }
    loader.load_segments(&found)?;
    let log_end_offset = loader.find_log_end()?;
    loader.finish(log_end_offset)
}

struct Loader<'a> {
    params: &'a LoadParams<'a>,
    now: Now,
    leader_epochs: LeaderEpochCache,
    producers: ProducerStateManager,
    segments: Segments,
    /// The first segment that had not been flushed.
    recovered_from: Option<Offset>,
    /// Epochs were read from batches that no later recovery reads. All others are found again as they were now.
    found_epochs_in_flushed: bool,
    has_recovered: bool,
    /// Segments without a byte in any of their files: there is nothing to check.
    blank: BTreeSet<Offset>,
    unflushed_ends: UnflushedEnds,
}

/// What a look at a segment's files says about its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexes {
    Sound,
    MustBeRebuilt,
}

impl Loader<'_> {
    fn load_segments(&mut self, found: &FoundFiles) -> Result<(), SegmentError> {
        let mut segments = BTreeMap::new();
        for (base_offset, file) in found.logs() {
            segments.insert(base_offset, self.segment(base_offset, file)?);
        }
        self.segments = segments.into_values().collect();
        // Before any of them is used: where segments are gone, an older snapshot is the state of nothing that is there.
        self.remove_stray_snapshots()?;
        let unflushed: BTreeSet<Offset> = match self.params.had_clean_shutdown {
            true => BTreeSet::new(),
            false => self
                .segments
                .range(self.params.recovery_point, Offset::MAX)
                .iter()
                .map(|segment| segment.base_offset())
                .collect(),
        };
        self.recovered_from = unflushed.first().copied();
        let mut recovered = 0;
        for segment in self.segments.clone().iter() {
            let is_unflushed = unflushed.contains(&segment.base_offset());
            let must_recover =
                is_unflushed || self.look_at_indexes(segment, found)? == Indexes::MustBeRebuilt;
            if must_recover && self.recover_segment(segment, is_unflushed)? {
                break;
            }
            recovered += usize::from(is_unflushed);
            // One alone is told with its log.
            if is_unflushed && unflushed.len() > 1 {
                info!(partition = %self.params.partition, base_offset = %segment.base_offset(), recovered,
                    of = unflushed.len(), "recovered a segment");
            }
        }
        Ok(())
    }

    fn segment(&self, base_offset: Offset, file: FoundFile) -> io::Result<Arc<Segment>> {
        let FoundFile { len, modified } = file;
        let (dir, config) = (self.params.dir, self.params.config);
        let segment =
            |size| Segment::existing(dir, base_offset, FileState::Live, size, config, self.now.wall);
        let no_segment = |what: String| {
            let path = segment(0).path();
            let message = format!(
                "{} {what}: move it and its indexes away if it is not Kafka's, or restore it from a copy",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        if base_offset > OFFSET_MAX {
            return Err(no_segment("begins at an offset that no log gets to".to_owned()));
        }
        let size = u32::try_from(len).ok().filter(|&size| size <= i32::MAX as u32);
        let size =
            size.ok_or_else(|| no_segment(format!("has {len} bytes, more than a segment can have")))?;
        let segment = segment(size);
        segment.note_last_modified(modified);
        Ok(Arc::new(segment))
    }

    fn look_at_indexes(&self, segment: &Segment, found: &FoundFiles) -> Result<Indexes, SegmentError> {
        let base_offset = segment.base_offset();
        if !found.has(base_offset, FileKind::OffsetIndex) {
            warn!(path = %segment.path().display(), "the offset index is missing: the indexes are rebuilt");
            return Ok(Indexes::MustBeRebuilt);
        }
        if !found.has(base_offset, FileKind::TxnIndex) {
            return Ok(Indexes::Sound);
        }
        match segment.txn_index().sanity_check() {
            Err(error) if error.is_corrupt() => {
                warn!("{error}: the indexes are rebuilt");
                Ok(Indexes::MustBeRebuilt)
            }
            checked => checked.map(|()| Indexes::Sound).map_err(SegmentError::from),
        }
    }

    /// The offset after the last record. A log that was closed, and whose end makes no sense nevertheless, is recovered
    /// from its last segment on.
    fn find_log_end(&mut self) -> Result<Offset, SegmentError> {
        let mut log_end = None;
        if let Some(last) = self.segments.last().map(Arc::clone) {
            let may_end_at = |end: Offset| (last.base_offset()..=OFFSET_MAX).contains(&end);
            log_end = Some(match last.read_next_offset() {
                Ok(end) if may_end_at(end) => end,
                Ok(_) | Err(SegmentError::Corrupt { .. }) => {
                    warn!(path = %last.path().display(), "the end of the log is damaged: it is recovered");
                    self.recover_segment(&last, true)?;
                    last.read_next_offset()?
                }
                Err(error) => return Err(error),
            });
        }
        let log_start_offset = self.params.log_start_offset;
        if let Some(end) = log_end.filter(|&end| end < log_start_offset) {
            warn!(partition = %self.params.partition, log_end_offset = %end, %log_start_offset,
                "the log ends before it starts, as if its files had been removed: it starts anew");
            self.remove_from_end(self.segments.iter().cloned().collect())?;
            let _ = self.leader_epochs.truncate_from_end(Offset::ZERO);
            self.producers.truncate_fully_and_start_at(log_start_offset)?;
            log_end = None;
        }
        if let Some(end) = log_end {
            return Ok(end);
        }
        let config = self.params.config;
        let first = Segment::create_whole(self.params.dir, log_start_offset, config, self.now.wall)?;
        self.segments.insert(Arc::new(first));
        Ok(log_start_offset)
    }

    fn finish(mut self, log_end_offset: Offset) -> Result<Loaded, SegmentError> {
        let log_start_offset = self.log_start_offset();
        let _ = self.leader_epochs.truncate_from_end(log_end_offset);
        let _ = self.leader_epochs.truncate_from_start(self.params.log_start_offset);
        if self.found_epochs_in_flushed {
            self.leader_epochs.flush().map_err(io::Error::from)?;
        }
        self.remove_stray_snapshots()?;
        let clean = self.params.had_clean_shutdown;
        rebuild_producer_state(
            &mut self.producers,
            &self.segments,
            log_start_offset,
            log_end_offset,
            self.now,
            clean,
        )?;
        if self.producers.highest_removed_snapshot() > Some(log_end_offset) {
            self.params.context.disk.sync_dir(&self.params.dir.path())?;
        }
        // The indexes of what was recovered are not on disk: its next flush must reach back to them.
        let recovery_point = match self.recovered_from {
            _ if clean => log_end_offset,
            Some(base_offset) => self.params.recovery_point.min(base_offset),
            None => self.params.recovery_point.min(log_end_offset),
        };
        self.unflushed_ends.retain(|base_offset| self.segments.get(base_offset).is_some())?;
        self.free_files()?;
        let (base_offset, size) =
            self.segments.last().map_or((Offset::ZERO, 0), |active| (active.base_offset(), active.size()));
        Ok(Loaded {
            log_start_offset,
            log_end_offset: OffsetMetadata::new(log_end_offset, base_offset, size),
            recovery_point,
            segments: self.segments,
            leader_epochs: self.leader_epochs,
            producers: self.producers,
            unflushed_ends: self.unflushed_ends,
        })
    }

    /// A log that was only looked at, or has just been made, costs no open files until it is used. What was recovered keeps
    /// them: its next flush goes by what is open.
    fn free_files(&self) -> Result<(), SegmentError> {
        if self.params.had_clean_shutdown && !self.has_recovered {
            self.segments.iter().try_for_each(|segment| segment.free())?;
        }
        Ok(())
    }

    fn remove_stray_snapshots(&mut self) -> io::Result<()> {
        let base_offsets = self.segments.iter().map(|segment| segment.base_offset()).collect();
        self.producers.remove_stray_snapshots(&base_offsets)
    }

    /// The checkpoint may be older than the last deletion of segments: a producer snapshot from before the first one says
    /// nothing of what was between.
    fn log_start_offset(&self) -> Offset {
        let first = self.segments.first().map_or(Offset::ZERO, |first| first.base_offset());
        self.params.log_start_offset.max(first)
    }

    /// Removes segments and their snapshots, the last ones first, so that what a crash leaves is still a prefix.
    fn remove_from_end(&mut self, mut removed: Vec<Arc<Segment>>) -> Result<(), SegmentError> {
        if removed.is_empty() {
            return Ok(());
        }
        info!(partition = %self.params.partition, segments = removed.len(), "removing segments");
        removed.sort_by_key(|segment| std::cmp::Reverse(segment.base_offset()));
        for segment in removed {
            segment.delete_files()?;
            if self.producers.retire_snapshot(segment.base_offset())? {
                crate::producer_state::delete_retired(self.params.dir, segment.base_offset())?;
            }
            self.segments.remove(segment.base_offset());
        }
        self.params.context.disk.sync_dir(&self.params.dir.path())?;
        Ok(())
    }
}

/// What is only for a faster start may be missing on a full disk.
fn tolerate_full_disk(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_no_space(&error) => {
            warn!("{error}");
            Ok(())
        }
        other => other,
    }
}
