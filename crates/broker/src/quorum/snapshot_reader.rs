//! Reads a snapshot, or `bootstrap.checkpoint`, batch by batch.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_log::disk::DiskFile;
use ottla_raft::{ControlRecord, LogError, record_batches};
use ottla_record::{Batch, Batches};
use ottla_types::Timestamp;

use super::Values;
use super::records::values;

/// Read from the file at a time, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Kafka writes batches of up to 8 MiB; a batch that claims to be much larger is taken as corrupt.
const BATCH_BYTES_MAX: usize = 128 << 20;

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
    position: u64,
    buffer: BytesMut,
    is_complete: bool,
}

impl SnapshotReader {
    pub fn new(file: Arc<dyn DiskFile>) -> SnapshotReader {
        SnapshotReader { file, position: 0, buffer: BytesMut::new(), is_complete: false }
    }

    /// The next batch; `None` after the footer.
    pub fn next_batch(&mut self) -> Result<Option<SnapshotBatch>, LogError> {
        if self.is_complete {
            return Ok(None);
        }
        loop {
            let buffered = std::mem::take(&mut self.buffer).freeze();
            let mut batches = Batches::with_size_max(&buffered, BATCH_BYTES_MAX);
            let parsed = batches.next().transpose().map_err(|error| self.corrupt(error))?;
            if let Some(batch) = parsed {
                let result = self.read_batch(&batch)?;
                let consumed = batches.position();
                self.buffer = rest_of(buffered, consumed);
                return Ok(Some(result));
            }
            self.buffer = rest_of(buffered, 0);
            if self.fill()? == 0 {
                return Err(self.corrupt("it ends without a footer"));
            }
        }
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

    fn read_batch(&mut self, batch: &Batch<'_>) -> Result<SnapshotBatch, LogError> {
        batch.check_crc().map_err(|error| self.corrupt(error))?;
        if !batch.is_control() {
            return Ok(SnapshotBatch::Data(values(batch)?));
        }
        let records = record_batches::control_records(batch).map_err(|error| self.corrupt(error))?;
        let records: Vec<ControlRecord> = records.into_iter().map(|(_, record)| record).collect();
        self.is_complete = records.contains(&ControlRecord::SnapshotFooter);
        Ok(SnapshotBatch::Control(records))
    }

    fn fill(&mut self) -> Result<usize, LogError> {
        let filled = self.buffer.len();
        // A batch larger than a chunk is put together in ever larger steps.
        self.buffer.resize(filled + CHUNK_BYTES.max(filled), 0);
        let room = self.buffer.get_mut(filled..).unwrap_or_default();
        let read = self.file.read_at(room, self.position)?;
        self.buffer.truncate(filled + read);
        self.position += read as u64;
        Ok(read)
    }

    fn corrupt(&self, reason: impl std::fmt::Display) -> LogError {
        LogError::Corrupt(format!("{}: {reason}", self.file.path().display()))
    }
}

/// What follows the first `consumed` bytes.
fn rest_of(mut bytes: Bytes, consumed: usize) -> BytesMut {
    let rest = bytes.split_off(consumed.min(bytes.len()));
    rest.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}
