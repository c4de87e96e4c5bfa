//! The second pass: writes what stays of each group of segments to a new one, which takes their place.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use ottla_types::{Now, Offset, ProducerId, Timestamp};

use super::CleanError;
use super::chunk::Chunk;
use super::cleanable::LogToClean;
use super::filter::{self, DeleteHorizon, FilterError};
use super::grouping::group;
use super::offset_map::OffsetMap;
use super::retention::{LastRecord, Retention};
use super::stats::CleanerStats;
use super::transactions::CleanedTransactions;
use crate::log_config::LogConfig;
use crate::names::FileState;
use crate::segment::{AppendedBatch, Segment};
use crate::unified_log::UnifiedLog;

/// How far the second pass is.
#[derive(Debug)]
pub(super) struct Copying {
    /// What the whole cleaning takes for now: horizons don't depend on how long it takes.
    started: Timestamp,
    upper_bound: Offset,
    legacy_delete_horizon: i64,
    groups: VecDeque<Vec<Arc<Segment>>>,
    current: Option<Group>,
    transactions: CleanedTransactions,
    output: Vec<u8>,
}

/// What all steps of a pass look at.
#[derive(Clone, Copy, Debug)]
struct Pass<'a> {
    log: &'a UnifiedLog,
    config: &'a LogConfig,
    map: &'a OffsetMap,
}

/// Segments that are being made into one.
#[derive(Debug)]
struct Group {
    sources: Vec<Arc<Segment>>,
    at: usize,
    /// In the current source; none before it was begun.
    position: Option<u32>,
    cleaned: Arc<Segment>,
    last_records: HashMap<ProducerId, LastRecord>,
}

impl Copying {
    /// `end` is the offset after the last one that was mapped.
    pub(super) fn new(to_clean: &LogToClean, end: Offset, started: Timestamp) -> Result<Copying, CleanError> {
        let log = &to_clean.log;
        let config = log.config();
        let segments = log.segments();
        // Tombstones of the older formats have no horizon of their own: theirs is that of the clean part's end.
        let last_clean = segments.range(Offset::ZERO, to_clean.first_dirty_offset).last();
        let legacy_delete_horizon = last_clean
            .map_or(0, |segment| segment.last_modified().0.saturating_sub(config.delete_retention_ms));
        let groups = group(segments.range(Offset::ZERO, end), &config, to_clean.first_uncleanable_offset)?;
        Ok(Copying {
            started,
            upper_bound: to_clean.first_uncleanable_offset,
            legacy_delete_horizon,
            groups: groups.into(),
            current: None,
            transactions: CleanedTransactions::default(),
            output: Vec::new(),
        })
    }

    /// Copies one chunk or puts a new segment in place; returns the bytes read and written, or none when all is done.
    pub(super) fn step(
        &mut self,
        log: &UnifiedLog,
        map: &OffsetMap,
        chunk: &mut Chunk,
        stats: &mut CleanerStats,
        now: Now,
    ) -> Result<Option<u64>, CleanError> {
        let config = log.config();
        let mut group = match self.current.take() {
            Some(group) => group,
            None => match self.groups.pop_front() {
                Some(sources) => Group::begin(log, sources, &config, now)?,
                None => return Ok(None),
            },
        };
        let Some(source) = group.sources.get(group.at).cloned() else {
            group.finish(log, &config, now)?;
            return Ok(Some(0));
        };
        let pass = Pass { log, config: &config, map };
        let result = self.copy_chunk(pass, &mut group, &source, chunk, stats);
        // Kept even after an error: what was begun is to be removed.
        self.current = Some(group);
        result.map(Some)
    }

    fn copy_chunk(
        &mut self,
        pass: Pass<'_>,
        group: &mut Group,
        source: &Segment,
        chunk: &mut Chunk,
        stats: &mut CleanerStats,
    ) -> Result<u64, CleanError> {
        let start = match group.position {
            Some(position) => position,
            None => {
                self.begin_source(pass.log, group, source)?;
                0
            }
        };
        let retention = Retention {
            map: pass.map,
            now: self.started,
            upper_bound: self.upper_bound,
            retain_legacy_deletes: source.last_modified().0 > self.legacy_delete_horizon,
            last_records: &group.last_records,
        };
        let delete_retention_ms = pass.config.delete_retention_ms;
        let horizon = DeleteHorizon { now: self.started, delete_retention_ms };
        self.output.clear();
        let mut appended = Vec::new();
        let mut batches = chunk.read(source, start)?;
        for batch in batches.by_ref() {
            let corrupt = |source_error| CleanError::Corrupt {
                path: source.path(),
                position: start,
                source: source_error,
            };
            let batch = batch.map_err(corrupt)?;
            // What decayed on disk must not get a checksum that says that it is right.
            batch.check_crc().map_err(corrupt)?;
            let (verdict, still_aborted) =
                retention.of_batch(&batch, &mut self.transactions).map_err(corrupt)?;
            if let Some(txn) = still_aborted {
                group.cleaned.append_aborted(txn)?;
            }
            let mut invalid = 0;
            let retain = |record: &ottla_record::Record<'_>| {
                invalid += u64::from(record.key.is_none());
                retention.of_record(&batch, record)
            };
            let (read, kept) =
                filter::filter(&batch, verdict, horizon, retain, &mut self.output).map_err(|error| {
                    match error {
                        FilterError::Record(error) => corrupt(error),
                        FilterError::Build { base_offset, source: error } => {
                            CleanError::Rewrite { path: source.path(), base_offset, source: error }
                        }
                    }
                })?;
            stats.records_read += read;
            stats.invalid_records += invalid;
            if let Some(kept) = kept {
                stats.records_written += kept.records;
                appended.push(AppendedBatch {
                    base_offset: kept.base_offset,
                    last_offset: kept.last_offset,
                    size_in_bytes: kept.size_in_bytes as u32,
                    max_timestamp: kept.max_timestamp,
                });
            }
        }
        let read = batches.position() as u32;
        group.append(&self.output, &appended, pass.config)?;
        group.advance(start + read, source);
        stats.bytes_read += u64::from(read);
        stats.bytes_written += self.output.len() as u64;
        Ok(u64::from(read) + self.output.len() as u64)
    }

    fn begin_source(&mut self, log: &UnifiedLog, group: &Group, source: &Segment) -> Result<(), CleanError> {
        let end = match group.sources.get(group.at + 1) {
            Some(next) => next.base_offset(),
            None => source.read_next_offset()?,
        };
        self.transactions.add_aborted(log.aborted_transactions(source.base_offset(), end)?);
        Ok(())
    }

    /// Removes what was written of a group that was not finished.
    pub(super) fn discard(self) -> Result<(), CleanError> {
        match self.current {
            Some(group) => Ok(group.cleaned.delete_files()?),
            None => Ok(()),
        }
    }
}

impl Group {
    fn begin(
        log: &UnifiedLog,
        sources: Vec<Arc<Segment>>,
        config: &LogConfig,
        now: Now,
    ) -> Result<Group, CleanError> {
        let base_offset = sources.first().map_or(Offset::ZERO, |first| first.base_offset());
        let cleaned =
            Segment::create(log.partition_dir(), base_offset, FileState::Cleaned, config, now.wall)?;
        // Later than all that is in the sources: what a producer writes from now on is not cleaned here.
        let last_records = log.last_records_of_active_producers();
        Ok(Group { sources, at: 0, position: None, cleaned: Arc::new(cleaned), last_records })
    }

    fn append(&self, output: &[u8], batches: &[AppendedBatch], config: &LogConfig) -> Result<(), CleanError> {
        let Some(last) = batches.last() else { return Ok(()) };
        if !self.cleaned.fits(last.last_offset) {
            return Err(CleanError::OffsetOverflow { path: self.cleaned.path(), offset: last.last_offset });
        }
        Ok(self.cleaned.append(&[IoSlice::new(output)], batches, config)?)
    }

    fn advance(&mut self, position: u32, source: &Segment) {
        self.position = Some(position);
        if position >= source.size() {
            self.at += 1;
            self.position = None;
        }
    }

    fn finish(self, log: &UnifiedLog, config: &LogConfig, now: Now) -> Result<(), CleanError> {
        self.cleaned.on_become_inactive(config)?;
        self.cleaned.flush()?;
        if let Some(last) = self.sources.last() {
            self.cleaned.set_last_modified(last.last_modified())?;
        }
        Ok(log.replace_segments(vec![self.cleaned], &self.sources, now)?)
    }
}
