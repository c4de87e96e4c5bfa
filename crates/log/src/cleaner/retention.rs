//! Which batches and records compaction keeps.
//!
//! Of each key the latest record stays; a tombstone stays until the delete horizon that its batch got when it was first
//! compacted. Records of aborted transactions go; so do records without a key. A batch that has lost all its records
//! stays as a header if it is the last one of an active producer, whose next sequence follows from it, or the last one
//! that was compacted, so that the log has no gap where followers begin to read.

use std::collections::HashMap;

use ottla_record::{Batch, BatchHeader, ControlRecordType, Record, RecordError};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::filter::{BatchVerdict, IfEmpty, RECORDS_BYTES_MAX};
use super::offset_map::OffsetMap;
use super::transactions::CleanedTransactions;
use crate::index::AbortedTxn;

/// The last thing that a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// None: it wrote nothing but markers in its epoch.
    pub last_data_offset: Option<Offset>,
    pub producer_epoch: ProducerEpoch,
}

/// What decides about the records of one source segment.
#[derive(Debug)]
pub(super) struct Retention<'a> {
    pub map: &'a OffsetMap,
    pub now: Timestamp,
    /// Up to here, not inclusively, the log may be cleaned this time.
    pub upper_bound: Offset,
    /// Tombstones of the older formats, which have no delete horizon, are too young to go.
    pub retain_legacy_deletes: bool,
    pub last_records: &'a HashMap<ProducerId, LastRecord>,
}

impl Retention<'_> {
    /// What is to be done with a batch, and the aborted transaction of which something stays although its marker has
    /// been reached.
    pub(super) fn of_batch(
        &self,
        batch: &Batch<'_>,
        transactions: &mut CleanedTransactions,
    ) -> Result<(BatchVerdict, Option<AbortedTxn>), RecordError> {
        let (can_go, still_aborted) = if batch.is_control() {
            let verdict = transactions.on_marker(batch, marker_type(batch)?);
            (verdict.can_go, verdict.still_aborted)
        } else {
            (transactions.on_data(batch), None)
        };
        let is_beyond_horizon = batch.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        let discard_records = can_go && (!batch.is_control() || is_beyond_horizon);
        let keeps_header = self.is_last_of_producer(batch) || batch.next_offset() == self.upper_bound;
        let verdict = BatchVerdict {
            discard_records,
            if_empty: if keeps_header { IfEmpty::Keep } else { IfEmpty::Remove },
            marks_empty_txn: can_go && batch.is_control(),
        };
        Ok((verdict, still_aborted))
    }

    fn is_last_of_producer(&self, batch: &BatchHeader) -> bool {
        let last = self.last_records.get(&batch.producer_id).filter(|_| batch.has_producer_id());
        last.is_some_and(|last| match last.last_data_offset {
            Some(offset) => batch.last_offset() == offset,
            None => batch.is_control() && batch.producer_epoch == last.producer_epoch,
        })
    }

    /// Whether a record stays, if its batch is not discarded as a whole.
    pub(super) fn of_record(&self, batch: &BatchHeader, record: &Record<'_>) -> bool {
        if batch.is_control() || self.map.latest_offset().is_none_or(|latest| record.offset.0 > latest) {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_latest = self.map.get(key).is_none_or(|latest| record.offset.0 >= latest);
        let is_young = if batch.is_legacy() {
            self.retain_legacy_deletes
        } else {
            batch.delete_horizon().is_none_or(|horizon| self.now < horizon)
        };
        is_latest && (record.value.is_some() || is_young)
    }
}

/// What the record of a control batch is about; none if a former cleaning removed it.
pub(super) fn marker_type(batch: &Batch<'_>) -> Result<Option<ControlRecordType>, RecordError> {
    match batch.records(RECORDS_BYTES_MAX)?.next()? {
        Some(record) => ControlRecordType::parse(record.key.unwrap_or_default()).map(Some),
        None => Ok(None),
    }
}
