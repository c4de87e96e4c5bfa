use std::collections::VecDeque;
use std::sync::Arc;

use ottla_types::{Now, Offset};
use ottla_wire::ErrorCode;
use tracing::{error, warn};

use super::cell::{Cell, Event, may_pass};
use super::storage::{PartitionReader, StoredBatch, StoredContent};
use super::{DecodeError, Shard};

/// Reads a shard's log back, in steps of `offsets.load.buffer.size`, on whichever thread calls it. Meanwhile requests
/// are answered COORDINATOR_LOAD_IN_PROGRESS.
pub struct LoadTask<S: Shard> {
    cell: Arc<Cell<S>>,
    reader: Arc<dyn PartitionReader>,
    max_bytes: usize,
    log: Option<Box<LoadedLog<S>>>,
}

impl<S: Shard> std::fmt::Debug for LoadTask<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadTask").field("partition", &self.cell.partition).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadProgress {
    More,
    Done,
}

/// A log that was replayed up to its end.
pub(crate) struct LoadedLog<S: Shard> {
    pub(crate) state: S::State,
    /// The states before batches that are not committed yet.
    pub(crate) versions: VecDeque<(Offset, S::State)>,
    pub(crate) end: Offset,
    pub(crate) high_watermark: Offset,
}

impl<S: Shard> LoadTask<S> {
    pub(crate) fn new(cell: Arc<Cell<S>>, reader: Arc<dyn PartitionReader>, max_bytes: usize) -> LoadTask<S> {
        let log = LoadedLog {
            state: S::State::default(),
            versions: VecDeque::new(),
            end: Offset::ZERO,
            high_watermark: Offset::UNKNOWN,
        };
        LoadTask { cell, reader, max_bytes, log: Some(Box::new(log)) }
    }

    /// Reads and replays one buffer.
    pub fn step(&mut self, now: Now) -> LoadProgress {
        if self.cell.is_closed() {
            self.log = None;
        }
        let Some(mut log) = self.log.take() else { return LoadProgress::Done };
        match self.read(&mut log) {
            Ok(LoadProgress::More) => {
                self.log = Some(log);
                return LoadProgress::More;
            }
            Ok(LoadProgress::Done) => self.cell.post(Event::Loaded(now, Ok(log))),
            Err(code) => self.cell.post(Event::Loaded(now, Err(code))),
        }
        LoadProgress::Done
    }

    fn read(&self, log: &mut LoadedLog<S>) -> Result<LoadProgress, ErrorCode> {
        let partition = &self.cell.partition;
        let chunk = self.reader.read(partition, log.end, self.max_bytes).inspect_err(|&code| {
            if may_pass(code) {
                warn!(%partition, ?code, "reading the log failed: it is read again in a while");
            } else {
                error!(%partition, ?code, "reading the log failed: this coordinator stays down");
            }
        })?;
        log.high_watermark = log.high_watermark.max(chunk.high_watermark);
        let nothing_left = chunk.batches.is_empty();
        for batch in chunk.batches {
            log.replay(batch).map_err(|error| {
                error!(%partition, %error, "replaying the log failed: this coordinator stays down");
                ErrorCode::UnknownServerError
            })?;
        }
        if nothing_left || log.end >= chunk.log_end {
            log.end = log.end.max(chunk.log_end);
            return Ok(LoadProgress::Done);
        }
        Ok(LoadProgress::More)
    }
}

impl<S: Shard> LoadedLog<S> {
    fn replay(&mut self, batch: StoredBatch) -> Result<(), DecodeError> {
        if batch.last_offset < self.end {
            return Ok(());
        }
        if batch.last_offset >= self.high_watermark {
            self.versions.push_back((batch.base_offset, self.state.clone()));
        }
        match batch.content {
            StoredContent::Records(records) => {
                for record in records {
                    let Some(key) = record.key else {
                        warn!(offset = %record.offset, "skipped a record without a key");
                        continue;
                    };
                    if let Some(decoded) = S::decode(key, record.value)? {
                        S::replay(&mut self.state, record.offset, batch.producer, decoded);
                    }
                }
            }
            StoredContent::EndTransaction { committed } => {
                if let Some(producer) = batch.producer {
                    S::replay_end_transaction(&mut self.state, producer, committed);
                }
            }
            StoredContent::OtherControl => {}
        }
        self.end = batch.last_offset.next();
        Ok(())
    }
}
