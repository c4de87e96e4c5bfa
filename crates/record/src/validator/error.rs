use ottla_types::Offset;
use thiserror::Error;

use crate::builder::BuildError;
use crate::error::{ErrorClass, RecordError};

/// Why a batch isn't appended.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ValidationError {
    /// Its bytes are no sound batch.
    #[error(transparent)]
    Malformed(#[from] RecordError),
    /// A rule about batches forbids it.
    #[error("{0}")]
    InvalidBatch(InvalidBatch),
    /// A rule about records forbids some of its records.
    #[error(transparent)]
    InvalidRecords(InvalidRecords),
    /// It couldn't be written again with other offsets or another codec.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl ValidationError {
    /// Which error code the protocol has for it.
    pub fn class(&self) -> ErrorClass {
        match self {
            ValidationError::Malformed(error) => error.class(),
            ValidationError::InvalidRecords(records) if records.timestamps => ErrorClass::InvalidTimestamp,
            _ => ErrorClass::InvalidRecord,
        }
    }
}

/// What is wrong with a batch as a whole.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidBatch {
    #[error("there is no batch")]
    None,
    #[error("there is more than one batch")]
    MoreThanOne,
    #[error("magic {magic} can only be read, not appended")]
    UnsupportedMagic { magic: i8 },
    #[error("base offset {0} should be 0")]
    BaseOffsetNotZero(Offset),
    #[error("offsets {first} to {last} don't match the record count {count}")]
    OffsetsDoNotMatchCount { first: Offset, last: Offset, count: i32 },
    #[error("record count {0} is not positive")]
    NoRecords(i32),
    #[error("clients may not write control records")]
    ControlBatchFromClient,
    #[error("base sequence {base_sequence} of producer id {producer_id} is negative")]
    NegativeSequence { base_sequence: i32, producer_id: i64 },
    #[error("leader epoch {found} is not the leader's, {expected}")]
    WrongLeaderEpoch { expected: i32, found: i32 },
}

/// The records that a rule forbids (KIP-467). The text is what the producer gets.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", self.text())]
pub struct InvalidRecords {
    /// The first of them, at most [`InvalidRecords::LISTED_MAX`].
    pub errors: Vec<InvalidRecord>,
    /// How many there are.
    pub total: usize,
    /// Is a timestamp among what is wrong?
    pub timestamps: bool,
}

/// One forbidden record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecord {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    pub message: String,
}

impl InvalidRecords {
    /// More errors than these are counted and not listed: a batch may hold millions of records.
    pub const LISTED_MAX: usize = 1000;

    fn text(&self) -> String {
        if self.timestamps {
            return "One or more records have been rejected due to invalid timestamp".to_owned();
        }
        let shown: Vec<String> = self
            .errors
            .iter()
            .take(3)
            .map(|e| format!("RecordError(batchIndex={}, message='{}')", e.batch_index, e.message))
            .collect();
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three \
             errors at most: [{}]",
            self.total,
            shown.join(", ")
        )
    }
}
