//! The first pass: reads the dirty part of a log and notes each key's latest offset.

use std::sync::Arc;

use ottla_record::{Batch, RecordError};
use ottla_types::Offset;

use super::CleanError;
use super::chunk::Chunk;
use super::cleanable::LogToClean;
use super::filter::RECORDS_BYTES_MAX;
use super::offset_map::{Full, OffsetMap};
use super::retention::marker_type;
use super::stats::CleanerStats;
use super::transactions::CleanedTransactions;
use crate::index::OffsetPosition;
use crate::segment::Segment;

/// How far the first pass is.
#[derive(Debug)]
pub(super) struct Mapping {
    first_dirty_offset: Offset,
    end: Offset,
    segments: Vec<Arc<Segment>>,
    at: usize,
    /// In the current segment; none before its first batch was looked for.
    position: Option<u32>,
    transactions: CleanedTransactions,
}

/// What became of a batch.
enum Mapped {
    All,
    UpToFull,
}

impl Mapping {
    pub(super) fn new(to_clean: &LogToClean) -> Result<Mapping, CleanError> {
        let (start, end) = (to_clean.first_dirty_offset, to_clean.first_uncleanable_offset);
        let segments = to_clean.log.segments().range(start, end).to_vec();
        let mut transactions = CleanedTransactions::default();
        transactions.add_aborted(to_clean.log.aborted_transactions(start, end)?);
        Ok(Mapping { first_dirty_offset: start, end, segments, at: 0, position: None, transactions })
    }

    /// Maps one chunk; returns its bytes, or none when all is mapped that can be.
    pub(super) fn step(
        &mut self,
        map: &mut OffsetMap,
        chunk: &mut Chunk,
        stats: &mut CleanerStats,
    ) -> Result<Option<u64>, CleanError> {
        let Some(segment) = self.segments.get(self.at).cloned() else { return Ok(None) };
        let start = match self.position {
            Some(position) => position,
            None => self.first_position(&segment)?,
        };
        if start >= segment.size() {
            self.finish_segment(map);
            return Ok(Some(0));
        }
        let mut batches = chunk.read(&segment, start)?;
        for batch in batches.by_ref() {
            let corrupt = |source| CleanError::Corrupt { path: segment.path(), position: start, source };
            match self.map_batch(&batch.map_err(corrupt)?, map, stats).map_err(corrupt)? {
                Mapped::All => {}
                Mapped::UpToFull => return Ok(None),
            }
        }
        let read = batches.position() as u32;
        self.position = Some(start + read);
        stats.map_bytes_read += u64::from(read);
        Ok(Some(u64::from(read)))
    }

    fn first_position(&self, segment: &Segment) -> Result<u32, CleanError> {
        let OffsetPosition { position, .. } = segment.offset_index().lookup(self.first_dirty_offset.0)?;
        Ok(position)
    }

    fn finish_segment(&mut self, map: &mut OffsetMap) {
        self.at += 1;
        self.position = None;
        let next = self.segments.get(self.at).map_or(self.end, |next| next.base_offset());
        map.set_latest_offset(next.0 - 1);
    }

    fn map_batch(
        &mut self,
        batch: &Batch<'_>,
        map: &mut OffsetMap,
        stats: &mut CleanerStats,
    ) -> Result<Mapped, RecordError> {
        // A key that decayed on disk could hide another's latest value.
        batch.check_crc()?;
        if batch.is_control() {
            self.transactions.on_marker(batch, marker_type(batch)?);
        } else if !self.transactions.on_data(batch) {
            let mut records = batch.records(RECORDS_BYTES_MAX)?;
            while let Some(record) = records.next()? {
                stats.map_records_read += 1;
                let Some(key) = record.key.filter(|_| record.offset >= self.first_dirty_offset) else {
                    continue;
                };
                if map.put(key, record.offset.0) == Err(Full) {
                    return Ok(Mapped::UpToFull);
                }
            }
        }
        if batch.last_offset() >= self.first_dirty_offset {
            map.set_latest_offset(batch.last_offset().0);
        }
        Ok(Mapped::All)
    }
}
