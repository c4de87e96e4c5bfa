use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::index::AbortedTxn;
use crate::offset_metadata::OffsetMetadata;

/// How far a read may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchIsolation {
    /// To the end of the log: replicas.
    LogEnd,
    /// To the high watermark: consumers.
    HighWatermark,
    /// To the last stable offset: consumers of committed data.
    TxnCommitted,
}

/// Bytes of a segment's file. They stay what they are while this is held, unless the log is truncated.
#[derive(Clone, Debug)]
pub struct FileSlice {
    pub file: Arc<dyn DiskFile>,
    pub position: u64,
    pub len: u32,
}

impl FileSlice {
    /// The bytes, copied: for callers that cannot send from the file. Fewer when the file was cut off meanwhile.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        let read = self.file.read_at(&mut bytes, self.position)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct FetchDataInfo {
    /// Where the records start.
    pub fetch_offset_metadata: OffsetMetadata,
    /// None: there are no records at the offset yet, or none that may be seen. The slice starts with the batch that
    /// holds the offset and may end inside a batch.
    pub records: Option<FileSlice>,
    /// The first batch is larger than what was asked for and is cut off.
    pub first_entry_incomplete: bool,
    /// With [`FetchIsolation::TxnCommitted`]: the aborted transactions that the records may be part of.
    pub aborted_transactions: Option<Vec<AbortedTxn>>,
}

impl FetchDataInfo {
    pub(crate) fn empty(at: OffsetMetadata, isolation: FetchIsolation) -> FetchDataInfo {
        FetchDataInfo {
            fetch_offset_metadata: at,
            records: None,
            first_entry_incomplete: false,
            aborted_transactions: (isolation == FetchIsolation::TxnCommitted).then(Vec::new),
        }
    }

    pub fn len(&self) -> u32 {
        self.records.as_ref().map_or(0, |slice| slice.len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
