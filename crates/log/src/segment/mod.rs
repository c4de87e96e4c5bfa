//! One stretch of a log: a file of record batches and its indexes.
//!
//! What always holds: the first `size` bytes of the file are whole batches with growing offsets, all at or above the base
//! offset; nothing behind them counts. The indexes are hints: an offset index entry that does not lead to a batch at or
//! before the offset sought is passed over, and the file itself is walked. One writer at a time appends and truncates
//! (the log's lock sees to it); readers come at any time.

mod files;
mod lookup;

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ottla_record::RecordError;
use ottla_types::{Offset, Timestamp};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tracing::warn;

use crate::context::is_no_space;
use crate::disk::{DiskFile, Open, is_out_of_files};
use crate::index::{AbortedTxn, AbortedTxns, IndexError, OffsetIndex, TimeIndex, TimestampOffset, TxnIndex};
use crate::log_config::LogConfig;
use crate::names::{FileKind, FileState, SegmentFile};
use crate::partition_dir::PartitionDir;
use crate::scan::{HeaderAt, HeaderScan, ScanError};

/// What can go wrong in a segment.
#[derive(Debug, Error)]
pub enum SegmentError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The file holds something else than batches below its valid size.
    #[error("{}: no valid batch at byte {position}: {source}", path.display())]
    Corrupt { path: PathBuf, position: u32, source: RecordError },
    /// The offset is further from the base offset than the indexes can say.
    #[error("offset {offset} does not fit into the segment at {base_offset}")]
    OffsetOverflow { base_offset: Offset, offset: Offset },
}

impl SegmentError {
    /// A look that was not to wait for the disk would have had to.
    pub(crate) fn would_block(&self) -> bool {
        match self {
            SegmentError::Io(error) => error.kind() == io::ErrorKind::WouldBlock,
            SegmentError::Index(error) => error.would_block(),
            _ => false,
        }
    }

    /// There was no room, or no descriptor: nothing is lost by that.
    fn passes(&self) -> bool {
        let passes = |error: &io::Error| is_no_space(error) || is_out_of_files(error);
        match self {
            SegmentError::Io(error) | SegmentError::Index(IndexError::Io { source: error, .. }) => {
                passes(error)
            }
            _ => false,
        }
    }

    /// As an error of the disk, which is what all that is not handled is.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            SegmentError::Io(error) => error,
            SegmentError::Index(error) => error.into(),
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// What the indexes need to know of a batch that is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub size_in_bytes: u32,
    pub max_timestamp: Timestamp,
}

/// Where a batch lies in its segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPosition {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub position: u32,
    pub size_in_bytes: u32,
}

impl From<HeaderAt> for BatchPosition {
    fn from(at: HeaderAt) -> BatchPosition {
        BatchPosition {
            base_offset: at.header.base_offset,
            last_offset: at.header.last_offset(),
            position: at.position,
            size_in_bytes: at.header.size_in_bytes as u32,
        }
    }
}

/// What decides whether the next append goes to a new segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollParams {
    pub now: Timestamp,
    pub max_timestamp: Timestamp,
    pub last_offset: Offset,
    pub bytes: u32,
}

/// A segment of a log.
#[derive(Debug)]
pub struct Segment {
    dir: Arc<PartitionDir>,
    base_offset: Offset,
    /// Milliseconds taken off `segment.ms`, so that not all logs roll at once.
    roll_jitter_ms: i64,
    offset_index: OffsetIndex,
    time_index: TimeIndex,
    txn_index: TxnIndex,
    size: AtomicU32,
    /// Since it was opened: only then has closing it anything to make durable.
    has_changed: AtomicBool,
    /// Locked while a flush goes on. What it was to keep may be lost when it fails, and the next one says nothing of that.
    flush_failed: Mutex<bool>,
    file: RwLock<LogFile>,
    state: Mutex<SegmentState>,
}

#[derive(Debug)]
struct LogFile {
    name: FileState,
    opened: Option<Arc<dyn DiskFile>>,
}

#[derive(Debug)]
struct SegmentState {
    /// When this was made or opened: the age of a segment without timestamps is counted from it.
    created: Timestamp,
    /// When the file was last written, as far as it was told.
    last_modified: Option<Timestamp>,
    /// The largest timestamp and the last offset of its batch; read from the time index when first asked for.
    max_timestamp: Option<TimestampOffset>,
    /// The first batch's largest timestamp: rolling by time counts from it.
    first_batch_timestamp: Option<Timestamp>,
    bytes_since_index_entry: u32,
    /// The file is longer than its batches.
    is_preallocated: bool,
    /// Up to here the file has blocks, though it is shorter; 0 if none were asked for, `u64::MAX` if there were none.
    reserved_to: u64,
}

impl Segment {
    /// A segment whose file is there and holds `size` bytes of batches. Opens nothing.
    pub(crate) fn existing(
        dir: &Arc<PartitionDir>,
        base_offset: Offset,
        name: FileState,
        size: u32,
        config: &LogConfig,
        now: Timestamp,
    ) -> Segment {
        Segment {
            dir: Arc::clone(dir),
            base_offset,
            roll_jitter_ms: roll_jitter_ms(dir, base_offset, config),
            offset_index: OffsetIndex::new(Arc::clone(dir), base_offset.0, name),
            time_index: TimeIndex::new(Arc::clone(dir), base_offset.0, name),
            txn_index: TxnIndex::new(Arc::clone(dir), base_offset.0, name),
            size: AtomicU32::new(size),
            has_changed: AtomicBool::new(false),
            flush_failed: Mutex::new(false),
            file: RwLock::new(LogFile { name, opened: None }),
            state: Mutex::new(SegmentState {
                created: now,
                last_modified: None,
                max_timestamp: None,
                first_batch_timestamp: None,
                bytes_since_index_entry: 0,
                is_preallocated: false,
                reserved_to: 0,
            }),
        }
    }

    /// A new, empty segment. Files that are in its way are emptied.
    pub(crate) fn create(
        dir: &Arc<PartitionDir>,
        base_offset: Offset,
        name: FileState,
        config: &LogConfig,
        now: Timestamp,
    ) -> Result<Segment, SegmentError> {
        let segment = Segment::existing(dir, base_offset, name, 0, config, now);
        segment.has_changed.store(true, Ordering::Relaxed);
        let file = dir.disk().open(&segment.path(), Open::Truncate)?;
        if config.preallocate {
            file.set_len(u64::from(config.segment_bytes))?;
        }
        segment.file.write().opened = Some(file);
        segment.offset_index.reset()?;
        segment.time_index.reset()?;
        segment.txn_index.reset()?;
        let mut state = segment.state.lock();
        state.max_timestamp = Some(TimestampOffset { timestamp: Timestamp::NONE.0, offset: base_offset.0 });
        state.is_preallocated = config.preallocate;
        drop(state);
        Ok(segment)
    }

    /// A new segment of a log. Half of its files are no segment: they are removed when not all can be made.
    pub(crate) fn create_whole(
        dir: &Arc<PartitionDir>,
        base_offset: Offset,
        config: &LogConfig,
        now: Timestamp,
    ) -> Result<Segment, SegmentError> {
        Segment::create(dir, base_offset, FileState::Live, config, now).inspect_err(|_| {
            let half = Segment::existing(dir, base_offset, FileState::Live, 0, config, now);
            if let Err(error) = half.delete_files() {
                warn!(dir = %dir.path().display(), %base_offset, "half a segment is left behind: {error}");
            }
        })
    }

    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of batches.
    pub fn size(&self) -> u32 {
        self.size.load(Ordering::Acquire)
    }

    /// Since it was opened.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    pub fn offset_index(&self) -> &OffsetIndex {
        &self.offset_index
    }

    pub fn time_index(&self) -> &TimeIndex {
        &self.time_index
    }

    pub fn txn_index(&self) -> &TxnIndex {
        &self.txn_index
    }

    /// Of the file of batches, as it is named now.
    pub fn path(&self) -> PathBuf {
        self.path_as(self.file.read().name)
    }

    fn path_as(&self, state: FileState) -> PathBuf {
        self.dir
            .file(&SegmentFile { base_offset: self.base_offset.0, kind: FileKind::Log, state }.to_string())
    }

    /// The file of batches; opened at the first use.
    pub fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &self.file.read().opened {
            return Ok(Arc::clone(file));
        }
        let mut log_file = self.file.write();
        if let Some(file) = &log_file.opened {
            return Ok(Arc::clone(file));
        }
        let file = self.dir.disk().open(&self.path_as(log_file.name), Open::ReadWrite)?;
        log_file.opened = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Whether an append must go to a new segment.
    pub(crate) fn should_roll(&self, params: &RollParams, config: &LogConfig) -> Result<bool, SegmentError> {
        let size = self.size();
        if u64::from(size) + u64::from(params.bytes) > u64::from(config.segment_bytes) {
            return Ok(true);
        }
        let max_ms = config.max_segment_ms().saturating_sub(self.roll_jitter_ms);
        Ok((size > 0 && self.time_waited_for_roll(params.now, params.max_timestamp)? > max_ms)
            || !self.fits(params.last_offset)
            || self.offset_index.is_full(config.segment_index_bytes)?
            || self.time_index.is_full(config.segment_index_bytes)?)
    }

    /// Whether the indexes can say the offset.
    pub(crate) fn fits(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.0.saturating_sub(self.base_offset.0))
    }

    /// Milliseconds that the segment has been open: by record time if there are records with timestamps, so that
    /// replaying an old topic rolls as the original did.
    fn time_waited_for_roll(&self, now: Timestamp, max_timestamp: Timestamp) -> Result<i64, SegmentError> {
        Ok(match self.first_batch_timestamp()? {
            Some(first) if first >= Timestamp(0) => max_timestamp.0.saturating_sub(first.0),
            _ => now.0.saturating_sub(self.state.lock().created.0),
        })
    }

    /// The first batch's largest timestamp; none while there is no batch.
    pub(crate) fn first_batch_timestamp(&self) -> Result<Option<Timestamp>, SegmentError> {
        if let Some(timestamp) = self.state.lock().first_batch_timestamp {
            return Ok(Some(timestamp));
        }
        let size = self.size();
        if size == 0 {
            return Ok(None);
        }
        let file = self.file()?;
        let first = HeaderScan::new(&*file, 0, size).next().map_err(|error| self.scan_error(error))?;
        let timestamp = first.map(|at| at.header.max_timestamp);
        self.state.lock().first_batch_timestamp = timestamp;
        Ok(timestamp)
    }

    /// Writes batches behind the last one. `buffers` hold exactly `batches`. When it fails, the segment is as before:
    /// what was written is cut off; if even that fails the error says so by its kind, and the log must not be written on.
    pub(crate) fn append(
        &self,
        buffers: &[IoSlice<'_>],
        batches: &[AppendedBatch],
        config: &LogConfig,
    ) -> Result<(), SegmentError> {
        let position = self.size();
        let file = self.file()?;
        self.has_changed.store(true, Ordering::Relaxed);
        self.reserve_ahead(&*file, position, buffers.iter().map(|buffer| buffer.len() as u64).sum(), config);
        let written = file.write_all_at(buffers, u64::from(position)).map_err(SegmentError::from);
        match written.and_then(|()| self.index_appended(position, batches, config)) {
            Ok(end) => {
                self.size.store(end, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                self.cut_off(&*file, position).map_err(not_taken_back)?;
                Err(error)
            }
        }
    }

    /// Takes what lies behind `position` away: a partial write, space preallocated or reserved.
    fn cut_off(&self, file: &dyn DiskFile, position: u32) -> io::Result<()> {
        let mut state = self.state.lock();
        state.is_preallocated = false;
        state.reserved_to = 0;
        drop(state);
        file.set_len(u64::from(position))
    }

    fn index_appended(
        &self,
        mut position: u32,
        batches: &[AppendedBatch],
        config: &LogConfig,
    ) -> Result<u32, SegmentError> {
        let mut largest = self.max_timestamp()?;
        let mut state = self.state.lock();
        for batch in batches {
            if position == 0 {
                state.first_batch_timestamp = Some(batch.max_timestamp);
            }
            if batch.max_timestamp.0 > largest.timestamp {
                largest = TimestampOffset { timestamp: batch.max_timestamp.0, offset: batch.last_offset.0 };
            }
            if state.bytes_since_index_entry > config.index_interval_bytes
                && self.add_index_entry(batch.last_offset, position, largest, config)?
            {
                state.bytes_since_index_entry = 0;
            }
            position = position.saturating_add(batch.size_in_bytes);
            state.bytes_since_index_entry = state.bytes_since_index_entry.saturating_add(batch.size_in_bytes);
        }
        state.max_timestamp = Some(largest);
        Ok(position)
    }

    /// False when there is no room for the entry: an index may lack entries, readers walk further then.
    pub(crate) fn add_index_entry(
        &self,
        last_offset: Offset,
        position: u32,
        largest: TimestampOffset,
        config: &LogConfig,
    ) -> Result<bool, SegmentError> {
        let max_bytes = config.segment_index_bytes;
        let added = self
            .offset_index
            .append(last_offset.0, position, max_bytes)
            .and_then(|()| self.time_index.maybe_append(largest.timestamp, largest.offset, max_bytes, false));
        match added {
            Ok(()) => Ok(true),
            Err(IndexError::Full { .. }) => Ok(false),
            Err(IndexError::Io { source, path }) if is_no_space(&source) => {
                warn!(path = %path.display(), "no space for an index entry");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The largest timestamp, -1 when there is none, and the last offset of the batch that has it.
    pub(crate) fn max_timestamp(&self) -> Result<TimestampOffset, SegmentError> {
        if let Some(known) = self.state.lock().max_timestamp {
            return Ok(known);
        }
        let last = self.time_index.last_entry()?;
        self.state.lock().max_timestamp = Some(last);
        Ok(last)
    }

    /// What retention by time compares: the largest timestamp, or when the segment was made or opened.
    pub(crate) fn largest_timestamp(&self) -> Result<Timestamp, SegmentError> {
        let largest = self.max_timestamp()?.timestamp;
        Ok(if largest >= 0 { Timestamp(largest) } else { self.last_modified() })
    }

    /// When the file was last written: for what has no timestamps of its own.
    pub(crate) fn last_modified(&self) -> Timestamp {
        let state = self.state.lock();
        let largest = Timestamp(state.max_timestamp.map_or(Timestamp::NONE.0, |largest| largest.timestamp));
        state.last_modified.unwrap_or(state.created.max(largest))
    }

    /// The file was last written at this time, whatever the file system thinks of it.
    pub(crate) fn set_last_modified(&self, modified: Timestamp) -> Result<(), SegmentError> {
        self.note_last_modified(modified);
        match self.file()?.set_modified(modified) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => Ok(result?),
        }
    }

    /// What the file system says of the file.
    pub(crate) fn note_last_modified(&self, modified: Timestamp) {
        self.state.lock().last_modified = Some(modified);
    }

    pub(crate) fn append_aborted(&self, txn: AbortedTxn) -> Result<(), SegmentError> {
        Ok(self.txn_index.append(txn)?)
    }

    pub(crate) fn aborted_between(&self, from: Offset, to: Offset) -> Result<AbortedTxns, SegmentError> {
        Ok(self.txn_index.collect(from.0, to.0)?)
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> SegmentError {
        match error {
            ScanError::Io(error) => SegmentError::Io(error),
            ScanError::Corrupt { position, source } => {
                SegmentError::Corrupt { path: self.path(), position, source }
            }
        }
    }
}

/// What stays of a failed append would stand in front of the next one: that is no matter of waiting for room.
pub(crate) fn not_taken_back(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// A share of `segment.jitter.ms` that the segment's place decides: spread over logs, and the same each time.
fn roll_jitter_ms(dir: &PartitionDir, base_offset: Offset, config: &LogConfig) -> i64 {
    let bound = config.segment_jitter_ms.min(config.segment_ms);
    if bound <= 0 {
        return 0;
    }
    let path = dir.path();
    let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes).unwrap_or_default();
    let hash =
        name.iter().chain(&base_offset.0.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash % bound as u64) as i64
}
