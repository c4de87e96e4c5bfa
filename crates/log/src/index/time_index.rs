//! Timestamps of a segment and the offsets after which they are exceeded: `<base offset>.timeindex`.
//!
//! An entry has 12 bytes, big-endian: the largest timestamp so far, in milliseconds, and the offset of its record
//! relative to the base. All later records with a larger timestamp have larger offsets, so both grow from entry to
//! entry.

use std::path::PathBuf;
use std::sync::Arc;

use super::IndexError;
use super::entries::{Entries, Entry};
use crate::names::{FileKind, FileState};
use crate::partition_dir::PartitionDir;

/// A timestamp, in milliseconds, and the offset of the record that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
}

#[derive(Clone, Copy, Debug)]
struct Raw {
    timestamp: i64,
    relative_offset: i32,
}

impl Entry for Raw {
    const SIZE: usize = 12;
    const KIND: FileKind = FileKind::TimeIndex;
    const WRITE_THROUGH: bool = false;

    fn decode(bytes: &[u8]) -> Option<Raw> {
        let (timestamp, relative_offset) = bytes.split_first_chunk::<8>()?;
        Some(Raw {
            timestamp: i64::from_be_bytes(*timestamp),
            relative_offset: i32::from_be_bytes(*relative_offset.first_chunk()?),
        })
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
}

/// The time index of one segment.
#[derive(Debug)]
pub struct TimeIndex {
    entries: Entries<Raw>,
}

impl TimeIndex {
    /// Touches no file: the first use does.
    pub fn new(dir: Arc<PartitionDir>, base_offset: i64, state: FileState) -> TimeIndex {
        TimeIndex { entries: Entries::new(dir, base_offset, state) }
    }

    pub fn path(&self) -> PathBuf {
        self.entries.path()
    }

    /// The last entry whose timestamp is not larger than `timestamp`; (-1, base offset) if there is none.
    pub fn lookup(&self, timestamp: i64) -> Result<TimestampOffset, IndexError> {
        let (_, found) =
            self.entries.partition_point(|entry| entry.timestamp, timestamp.saturating_add(1))?;
        Ok(found.map_or(self.start(), |entry| self.absolute(entry)))
    }

    /// Appends unless the last timestamp is not exceeded: an equal one is no error and adds nothing.
    /// `max_size_bytes` is `segment.index.bytes`; the last slot of it is taken only with `even_if_full`, by the entry
    /// that closes a segment.
    pub fn maybe_append(
        &self,
        timestamp: i64,
        offset: i64,
        max_size_bytes: u32,
        even_if_full: bool,
    ) -> Result<(), IndexError> {
        self.entries.append(|state, entries, last| {
            let path = || self.entries.path_as(state);
            let last = last.map(|entry| self.absolute(entry));
            if !even_if_full && is_full(entries, max_size_bytes) {
                return Err(IndexError::Full { path: path(), entries });
            }
            if let Some(last) = last.filter(|last| offset < last.offset) {
                return Err(IndexError::OutOfOrder { path: path(), last: last.offset, appended: offset });
            }
            let last = last.unwrap_or(self.start()).timestamp;
            if timestamp < last && entries > 0 {
                return Err(IndexError::OutOfOrder { path: path(), last, appended: timestamp });
            }
            if timestamp <= last {
                return Ok(None);
            }
            let relative_offset = super::relative_offset(self.base_offset(), offset)
                .ok_or_else(|| IndexError::OffsetOverflow { path: path(), offset })?;
            Ok(Some(Raw { timestamp, relative_offset }))
        })
    }

    /// No further entry fits but the one that closes the segment: it must roll.
    pub fn is_full(&self, max_size_bytes: u32) -> Result<bool, IndexError> {
        Ok(is_full(self.len()?, max_size_bytes))
    }

    /// Removes all entries with an offset of `offset` or larger.
    pub fn truncate_to(&self, offset: i64) -> Result<(), IndexError> {
        let (keep, _) = self.entries.partition_point(|entry| self.absolute(entry).offset, offset)?;
        self.entries.truncate(keep)
    }

    /// Removes all entries.
    pub fn reset(&self) -> Result<(), IndexError> {
        self.entries.truncate(0)
    }

    /// Finds what a glance can find.
    pub fn sanity_check(&self) -> Result<(), IndexError> {
        let corrupt = |reason| Err(IndexError::Corrupt { path: self.path(), reason });
        if let Some(len) = self.entries.odd_length()? {
            return corrupt(format!("{len} bytes are no whole number of entries of {} bytes", Raw::SIZE));
        }
        let last = self.last_entry()?;
        match self.entry(0)? {
            Some(first) if last.timestamp < first.timestamp => corrupt(format!(
                "its last timestamp {} is below its first one {}",
                last.timestamp, first.timestamp
            )),
            Some(_) if last.offset < self.base_offset() => {
                corrupt(format!("its last offset {} is below its base offset", last.offset))
            }
            _ => Ok(()),
        }
    }

    pub fn base_offset(&self) -> i64 {
        self.entries.base_offset()
    }

    /// (-1, base offset) if there are no entries.
    pub fn last_entry(&self) -> Result<TimestampOffset, IndexError> {
        Ok(self.entries.last()?.map_or(self.start(), |last| self.absolute(last)))
    }

    pub fn entry(&self, n: u32) -> Result<Option<TimestampOffset>, IndexError> {
        Ok(self.entries.entry(n)?.map(|entry| self.absolute(entry)))
    }

    /// Entries.
    pub fn len(&self) -> Result<u32, IndexError> {
        self.entries.len()
    }

    pub fn is_empty(&self) -> Result<bool, IndexError> {
        Ok(self.len()? == 0)
    }

    pub fn size_bytes(&self) -> Result<u64, IndexError> {
        Ok(u64::from(self.len()?) * Raw::SIZE as u64)
    }

    /// Writes all entries and cuts off preallocated space behind them.
    pub fn trim(&self) -> Result<(), IndexError> {
        self.entries.trim()
    }

    /// Makes the entries durable.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.entries.flush()
    }

    /// Trims, and frees file and memory until the next use.
    pub fn close(&self) -> Result<(), IndexError> {
        self.entries.close()
    }

    pub fn rename(&self, to: FileState) -> Result<(), IndexError> {
        self.entries.rename(to)
    }

    /// Removes the file, if there is one.
    pub fn delete(&self) -> Result<(), IndexError> {
        self.entries.delete()
    }

    fn start(&self) -> TimestampOffset {
        TimestampOffset { timestamp: -1, offset: self.base_offset() }
    }

    fn absolute(&self, entry: Raw) -> TimestampOffset {
        TimestampOffset {
            timestamp: entry.timestamp,
            offset: self.base_offset().saturating_add(i64::from(entry.relative_offset)),
        }
    }
}

fn is_full(entries: u32, max_size_bytes: u32) -> bool {
    entries + 1 >= max_size_bytes / Raw::SIZE as u32
}
