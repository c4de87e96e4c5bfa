//! Offsets of a segment and where in its file they are: `<base offset>.index`.
//!
//! An entry has 8 bytes, big-endian: the offset relative to the base, and the position of the batch that holds it. Not
//! every batch has an entry (`index.interval.bytes`).

use super::IndexError;
use super::entries::{Entries, Entry};
use crate::disk::Reach;
use crate::names::FileKind;

/// An offset and the position in the segment's file of a batch that starts at or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetPosition {
    pub offset: i64,
    pub position: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    relative_offset: i32,
    position: u32,
}

impl Entry for Raw {
    const SIZE: usize = 8;
    const KIND: FileKind = FileKind::OffsetIndex;
    const WRITE_THROUGH: bool = false;

    fn decode(bytes: &[u8]) -> Option<Raw> {
        let (relative_offset, position) = bytes.split_first_chunk::<4>()?;
        Some(Raw {
            relative_offset: i32::from_be_bytes(*relative_offset),
            position: u32::from_be_bytes(*position.first_chunk()?),
        })
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.relative_offset.to_be_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
    }
}

/// The offset index of one segment.
#[derive(Debug)]
pub struct OffsetIndex {
    entries: Entries<Raw>,
}

over_entries!(OffsetIndex);

impl OffsetIndex {
    /// The last entry whose offset is not larger than `offset`; the segment's start if there is none.
    pub fn lookup(&self, offset: i64) -> Result<OffsetPosition, IndexError> {
        self.lookup_within(offset, Reach::Disk)
    }

    /// As [`OffsetIndex::lookup`], going no further for it than `reach`.
    pub fn lookup_within(&self, offset: i64, reach: Reach) -> Result<OffsetPosition, IndexError> {
        let key = |entry| self.absolute(entry).offset;
        let (_, found) = self.entries.partition_point_within(key, offset.saturating_add(1), reach)?;
        Ok(found.map_or(self.start(), |entry| self.absolute(entry)))
    }

    /// The first entry at or after `size` bytes behind `from`: a bound for reads of that size.
    pub fn upper_bound(
        &self,
        from: OffsetPosition,
        size: u32,
        reach: Reach,
    ) -> Result<Option<OffsetPosition>, IndexError> {
        let end = i64::from(from.position) + i64::from(size);
        let (before, _) =
            self.entries.partition_point_within(|entry| i64::from(entry.position), end, reach)?;
        Ok(self.entries.entry(before)?.map(|entry| self.absolute(entry)))
    }

    /// Offsets must grow. `max_size_bytes` is `segment.index.bytes`.
    pub fn append(&self, offset: i64, position: u32, max_size_bytes: u32) -> Result<(), IndexError> {
        let relative_offset = super::relative_offset(self.base_offset(), offset)
            .ok_or_else(|| IndexError::OffsetOverflow { path: self.path(), offset })?;
        self.entries.append(|state, entries, last| match last {
            _ if entries >= max_entries(max_size_bytes) => {
                Err(IndexError::Full { path: self.entries.path_as(state), entries })
            }
            Some(last) if last.relative_offset >= relative_offset => Err(IndexError::OutOfOrder {
                path: self.entries.path_as(state),
                last: self.absolute(last).offset,
                appended: offset,
            }),
            _ => Ok(Some(Raw { relative_offset, position })),
        })
    }

    /// No further entry fits: the segment must roll.
    pub fn is_full(&self, max_size_bytes: u32) -> Result<bool, IndexError> {
        Ok(self.len()? >= max_entries(max_size_bytes))
    }

    /// Finds what a glance can find. The last offset is the base offset if there are no entries.
    pub fn sanity_check(&self) -> Result<(), IndexError> {
        let corrupt = |reason| Err(IndexError::Corrupt { path: self.path(), reason });
        if let Some(len) = self.entries.odd_length()? {
            return corrupt(format!("{len} bytes are no whole number of entries of {} bytes", Raw::SIZE));
        }
        let last_offset = self.last_offset()?;
        if last_offset < self.base_offset() {
            return corrupt(format!("its last offset {last_offset} is below its base offset"));
        }
        Ok(())
    }

    /// The base offset if there are no entries.
    pub fn last_offset(&self) -> Result<i64, IndexError> {
        Ok(self.entries.last()?.map_or(self.base_offset(), |last| self.absolute(last).offset))
    }

    pub fn entry(&self, n: u32) -> Result<Option<OffsetPosition>, IndexError> {
        Ok(self.entries.entry(n)?.map(|entry| self.absolute(entry)))
    }

    fn start(&self) -> OffsetPosition {
        OffsetPosition { offset: self.base_offset(), position: 0 }
    }

    fn absolute(&self, entry: Raw) -> OffsetPosition {
        entry.absolute(self.base_offset())
    }
}

impl Raw {
    pub(super) fn absolute(self, base_offset: i64) -> OffsetPosition {
        OffsetPosition {
            offset: base_offset.saturating_add(i64::from(self.relative_offset)),
            position: self.position,
        }
    }
}

fn max_entries(max_size_bytes: u32) -> u32 {
    max_size_bytes / Raw::SIZE as u32
}
