//! Walks the batches of a file: of a segment's, or of a snapshot's of the metadata.
//!
//! A walk covers bytes that the caller knows to hold whole batches. What does not parse, or reaches over the end, is
//! reported as corrupt with its position; nothing is allocated by what a batch claims beyond the bytes that are there.

use std::io;
use std::sync::Arc;

use ottla_record::{BATCH_HEADER_BYTES, Batch, BatchHeader, BatchPrefix, RecordError};
use thiserror::Error;

use crate::disk::{DiskFile, Reach};

/// Read at once while batches are small: about as much as lies between two entries of an offset index.
const HEADER_CHUNK_BYTES: u32 = 8 * 1024;
/// Read at once when whole batches are wanted.
const BATCH_CHUNK_BYTES: u32 = 256 * 1024;

/// Why a walk ended before the end.
#[derive(Debug, Error)]
pub enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no valid batch at byte {position}: {source}")]
    Corrupt { position: u32, source: RecordError },
}

/// A batch's header and where the batch starts in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderAt {
    pub position: u32,
    pub header: BatchHeader,
}

/// Walks headers alone.
#[derive(Debug)]
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn DiskFile,
    reach: Reach,
    position: u32,
    end: u32,
    chunk: Vec<u8>,
    chunk_position: u32,
    /// Batches are larger than a chunk, so each read can be of use for one header only.
    sparse: bool,
}

impl<'a> HeaderScan<'a> {
    /// Walks the batches from `position` to `end`.
    pub fn new(file: &'a dyn DiskFile, position: u32, end: u32) -> HeaderScan<'a> {
        HeaderScan {
            file,
            reach: Reach::Disk,
            position,
            end,
            chunk: Vec::new(),
            chunk_position: position,
            sparse: false,
        }
    }

    pub fn within(self, reach: Reach) -> HeaderScan<'a> {
        HeaderScan { reach, ..self }
    }

    pub fn next(&mut self) -> Result<Option<HeaderAt>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let corrupt = |source| ScanError::Corrupt { position, source };
        let available = (self.end - position) as usize;
        let truncated = |needed| corrupt(RecordError::Truncated { needed, available });
        self.fill()?;
        let header = BatchHeader::parse(self.at_position())
            .map_err(corrupt)?
            .ok_or_else(|| truncated(BATCH_HEADER_BYTES))?;
        if header.size_in_bytes > available {
            return Err(truncated(header.size_in_bytes));
        }
        self.sparse = header.size_in_bytes as u64 >= u64::from(HEADER_CHUNK_BYTES);
        self.position += header.size_in_bytes as u32;
        Ok(Some(HeaderAt { position, header }))
    }

    fn at_position(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.chunk_position).unwrap_or(u32::MAX) as usize;
        self.chunk.get(offset..).unwrap_or_default()
    }

    /// Has a header's bytes in the chunk, if the file has them.
    fn fill(&mut self) -> io::Result<()> {
        let left = self.end - self.position;
        if self.at_position().len() >= BATCH_HEADER_BYTES.min(left as usize) {
            return Ok(());
        }
        let wanted = if self.sparse { BATCH_HEADER_BYTES as u32 } else { HEADER_CHUNK_BYTES }.min(left);
        self.chunk.resize(wanted as usize, 0);
        self.chunk_position = self.position;
        let read = self.reach.read_at(self.file, &mut self.chunk, u64::from(self.position))?;
        self.chunk.truncate(read);
        Ok(())
    }
}

/// Walks whole batches.
#[derive(Debug)]
pub struct BatchScan {
    file: Arc<dyn DiskFile>,
    position: u32,
    end: u32,
    chunk: Vec<u8>,
    chunk_position: u32,
}

impl BatchScan {
    /// Walks the batches from `position` to `end`.
    pub fn new(file: Arc<dyn DiskFile>, position: u32, end: u32) -> BatchScan {
        BatchScan { file, position, end, chunk: Vec::new(), chunk_position: position }
    }

    /// Walks all that the file has by now. Files of batches have less than 2 GiB.
    pub fn whole(file: Arc<dyn DiskFile>) -> io::Result<BatchScan> {
        let end = u32::try_from(file.len()?).unwrap_or(u32::MAX);
        Ok(BatchScan::new(file, 0, end))
    }

    /// The next batch and its position. Its checksum is not checked.
    #[expect(clippy::should_implement_trait, reason = "it lends what it has read")]
    pub fn next(&mut self) -> Result<Option<(u32, Batch<'_>)>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let corrupt = |source| ScanError::Corrupt { position, source };
        let available = (self.end - position) as usize;
        let truncated = |needed| corrupt(RecordError::Truncated { needed, available });
        self.fill(BATCH_HEADER_BYTES as u32)?;
        let size = BatchPrefix::parse(self.at_position())
            .map_err(corrupt)?
            .ok_or_else(|| truncated(BATCH_HEADER_BYTES))?
            .size_in_bytes;
        if size > available {
            return Err(truncated(size));
        }
        self.fill(size as u32)?;
        self.position += size as u32;
        let offset = (position - self.chunk_position) as usize;
        let batch = Batch::parse(self.chunk.get(offset..).unwrap_or_default()).map_err(corrupt)?;
        Ok(Some((position, batch)))
    }

    fn at_position(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.chunk_position).unwrap_or(u32::MAX) as usize;
        self.chunk.get(offset..).unwrap_or_default()
    }

    /// Has `needed` bytes from the position on in the chunk, if the file has them. They lie before the end.
    fn fill(&mut self, needed: u32) -> io::Result<()> {
        let left = self.end - self.position;
        if self.at_position().len() >= needed.min(left) as usize {
            return Ok(());
        }
        let wanted = needed.max(BATCH_CHUNK_BYTES).min(left);
        self.chunk.resize(wanted as usize, 0);
        self.chunk_position = self.position;
        let read = self.file.read_at(&mut self.chunk, u64::from(self.position))?;
        self.chunk.truncate(read);
        Ok(())
    }
}
