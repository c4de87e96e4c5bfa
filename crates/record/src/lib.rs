//! Record batches as Apache Kafka stores and sends them: headers in place, lazy iteration, building,
//! validation, compression.
//!
//! Everything here works on bytes that came from a network or a file: no input makes it panic, loop without end or
//! allocate by a length that the input merely claims. Batches are views over the caller's bytes; only decompression
//! copies.

mod attributes;
mod batch;
mod batches;
mod builder;
mod compression;
mod control;
mod crc;
#[cfg(test)]
mod damage_tests;
mod error;
mod header;
mod layout;
mod legacy;
mod record;
mod records;
mod validator;
mod varint;

pub use attributes::{Attributes, TimestampType};
pub use batch::{Batch, BatchMut};
pub use batches::{Batches, Tail};
pub use builder::{
    BatchBuilder, BatchOptions, BuildError, NewRecord, control_batch, empty_batch, end_txn_batch,
    record_bytes_max,
};
pub use compression::{Codec, CompressError, Compression, InvalidLevel, Levels, decompress};
pub use control::{ControlRecordType, EndTxnMarker};
pub use error::{ErrorClass, RecordError};
pub use header::{BatchHeader, BatchPrefix, decrement_sequence, increment_sequence};
pub use layout::{BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, LOG_OVERHEAD_BYTES, NO_SEQUENCE};
pub use record::{Header, Headers, OwnedHeader, OwnedRecord, Record};
pub use records::Records;
pub use validator::{
    AppendOrigin, AppendRules, InvalidBatch, InvalidRecord, InvalidRecords, ValidatedBatch, ValidationError,
    validate_and_assign,
};
