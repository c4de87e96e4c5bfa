//! Checkpoints: small text files of lines that are replaced as a whole.
//!
//! The first line is the version, 0, the second the number of entries; each further line is an entry. A missing or
//! empty file has no entries.

mod leader_epochs;
mod lines;
mod offsets;

pub use leader_epochs::{EpochEntry, LeaderEpochCheckpoint};
pub use offsets::{OffsetCheckpoint, OffsetCheckpointKind};

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a checkpoint could not be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// `line` counts from 1. `remedy` is a sentence for the operator.
    #[error("{path}, line {line}: {problem}; {remedy}")]
    Corrupt { path: PathBuf, line: usize, problem: String, remedy: &'static str },
}

impl CheckpointError {
    /// The file's content is wrong; the disk did what it should.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, CheckpointError::Corrupt { .. })
    }
}

impl From<CheckpointError> for io::Error {
    fn from(error: CheckpointError) -> io::Error {
        match error {
            CheckpointError::Io { ref source, .. } => io::Error::new(source.kind(), error),
            CheckpointError::Corrupt { .. } => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

#[cfg(test)]
mod tests;
