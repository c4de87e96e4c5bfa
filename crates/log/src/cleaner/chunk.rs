//! Reads a segment piece by piece.

use std::io;

use ottla_record::{BATCH_HEADER_BYTES, BatchPrefix, Batches, RecordError};

use super::CleanError;
use crate::segment::Segment;

/// A buffer of about `size_bytes`; it grows for a batch that is larger and shrinks again.
#[derive(Debug)]
pub(super) struct Chunk {
    size_bytes: usize,
    bytes: Vec<u8>,
}

impl Chunk {
    pub(super) fn new(size_bytes: usize) -> Chunk {
        Chunk { size_bytes: size_bytes.max(BATCH_HEADER_BYTES), bytes: Vec::new() }
    }

    /// Has the batches from `position` on, at least one if the segment is not at its end.
    pub(super) fn read(&mut self, segment: &Segment, position: u32) -> Result<Batches<'_>, CleanError> {
        let left = (segment.size().saturating_sub(position)) as usize;
        self.fill(segment, position, self.size_bytes.min(left))?;
        let corrupt = |source| CleanError::Corrupt { path: segment.path(), position, source };
        if left > 0 {
            let truncated = |needed| corrupt(RecordError::Truncated { needed, available: left });
            let first = BatchPrefix::parse(&self.bytes).map_err(corrupt)?;
            let size = first.ok_or_else(|| truncated(BATCH_HEADER_BYTES))?.size_in_bytes;
            if size > left {
                return Err(truncated(size));
            }
            if size > self.bytes.len() {
                self.fill(segment, position, size)?;
            }
        }
        Ok(Batches::new(&self.bytes))
    }

    fn fill(&mut self, segment: &Segment, position: u32, len: usize) -> io::Result<()> {
        self.bytes.resize(len, 0);
        self.bytes.shrink_to(self.size_bytes);
        let n = segment.file()?.read_at(&mut self.bytes, u64::from(position))?;
        self.bytes.truncate(n);
        Ok(())
    }
}
