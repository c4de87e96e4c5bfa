//! What can go wrong in a log, as the callers tell it apart.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_types::{Offset, TopicPartition, Uuid};
use thiserror::Error;

use crate::producer_state::ProducerStateError;

/// The disk did not do what it was asked to.
#[derive(Clone, Debug, Error)]
pub enum StorageError {
    /// The volume is full. Nothing of the refused operation is left in the log, which works again when there is room.
    #[error("no space left in log directory {}", dir.display())]
    NoSpace { dir: PathBuf },
    /// The process has as many files open as it may. Nothing of the refused operation is left in the log, which works again
    /// when some are closed.
    #[error("no more files can be opened in log directory {}: the limit of open files is used up", dir.display())]
    OutOfFiles { dir: PathBuf },
    /// The log directory must be taken offline; its failure has been reported to the log manager.
    #[error("log directory {} failed while {doing}: {source}", dir.display())]
    DirFailed { dir: PathBuf, doing: &'static str, source: Arc<io::Error> },
    /// Segments that were to be replaced are no part of the log any more, or are appended to again: something was taken
    /// away from the log meanwhile. Nothing was replaced.
    #[error("the segments of {partition} that were to be replaced have changed")]
    Superseded { partition: TopicPartition },
    /// The log has been closed: its directory went offline, or its partition was deleted.
    #[error("the log of {partition} is closed")]
    Closed { partition: TopicPartition },
}

/// Why an append was refused. The log is as it was before; only where `flush.messages` has the append flushed, and the
/// device fails to keep it, the batch may be in the log, whose directory is offline then.
#[derive(Debug, Error)]
pub enum AppendError {
    #[error("a record batch of {bytes} bytes exceeds max.message.bytes, {max_bytes}")]
    RecordTooLarge { bytes: u64, max_bytes: u64 },
    #[error("the append of {bytes} bytes exceeds segment.bytes, {max_bytes}")]
    RecordBatchTooLarge { bytes: u64, max_bytes: u64 },
    /// A batch whose checksum or framing is wrong.
    #[error("corrupt record batch: {0}")]
    Corrupt(#[from] ottla_record::RecordError),
    /// Records that the validator refuses, with what it said.
    #[error(transparent)]
    Invalid(#[from] ottla_record::ValidationError),
    /// A batch from a client must come with base offset zero; one from the Raft leader with its epoch set.
    #[error("invalid record batch: {0}")]
    InvalidBatch(String),
    #[error(transparent)]
    Producer(#[from] ProducerStateError),
    #[error("offsets out of order in a replicated append: {last_offset} does not come after {previous}")]
    OffsetsOutOfOrder { previous: Offset, last_offset: Offset },
    /// A replicated batch lies before the log's end.
    #[error(
        "unexpected offset in a replicated append: {first_offset} is less than the next offset, {next_offset}"
    )]
    UnexpectedOffset { first_offset: Offset, last_offset: Offset, next_offset: Offset },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a read was refused.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(
        "offset {offset} is out of range: the log of {partition} holds {log_start_offset} to {log_end_offset}"
    )]
    OffsetOutOfRange {
        partition: TopicPartition,
        offset: Offset,
        log_start_offset: Offset,
        log_end_offset: Offset,
    },
    /// The file holds something else than batches where there should be some.
    #[error("corrupt records: {0}")]
    Corrupt(String),
    /// The read was not to wait for the disk ([`crate::disk::Reach::Memory`]), and can't be done without.
    #[error("the records are not in memory")]
    NotInMemory,
    /// What is found in it is old by the time it is found.
    #[error("the log of {partition} is truncated again and again")]
    Truncated { partition: TopicPartition },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why the log start offset was not moved.
#[derive(Debug, Error)]
pub enum DeleteRecordsError {
    #[error(
        "cannot move the log start offset of {partition} to {offset}, beyond the high watermark {high_watermark}"
    )]
    BeyondHighWatermark { partition: TopicPartition, offset: Offset, high_watermark: Offset },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a log was not opened or created.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{partition} has topic id {found} on disk where {expected} was expected")]
    InconsistentTopicId { partition: TopicPartition, expected: Uuid, found: Uuid },
    /// The partition may lie in one of the directories that are offline.
    #[error("cannot create a log for {partition} while log directories are offline: {offline:?}")]
    DirsOffline { partition: TopicPartition, offline: Vec<PathBuf> },
    #[error("no log directory is available for {partition}")]
    NoDir { partition: TopicPartition },
    #[error(transparent)]
    Storage(#[from] StorageError),
}
