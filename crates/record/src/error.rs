use thiserror::Error;

/// Which of the protocol's error codes an error is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// `CORRUPT_MESSAGE` (2)
    CorruptMessage,
    /// `MESSAGE_TOO_LARGE` (10)
    MessageTooLarge,
    /// `INVALID_TIMESTAMP` (32)
    InvalidTimestamp,
    /// `UNSUPPORTED_COMPRESSION_TYPE` (76)
    UnsupportedCompressionType,
    /// `INVALID_RECORD` (87)
    InvalidRecord,
}

/// What is wrong with the bytes of a batch or of a record in it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    #[error("batch is truncated: {needed} bytes are needed, {available} are there")]
    Truncated { needed: usize, available: usize },
    #[error("batch length {length} is less than the smallest possible, {minimum}")]
    LengthBelowMinimum { length: i32, minimum: usize },
    #[error("batch size {size} exceeds the largest allowed, {limit}")]
    SizeAboveLimit { size: usize, limit: usize },
    #[error("invalid magic {0}")]
    InvalidMagic(i8),
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    CrcMismatch { stored: u32, computed: u32 },

    #[error("invalid record count {0}")]
    InvalidRecordCount(i32),
    #[error("records end before the declared count is reached")]
    RecordsEndEarly,
    #[error("{0} bytes follow the declared count of records")]
    BytesAfterRecords(usize),
    #[error("invalid record size {0}")]
    InvalidRecordSize(i32),
    #[error("malformed variable-length integer")]
    MalformedVarint,
    #[error("a field of length {length} exceeds the record's remaining {remaining} bytes")]
    FieldExceedsRecord { length: i32, remaining: usize },
    #[error("record of {declared} bytes holds fields of {actual}")]
    RecordSizeMismatch { declared: usize, actual: usize },
    #[error("invalid number of record headers {0}")]
    InvalidHeaderCount(i32),
    #[error("invalid record header key size {0}")]
    InvalidHeaderKeySize(i32),
    #[error("control record's key is malformed")]
    MalformedControlKey,
    #[error("control record's value is malformed")]
    MalformedControlValue,
    #[error("compressed message set is invalid: {0}")]
    InvalidMessageSet(&'static str),

    #[error("unknown compression codec {0}")]
    UnknownCodec(u8),
    #[error("{codec} data is corrupt: {reason}")]
    Decompression { codec: &'static str, reason: String },
    #[error("records expand to more than {limit} bytes")]
    DecompressedSizeAboveLimit { limit: usize },
}

impl RecordError {
    pub fn class(&self) -> ErrorClass {
        match self {
            RecordError::Truncated { .. }
            | RecordError::LengthBelowMinimum { .. }
            | RecordError::SizeAboveLimit { .. }
            | RecordError::InvalidMagic(_)
            | RecordError::CrcMismatch { .. } => ErrorClass::CorruptMessage,
            RecordError::DecompressedSizeAboveLimit { .. } => ErrorClass::MessageTooLarge,
            RecordError::UnknownCodec(_) => ErrorClass::UnsupportedCompressionType,
            _ => ErrorClass::InvalidRecord,
        }
    }
}
