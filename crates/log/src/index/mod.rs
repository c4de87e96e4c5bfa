//! The indexes beside a segment: offset to position, timestamp to offset, and its aborted transactions.
//!
//! They are hints over the log: each can be rebuilt from it, and is after an unclean stop. An index costs some tens of
//! bytes until it is first used, since a partition may have thousands of segments.

#[macro_use]
mod over_entries;

mod entries;
mod offset_index;
pub mod stored;
mod time_index;
mod txn_index;

pub(crate) use entries::ignore_missing;
pub use offset_index::{OffsetIndex, OffsetPosition};
pub use time_index::{TimeIndex, TimestampOffset};
pub use txn_index::{AbortedTxn, AbortedTxns, TxnIndex};

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What can be wrong with an index or its use.
#[derive(Debug, Error)]
pub enum IndexError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// It must be rebuilt from the log.
    #[error("{path} is corrupt: {reason}")]
    Corrupt { path: PathBuf, reason: String },
    /// The segment must be rolled first.
    #[error("{path} is full with {entries} entries")]
    Full { path: PathBuf, entries: u32 },
    #[error("{path} ends with {last}, so {appended} cannot follow")]
    OutOfOrder { path: PathBuf, last: i64, appended: i64 },
    /// The offset is further from the segment's base than its indexes can say; the segment must be rolled or split.
    #[error("offset {offset} does not fit into {path}")]
    OffsetOverflow { path: PathBuf, offset: i64 },
}

impl IndexError {
    pub fn is_corrupt(&self) -> bool {
        matches!(self, IndexError::Corrupt { .. })
    }

    /// A look that was not to wait for the disk would have had to.
    pub fn would_block(&self) -> bool {
        matches!(self, IndexError::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }
}

impl From<IndexError> for io::Error {
    fn from(error: IndexError) -> io::Error {
        match error {
            IndexError::Io { ref source, .. } => io::Error::new(source.kind(), error),
            other => io::Error::other(other),
        }
    }
}

/// The distance of an offset from its segment's base, if an index can say it.
fn relative_offset(base_offset: i64, offset: i64) -> Option<i32> {
    let relative = offset.checked_sub(base_offset)?;
    i32::try_from(relative).ok().filter(|&relative| relative >= 0)
}

#[cfg(test)]
mod tests;
