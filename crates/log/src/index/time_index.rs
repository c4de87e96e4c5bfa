//! Timestamps of a segment and the offsets after which they are exceeded: `<base offset>.timeindex`.
//!
//! An entry has 12 bytes, big-endian: the largest timestamp so far, in milliseconds, and the offset of its record
//! relative to the base. All later records with a larger timestamp have larger offsets, so both grow from entry to
//! entry.

use super::IndexError;
use super::entries::{Entries, Entry};
use crate::names::FileKind;

/// A timestamp, in milliseconds, and the offset of the record that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
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

over_entries!(TimeIndex);

impl TimeIndex {
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

    /// (-1, base offset) if there are no entries.
    pub fn last_entry(&self) -> Result<TimestampOffset, IndexError> {
        Ok(self.entries.last()?.map_or(self.start(), |last| self.absolute(last)))
    }

    pub fn entry(&self, n: u32) -> Result<Option<TimestampOffset>, IndexError> {
        Ok(self.entries.entry(n)?.map(|entry| self.absolute(entry)))
    }

    fn start(&self) -> TimestampOffset {
        TimestampOffset { timestamp: -1, offset: self.base_offset() }
    }

    fn absolute(&self, entry: Raw) -> TimestampOffset {
        entry.absolute(self.base_offset())
    }
}

impl Raw {
    pub(super) fn absolute(self, base_offset: i64) -> TimestampOffset {
        TimestampOffset {
            timestamp: self.timestamp,
            offset: base_offset.saturating_add(i64::from(self.relative_offset)),
        }
    }
}

fn is_full(entries: u32, max_size_bytes: u32) -> bool {
    entries + 1 >= max_size_bytes / Raw::SIZE as u32
}
