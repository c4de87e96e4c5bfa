//! Batches of a segment's file, one at a time.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};

use ottla_record::{BATCH_PREFIX_BYTES, Batch, BatchPrefix, LOG_OVERHEAD_BYTES};

use super::File;
use crate::tool::{Failure, said};

/// Reads batches from a range of a file. Holds one of them; the bytes of a batch are bounded by those that the file has.
pub(crate) struct SegmentReader {
    file: io::BufReader<fs::File>,
    shown: String,
    position: u64,
    end: u64,
    bytes: Vec<u8>,
}

impl SegmentReader {
    /// From `position` on, at most `bytes_max` bytes.
    pub(crate) fn open(file: &File, position: u64, bytes_max: i32) -> Result<SegmentReader, Failure> {
        let opened = fs::File::open(&file.path).map_err(|error| file.unreadable(error))?;
        let len = opened.metadata().map_err(|error| file.unreadable(error))?.len();
        let mut reader = io::BufReader::new(opened);
        reader.seek(SeekFrom::Start(position)).map_err(|error| file.unreadable(error))?;
        let end = len.min(position.saturating_add(u64::from(bytes_max.unsigned_abs())));
        Ok(SegmentReader { file: reader, shown: file.shown.clone(), position, end, bytes: Vec::new() })
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `None` where no whole batch follows.
    pub(crate) fn next(&mut self) -> Result<Option<Batch<'_>>, Failure> {
        let left = self.end.saturating_sub(self.position);
        if left < BATCH_PREFIX_BYTES as u64 {
            return Ok(None);
        }
        self.bytes.clear();
        self.read(BATCH_PREFIX_BYTES)?;
        let corrupt = |error| {
            let (shown, position) = (&self.shown, self.position);
            said(format_args!("{shown}: there is no batch at position {position}: {error}"))
        };
        let Some(prefix) = BatchPrefix::parse(&self.bytes).map_err(corrupt)? else { return Ok(None) };
        let size = prefix.size_in_bytes;
        if size < LOG_OVERHEAD_BYTES || size as u64 > left {
            return Ok(None);
        }
        self.read(size.saturating_sub(BATCH_PREFIX_BYTES))?;
        let batch = Batch::parse(&self.bytes).map_err(|error| {
            let (shown, position) = (&self.shown, self.position);
            said(format_args!("{shown}: the batch at position {position} can't be read: {error}"))
        })?;
        self.position += size as u64;
        Ok(Some(batch))
    }

    fn read(&mut self, count: usize) -> Result<(), Failure> {
        let read = self.file.by_ref().take(count as u64).read_to_end(&mut self.bytes);
        match read {
            Ok(read) if read == count => Ok(()),
            Ok(_) => Err(said(format_args!("{}: it ended while it was read", self.shown))),
            Err(error) => Err(said(format_args!("{}: {error}", self.shown))),
        }
    }
}
