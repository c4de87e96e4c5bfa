//! An internal topic in memory, which fails and commits as the test says.

mod history;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ottla_types::{MonoMs, Now, Offset, TopicPartition};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::runtime::{
    BATCH_HEADER_BYTES, EncodedRecord, LogChunk, Outside, PartitionReader, PartitionWriter, Responder,
    StoredBatch, StoredContent, StoredRecord, TransactionMarker, WriteBatch,
};

pub(crate) use history::Choices;

/// The logs of all partitions.
#[derive(Default)]
pub(crate) struct MemoryLogs {
    logs: Mutex<BTreeMap<i32, MemoryLog>>,
    pub(crate) max_batch_bytes: Mutex<usize>,
    /// Answers of the next appends; what is not listed succeeds.
    pub(crate) failures: Mutex<VecDeque<ErrorCode>>,
    /// Of the next reads.
    pub(crate) read_failures: Mutex<VecDeque<ErrorCode>>,
    /// The high watermark follows the log's end at once, as on a single replica.
    pub(crate) commit_at_once: Mutex<bool>,
    /// Who is told of it, from within the append.
    pub(crate) listener: Mutex<Option<Listener>>,
}

type Listener = Arc<dyn Fn(i32, Offset) + Send + Sync>;

#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryLog {
    pub(crate) batches: Vec<StoredBatch>,
    pub(crate) high_watermark: Offset,
}

impl MemoryLog {
    pub(crate) fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.last_offset.next())
    }

    /// What is left when the leader is lost with all that came after `end`.
    pub(crate) fn truncated(&self, end: Offset) -> MemoryLog {
        let batches = self.batches.iter().filter(|batch| batch.last_offset < end).cloned().collect();
        MemoryLog { batches, high_watermark: end.min(self.high_watermark) }
    }

    /// What is left when the records before `start` are deleted.
    pub(crate) fn pruned(&self, start: Offset) -> MemoryLog {
        let batches = self.batches.iter().filter(|batch| batch.last_offset >= start).cloned().collect();
        MemoryLog { batches, high_watermark: self.high_watermark }
    }
}

impl MemoryLogs {
    pub(crate) fn new() -> Arc<MemoryLogs> {
        Arc::new(MemoryLogs { max_batch_bytes: Mutex::new(1 << 20), ..MemoryLogs::default() })
    }

    pub(crate) fn log(&self, partition: i32) -> MemoryLog {
        self.logs.lock().get(&partition).cloned().unwrap_or_default()
    }

    pub(crate) fn set_log(&self, partition: i32, log: MemoryLog) {
        self.logs.lock().insert(partition, log);
    }

    /// Commits all that was written; answers the high watermark.
    pub(crate) fn commit(&self, partition: i32) -> Offset {
        let mut logs = self.logs.lock();
        let log = logs.entry(partition).or_default();
        log.high_watermark = log.end();
        log.high_watermark
    }

    /// Commits what was written up to `end`.
    pub(crate) fn commit_to(&self, partition: i32, end: Offset) {
        let mut logs = self.logs.lock();
        let log = logs.entry(partition).or_default();
        log.high_watermark = log.high_watermark.max(end);
    }

    /// The log's end after an append, which is committed if everything is.
    fn appended(&self, partition: i32) -> Offset {
        let end = self.log(partition).end();
        if *self.commit_at_once.lock() {
            self.commit(partition);
            let listener = self.listener.lock().clone();
            if let Some(listener) = listener {
                listener(partition, end);
            }
        }
        end
    }

    pub(crate) fn push(&self, partition: i32, content: Content) {
        let mut logs = self.logs.lock();
        let log = logs.entry(partition).or_default();
        let base_offset = log.end();
        let (producer, content, count) = match content {
            Content::Records(producer, records) => {
                let count = records.len();
                let stored = records
                    .into_iter()
                    .enumerate()
                    .map(|(i, record)| StoredRecord {
                        offset: base_offset + i as i64,
                        key: Some(record.key),
                        value: record.value,
                    })
                    .collect();
                (producer, StoredContent::Records(stored), count)
            }
            Content::EndTransaction(producer, committed) => {
                (Some(producer), StoredContent::EndTransaction { committed }, 1)
            }
        };
        let last_offset = base_offset + (count as i64 - 1);
        log.batches.push(StoredBatch { base_offset, last_offset, producer, content });
    }
}

pub(crate) enum Content {
    Records(Option<crate::runtime::Producer>, Vec<EncodedRecord>),
    EndTransaction(crate::runtime::Producer, bool),
}

impl PartitionWriter for MemoryLogs {
    fn append(&self, partition: &TopicPartition, batch: WriteBatch, _now: Now) -> Result<Offset, ErrorCode> {
        if let Some(code) = self.failures.lock().pop_front() {
            return Err(code);
        }
        let bytes = BATCH_HEADER_BYTES + batch.records.iter().map(EncodedRecord::max_bytes).sum::<usize>();
        assert!(!batch.records.is_empty() && bytes <= *self.max_batch_bytes.lock());
        let producer = batch.transaction.map(|transaction| transaction.producer);
        self.push(partition.partition, Content::Records(producer, batch.records));
        Ok(self.appended(partition.partition))
    }

    fn append_marker(
        &self,
        partition: &TopicPartition,
        marker: TransactionMarker,
        _now: Now,
    ) -> Result<Offset, ErrorCode> {
        if let Some(code) = self.failures.lock().pop_front() {
            return Err(code);
        }
        self.push(partition.partition, Content::EndTransaction(marker.producer, marker.committed));
        Ok(self.appended(partition.partition))
    }

    fn max_batch_bytes(&self, _partition: &TopicPartition) -> usize {
        *self.max_batch_bytes.lock()
    }
}

impl PartitionReader for MemoryLogs {
    fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<LogChunk, ErrorCode> {
        if let Some(code) = self.read_failures.lock().pop_front() {
            return Err(code);
        }
        let log = self.log(partition.partition);
        let batches = log.batches.iter().filter(|batch| batch.last_offset >= from);
        let batches = batches.take((max_bytes / 1024).max(1)).cloned().collect();
        Ok(LogChunk { batches, high_watermark: log.high_watermark, log_end: log.end() })
    }
}

/// What is to be done outside of shards: at once, or when the test says.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<HeldJobs>>);

#[derive(Default)]
struct HeldJobs {
    are_held: bool,
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    woken_at: Vec<MonoMs>,
}

impl Jobs {
    pub(crate) fn outside(&self) -> Outside {
        let (held, woken) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let take = Arc::new(move |job: Box<dyn FnOnce() + Send>| {
            let mut jobs = held.lock();
            if jobs.are_held {
                return jobs.jobs.push_back(job);
            }
            drop(jobs);
            job();
        });
        Outside {
            compute: Arc::clone(&take) as _,
            go_on: take,
            wake_at: Arc::new(move |due| woken.lock().woken_at.push(due)),
        }
    }

    /// The times that were told since this was last asked.
    pub(crate) fn woken_at(&self) -> Vec<MonoMs> {
        std::mem::take(&mut self.0.lock().woken_at)
    }

    /// They wait for [`Jobs::run_one`] from now on, or no longer.
    pub(crate) fn hold(&self, are_held: bool) {
        self.0.lock().are_held = are_held;
    }

    /// False: none waits.
    pub(crate) fn run_one(&self) -> bool {
        let job = self.0.lock().jobs.pop_front();
        let waits = job.is_some();
        if let Some(job) = job {
            job();
        }
        waits
    }

    /// They will never be done.
    pub(crate) fn drop_all(&self) {
        let dropped = std::mem::take(&mut self.0.lock().jobs);
        drop(dropped);
    }
}

/// Where a response will be found.
#[derive(Debug)]
pub(crate) struct Inbox<R>(Arc<Mutex<Vec<Result<R, ErrorCode>>>>);

impl<R: Clone + Send + 'static> Inbox<R> {
    pub(crate) fn new() -> (Inbox<R>, Responder<R>) {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let inbox = Inbox(Arc::clone(&answers));
        (inbox, Responder::new(move |result| answers.lock().push(result)))
    }

    /// The response, if it has come.
    pub(crate) fn get(&self) -> Option<Result<R, ErrorCode>> {
        let answers = self.0.lock();
        assert!(answers.len() <= 1, "answered twice");
        answers.first().cloned()
    }
}
