//! A log in a directory of its own, for tests.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ottla_record::{
    AppendOrigin, BatchBuilder, BatchOptions, Batches, EndTxnMarker, NewRecord, end_txn_batch,
};
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use crate::disk::{Disk, RealDisk};
use crate::producer_state::{ProducerStateConfig, VerificationGuard};
use crate::{
    AppendError, FetchDataInfo, FetchIsolation, LeaderAppend, LogAppendInfo, LogConfig, LogContext, OpenLog,
    ReadError, UnifiedLog,
};

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn at_ms(ms: i64) -> Now {
    Now { wall: Timestamp(START.0 + ms), mono: MonoMs(ms as u64) }
}

pub(crate) fn small_config() -> LogConfig {
    LogConfig { segment_bytes: 1000, index_interval_bytes: 100, ..LogConfig::default() }
}

pub(crate) struct TestLog {
    _root: Option<tempfile::TempDir>,
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub config: LogConfig,
    pub context: Arc<LogContext>,
    pub log: Arc<UnifiedLog>,
    pub now: Now,
    /// In which it leads.
    pub epoch: LeaderEpoch,
}

impl TestLog {
    pub fn new(config: LogConfig) -> TestLog {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("t-0");
        let mut log = TestLog::on(Arc::new(RealDisk::new(100)), dir, config);
        log._root = Some(root);
        log
    }

    pub fn on(disk: Arc<dyn Disk>, dir: PathBuf, config: LogConfig) -> TestLog {
        disk.create_dir_all(&dir).unwrap();
        let producers = ProducerStateConfig { transaction_verification: false, ..Default::default() };
        let context = LogContext::new(Arc::clone(&disk), producers);
        let now = at_ms(0);
        let log =
            UnifiedLog::open(open_params(&context, &dir, &config, Offset::ZERO, Offset::ZERO, false), now)
                .unwrap();
        TestLog { _root: None, disk, dir, config, context, log, now, epoch: LeaderEpoch(0) }
    }

    pub fn close(&self) {
        self.log.close(self.now).unwrap();
    }

    /// Opens it again, with the checkpoints that the log manager would have written now.
    pub fn reopen(&mut self, clean: bool) {
        if clean {
            self.close();
        }
        let (start, recovery_point) = (self.log.log_start_offset(), self.log.recovery_point());
        self.reopen_with(start, recovery_point, clean);
    }

    pub fn reopen_with(&mut self, start: Offset, recovery_point: Offset, clean: bool) {
        let params = open_params(&self.context, &self.dir, &self.config, start, recovery_point, clean);
        self.log = UnifiedLog::open(params, self.now).unwrap();
        self.log.update_high_watermark(Offset::MAX);
    }

    pub fn append(&self, values: &[&str]) -> LogAppendInfo {
        self.append_batch(&batch(values, self.now.wall, BatchOptions::default())).unwrap()
    }

    pub fn append_batch(&self, batch: &Bytes) -> Result<LogAppendInfo, AppendError> {
        self.append_from(batch, AppendOrigin::Client)
    }

    pub fn append_from(&self, batch: &Bytes, origin: AppendOrigin) -> Result<LogAppendInfo, AppendError> {
        let append = LeaderAppend::new(self.epoch, origin);
        let appended = self.log.append_as_leader(batch, &append, self.now)?;
        self.log.update_high_watermark(Offset::MAX);
        Ok(appended)
    }

    /// The high watermark stays.
    pub fn append_at_end(&self, values: &[&str]) -> LogAppendInfo {
        let batch = batch(values, self.now.wall, BatchOptions::default());
        let append = LeaderAppend::new(self.epoch, AppendOrigin::Client);
        self.log.append_as_leader(&batch, &append, self.now).unwrap()
    }

    pub fn append_guarded(
        &self,
        batch: &Bytes,
        guard: VerificationGuard,
    ) -> Result<LogAppendInfo, AppendError> {
        let append = LeaderAppend {
            verification_guard: guard,
            ..LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client)
        };
        self.log.append_as_leader(batch, &append, self.now)
    }

    pub fn read(&self, offset: i64, max_bytes: u32) -> Result<FetchDataInfo, ReadError> {
        self.log.read(Offset(offset), max_bytes, FetchIsolation::LogEnd, true)
    }

    /// All records from `offset` on, as a consumer that asks for `max_bytes` at a time sees them.
    pub fn consume(&self, mut offset: i64, max_bytes: u32, isolation: FetchIsolation) -> Vec<(i64, String)> {
        let mut found = Vec::new();
        loop {
            let read = self.log.read(Offset(offset), max_bytes, isolation, true).unwrap();
            let Some(slice) = read.records else { return found };
            let bytes = slice.read().unwrap();
            let mut next = offset;
            for batch in Batches::new(&bytes) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                next = batch.next_offset().0;
                let mut records = batch.records(1 << 20).unwrap();
                while let Some(record) = records.next().unwrap() {
                    if record.offset.0 >= offset && !batch.is_control() {
                        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                        found.push((record.offset.0, value));
                    }
                }
            }
            assert!(next > offset, "the reader at {offset} does not get on");
            offset = next;
        }
    }

    pub fn all(&self) -> Vec<(i64, String)> {
        self.consume(self.log.log_start_offset().0, 300, FetchIsolation::LogEnd)
    }

    pub fn values(&self) -> Vec<String> {
        self.all().into_iter().map(|(_, value)| value).collect()
    }

    pub fn base_offsets(&self) -> Vec<i64> {
        self.log.segments().iter().map(|segment| segment.base_offset().0).collect()
    }

    pub fn file_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.disk.read_dir(&self.log.dir()).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    /// Runs what is due `ms` after the start.
    pub fn run_at_ms(&mut self, ms: i64) {
        self.now = at_ms(ms);
        self.context.deferred.run_due(self.now);
    }
}

pub(crate) fn open_params(
    context: &Arc<LogContext>,
    dir: &std::path::Path,
    config: &LogConfig,
    log_start_offset: Offset,
    recovery_point: Offset,
    had_clean_shutdown: bool,
) -> OpenLog {
    OpenLog {
        context: Arc::clone(context),
        dir: dir.to_owned(),
        partition: TopicPartition::new("t", 0),
        config: Arc::new(config.clone()),
        log_start_offset,
        recovery_point,
        had_clean_shutdown,
        topic_id: None,
    }
}

pub(crate) fn batch(values: &[&str], timestamp: Timestamp, options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(&NewRecord { timestamp, value: Some(value.as_bytes()), ..NewRecord::default() })
            .unwrap();
    }
    Bytes::from(builder.build().unwrap())
}

/// A batch of an idempotent producer.
pub(crate) fn producer_batch(values: &[&str], id: i64, epoch: i16, sequence: i32) -> Bytes {
    batch(values, START, producer_options(id, epoch, sequence))
}

pub(crate) fn txn_batch(values: &[&str], id: i64, epoch: i16, sequence: i32) -> Bytes {
    batch(values, START, BatchOptions { transactional: true, ..producer_options(id, epoch, sequence) })
}

fn producer_options(id: i64, epoch: i16, sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BatchOptions::default()
    }
}

pub(crate) fn marker(id: i64, epoch: i16, committed: bool, coordinator_epoch: i32) -> Bytes {
    let marker = EndTxnMarker { committed, coordinator_epoch };
    let batch = end_txn_batch(marker, ProducerId(id), ProducerEpoch(epoch), START, LeaderEpoch(0));
    Bytes::from(batch.unwrap())
}

/// A batch as a leader sends it: numbered, and with its epoch.
pub(crate) fn numbered(values: &[&str], base_offset: i64, epoch: i32) -> Bytes {
    let options = BatchOptions {
        base_offset: Offset(base_offset),
        partition_leader_epoch: LeaderEpoch(epoch),
        ..BatchOptions::default()
    };
    batch(values, START, options)
}
