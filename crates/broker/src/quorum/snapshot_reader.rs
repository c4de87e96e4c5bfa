//! Reads a snapshot, or `bootstrap.checkpoint`, batch by batch.

use std::io;
use std::sync::Arc;

use ottla_log::disk::DiskFile;
use ottla_log::scan::{BatchScan, ScanError};
use ottla_raft::{ControlRecord, LogError, record_batches};
use ottla_types::Timestamp;

use super::Values;
use super::records::{corrupt, values};

/// One batch of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotBatch {
    Control(Vec<ControlRecord>),
    Data(Values),
}

/// A snapshot file from its beginning to its end. What always holds: checksums are verified, and a file that ends without
/// a footer is an error.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    scan: BatchScan,
    is_complete: bool,
}

impl SnapshotReader {
    pub fn new(file: Arc<dyn DiskFile>) -> io::Result<SnapshotReader> {
        let scan = BatchScan::whole(Arc::clone(&file))?;
        Ok(SnapshotReader { file, scan, is_complete: false })
    }

    /// The next batch; `None` after the footer.
    pub fn next_batch(&mut self) -> Result<Option<SnapshotBatch>, LogError> {
        if self.is_complete {
            return Ok(None);
        }
        match self.read_batch() {
            Err(LogError::Corrupt(reason)) => {
                Err(LogError::Corrupt(format!("{}: {reason}", self.file.path().display())))
            }
            read => read,
        }
    }

    fn read_batch(&mut self) -> Result<Option<SnapshotBatch>, LogError> {
        let batch = match self.scan.next() {
            Ok(Some((_, batch))) => batch,
            Ok(None) => return Err(corrupt("it ends without a footer")),
            Err(ScanError::Io(error)) => return Err(error.into()),
            Err(error @ ScanError::Corrupt { .. }) => return Err(corrupt(error)),
        };
        batch.check_crc().map_err(corrupt)?;
        if !batch.is_control() {
            return Ok(Some(SnapshotBatch::Data(values(&batch)?)));
        }
        let records = record_batches::control_records(&batch).map_err(corrupt)?;
        let records: Vec<ControlRecord> = records.into_iter().map(|(_, record)| record).collect();
        self.is_complete = records.contains(&ControlRecord::SnapshotFooter);
        Ok(Some(SnapshotBatch::Control(records)))
    }

    /// The timestamp in the first record, the snapshot's header; `None` if it begins with something else.
    pub(super) fn header(&mut self) -> Result<Option<Timestamp>, LogError> {
        let Some(SnapshotBatch::Control(records)) = self.next_batch()? else {
            return Ok(None);
        };
        Ok(records.iter().find_map(|record| match record {
            ControlRecord::SnapshotHeader { last_contained_log_timestamp } => {
                Some(Timestamp(*last_contained_log_timestamp))
            }
            _ => None,
        }))
    }
}
