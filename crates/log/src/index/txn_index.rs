//! Aborted transactions that end in a segment: `<base offset>.txnindex` (KIP-98).
//!
//! An entry has 34 bytes, big-endian: version (0), producer id, first offset, last offset (the marker's), and the last
//! stable offset when the transaction was aborted. Entries are sorted by their last offset. The file is made with its
//! first entry: most segments have none.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::IndexError;
use super::entries::{Entries, Entry};
use crate::names::{FileKind, FileState};
use crate::partition_dir::PartitionDir;

const VERSION: i16 = 0;

/// A transaction whose records are to be skipped by readers of committed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the abort marker.
    pub last_offset: i64,
    /// When the transaction was aborted: all before it was decided.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    /// Later entries are of transactions that begin there or behind it. What lies behind the marker was not decided, whatever the
    /// entry says: it may be of an append that brought the beginning of another transaction besides.
    fn decided_up_to(&self) -> i64 {
        self.last_stable_offset.min(self.last_offset.saturating_add(1))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    pub(super) version: i16,
    pub(super) txn: AbortedTxn,
}

impl Entry for Raw {
    const SIZE: usize = 34;
    const KIND: FileKind = FileKind::TxnIndex;
    const WRITE_THROUGH: bool = true;

    fn decode(bytes: &[u8]) -> Option<Raw> {
        let (version, rest) = bytes.split_first_chunk::<2>()?;
        let (producer_id, rest) = rest.split_first_chunk()?;
        let (first_offset, rest) = rest.split_first_chunk()?;
        let (last_offset, rest) = rest.split_first_chunk()?;
        let txn = AbortedTxn {
            producer_id: i64::from_be_bytes(*producer_id),
            first_offset: i64::from_be_bytes(*first_offset),
            last_offset: i64::from_be_bytes(*last_offset),
            last_stable_offset: i64::from_be_bytes(*rest.first_chunk()?),
        };
        Some(Raw { version: i16::from_be_bytes(*version), txn })
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.txn.producer_id.to_be_bytes());
        bytes.extend_from_slice(&self.txn.first_offset.to_be_bytes());
        bytes.extend_from_slice(&self.txn.last_offset.to_be_bytes());
        bytes.extend_from_slice(&self.txn.last_stable_offset.to_be_bytes());
    }
}

/// What [`TxnIndex::collect`] found in one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedTxns {
    pub txns: Vec<AbortedTxn>,
    /// Later segments have nothing more for the range asked for.
    pub is_complete: bool,
}

const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;

/// The aborted transactions of one segment.
#[derive(Debug)]
pub struct TxnIndex {
    entries: Entries<Raw>,
    /// Whether there is a file: looked up once.
    presence: AtomicU8,
}

impl TxnIndex {
    /// Touches no file: the first use does.
    pub fn new(dir: Arc<PartitionDir>, base_offset: i64, state: FileState) -> TxnIndex {
        TxnIndex { entries: Entries::new(dir, base_offset, state), presence: AtomicU8::new(UNKNOWN) }
    }

    pub fn path(&self) -> PathBuf {
        self.entries.path()
    }

    /// Whether there is a file at all: most segments have none.
    pub(crate) fn is_present(&self) -> Result<bool, IndexError> {
        match self.presence.load(Ordering::Acquire) {
            PRESENT => Ok(true),
            ABSENT => Ok(false),
            _ => {
                let found = self.entries.exists()?;
                let seen = if found { PRESENT } else { ABSENT };
                // An append may have made the file meanwhile.
                let _ = self.presence.compare_exchange(UNKNOWN, seen, Ordering::AcqRel, Ordering::Acquire);
                Ok(found)
            }
        }
    }

    /// Last offsets must grow.
    pub fn append(&self, txn: AbortedTxn) -> Result<(), IndexError> {
        self.presence.store(PRESENT, Ordering::Release);
        self.entries
            .append(|state, _, last| match last {
                Some(last) if last.txn.last_offset >= txn.last_offset => Err(IndexError::OutOfOrder {
                    path: self.entries.path_as(state),
                    last: last.txn.last_offset,
                    appended: txn.last_offset,
                }),
                _ => Ok(Some(Raw { version: VERSION, txn })),
            })
            // There may have been no room to make the file.
            .inspect_err(|_| self.presence.store(UNKNOWN, Ordering::Release))
    }

    /// The aborted transactions that overlap with the offsets from `from` up to, not including, `to`.
    pub fn collect(&self, from: i64, to: i64) -> Result<AbortedTxns, IndexError> {
        if !self.is_present()? {
            return Ok(AbortedTxns::default());
        }
        let (first, _) = self.entries.partition_point(|entry| entry.txn.last_offset, from)?;
        let mut found = AbortedTxns::default();
        self.visit_from(first, |txn| {
            if txn.first_offset < to {
                found.txns.push(txn);
            }
            found.is_complete = txn.decided_up_to() >= to;
            !found.is_complete
        })?;
        Ok(found)
    }

    pub fn all(&self) -> Result<Vec<AbortedTxn>, IndexError> {
        let mut txns = Vec::new();
        if self.is_present()? {
            self.visit_from(0, |txn| {
                txns.push(txn);
                true
            })?;
        }
        Ok(txns)
    }

    /// Calls `visit` with each entry from the `first` on until it returns false.
    fn visit_from(&self, first: u32, mut visit: impl FnMut(AbortedTxn) -> bool) -> Result<(), IndexError> {
        for n in first..self.entries.len()? {
            let Some(entry) = self.entries.entry(n)? else { break };
            if entry.version > VERSION {
                let reason = format!("version {} of an entry is unknown", entry.version);
                return Err(IndexError::Corrupt { path: self.path(), reason });
            }
            if !visit(entry.txn) {
                break;
            }
        }
        Ok(())
    }

    /// Removes the transactions that end at `offset` or later.
    pub fn truncate_to(&self, offset: i64) -> Result<(), IndexError> {
        if !self.is_present()? {
            return Ok(());
        }
        let (keep, _) = self.entries.partition_point(|entry| entry.txn.last_offset, offset)?;
        self.entries.truncate(keep)
    }

    /// Removes all entries.
    pub fn reset(&self) -> Result<(), IndexError> {
        if self.is_present()? { self.entries.truncate(0) } else { Ok(()) }
    }

    /// Reads all entries: each must end in the segment or later.
    pub fn sanity_check(&self) -> Result<(), IndexError> {
        let base_offset = self.entries.base_offset();
        match self.all()?.iter().find(|txn| txn.last_offset < base_offset) {
            Some(txn) => {
                let reason =
                    format!("a transaction that ends at {} is below its base offset", txn.last_offset);
                Err(IndexError::Corrupt { path: self.path(), reason })
            }
            None => Ok(()),
        }
    }

    pub fn is_empty(&self) -> Result<bool, IndexError> {
        Ok(!self.is_present()? || self.entries.len()? == 0)
    }

    /// Makes the entries durable.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.entries.flush()
    }

    /// Frees file and memory until the next use.
    pub fn close(&self) -> Result<(), IndexError> {
        self.entries.close()
    }

    pub fn rename(&self, to: FileState) -> Result<(), IndexError> {
        self.entries.rename(to)
    }

    /// Removes the file, if there is one.
    pub fn delete(&self) -> Result<(), IndexError> {
        self.presence.store(ABSENT, Ordering::Release);
        self.entries.delete()
    }
}
