//! From what went wrong in a log to the code that clients are told.

use ottla_log::producer_state::ProducerStateError;
use ottla_log::{AppendError, DeleteRecordsError, ReadError, StorageError};
use ottla_record::{ErrorClass, ValidationError};
use ottla_wire::ErrorCode;

pub fn of_storage(error: &StorageError) -> ErrorCode {
    match error {
        StorageError::NoSpace { .. }
        | StorageError::OutOfFiles { .. }
        | StorageError::DirFailed { .. }
        | StorageError::Closed { .. }
        | StorageError::Superseded { .. } => ErrorCode::KafkaStorageError,
    }
}

pub fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt(_) => ErrorCode::CorruptMessage,
        // Who asks for what is in memory alone asks again, and tells nobody.
        ReadError::NotInMemory => ErrorCode::UnknownServerError,
        ReadError::Truncated { .. } => ErrorCode::OffsetNotAvailable,
        ReadError::Storage(error) => of_storage(error),
    }
}

pub fn of_delete_records(error: &DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::BeyondHighWatermark { .. } => ErrorCode::OffsetOutOfRange,
        DeleteRecordsError::Storage(error) => of_storage(error),
    }
}

/// What a producer is told of a batch that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRefusal {
    pub code: ErrorCode,
    pub message: Option<String>,
    /// Index and reason for each record that is at fault, where single ones are (KIP-467).
    pub record_errors: Vec<(i32, String)>,
}

impl AppendRefusal {
    pub fn of(code: ErrorCode) -> AppendRefusal {
        AppendRefusal { code, message: None, record_errors: Vec::new() }
    }
}

pub fn of_append(error: &AppendError) -> AppendRefusal {
    let with_message =
        |code| AppendRefusal { code, message: Some(error.to_string()), record_errors: Vec::new() };
    match error {
        AppendError::RecordTooLarge { .. } => with_message(ErrorCode::MessageTooLarge),
        AppendError::RecordBatchTooLarge { .. } => with_message(ErrorCode::RecordListTooLarge),
        AppendError::Corrupt(_) => with_message(ErrorCode::CorruptMessage),
        AppendError::Invalid(invalid) => of_validation(invalid),
        AppendError::InvalidBatch(_) => with_message(ErrorCode::InvalidRecord),
        AppendError::Producer(error) => AppendRefusal {
            code: of_producer_state(error),
            message: Some(error.to_string()),
            record_errors: Vec::new(),
        },
        AppendError::OffsetsOutOfOrder { .. } | AppendError::UnexpectedOffset { .. } => {
            with_message(ErrorCode::UnknownServerError)
        }
        AppendError::Storage(error) => with_message(of_storage(error)),
    }
}

fn of_validation(error: &ValidationError) -> AppendRefusal {
    let code = match error.class() {
        ErrorClass::CorruptMessage => ErrorCode::CorruptMessage,
        ErrorClass::MessageTooLarge => ErrorCode::MessageTooLarge,
        ErrorClass::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        ErrorClass::UnsupportedCompressionType => ErrorCode::UnsupportedCompressionType,
        ErrorClass::InvalidRecord => ErrorCode::InvalidRecord,
    };
    let record_errors = match error {
        ValidationError::InvalidRecords(invalid) => {
            invalid.errors.iter().map(|record| (record.batch_index, record.message.clone())).collect()
        }
        _ => Vec::new(),
    };
    AppendRefusal { code, message: Some(error.to_string()), record_errors }
}

pub fn of_producer_state(error: &ProducerStateError) -> ErrorCode {
    match error {
        ProducerStateError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerStateError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerStateError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
        ProducerStateError::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
    }
}
