//! A log beside a model of it: what was appended, in order, and what must survive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ottla_record::Batches;
use ottla_types::{LeaderEpoch, Offset};
use proptest::prelude::*;

use crate::disk::sim::Loss;
use crate::disk::{Disk, SimDisk};
use crate::producer_state::ProducerStateConfig;
use crate::test_log::{START, TestLog, at_ms, open_params, producer_batch, small_config};
use crate::{
    AppendError, DeleteRecordsError, FetchIsolation, LogConfig, LogContext, StorageError, UnifiedLog,
};

/// Offset to value, producer and sequence number.
type History = BTreeMap<i64, (String, i64, i32)>;

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// By this producer, so many records.
    Append(i64, usize),
    /// This replica begins to lead in the next epoch.
    Lead,
    Roll,
    Flush,
    /// What the log manager does now and then.
    Checkpoint,
    RunDeferred,
    /// To this share of the log, in percent.
    Truncate(u8),
    TruncateFully(u8),
    DeleteRecords(u8),
    DeleteOldSegments,
    Stop,
    /// The machine goes off right after a clean stop.
    StopAndPowerLoss,
    Kill,
    PowerLoss,
    PowerLossWithNothingWritten,
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (1..4i64, 1..4usize).prop_map(|(producer, records)| Op::Append(producer, records)),
        2 => Just(Op::Lead),
        2 => Just(Op::Roll),
        3 => Just(Op::Flush),
        2 => Just(Op::Checkpoint),
        2 => Just(Op::RunDeferred),
        1 => (0..=100u8).prop_map(Op::Truncate),
        1 => (0..=120u8).prop_map(Op::TruncateFully),
        1 => (0..=100u8).prop_map(Op::DeleteRecords),
        1 => Just(Op::DeleteOldSegments),
        2 => Just(Op::Stop),
        1 => Just(Op::StopAndPowerLoss),
        2 => Just(Op::Kill),
        4 => Just(Op::PowerLoss),
        1 => Just(Op::PowerLossWithNothingWritten),
    ]
}

pub(super) struct Modelled {
    pub disk: SimDisk,
    pub test: TestLog,
    /// All records, those below the log's start too.
    history: History,
    /// In which each record was written.
    epochs: BTreeMap<i64, LeaderEpoch>,
    /// All before it must survive.
    durable: i64,
    /// What the checkpoints say: log start and recovery point.
    checkpoint: (Offset, Offset),
    sequences: BTreeMap<i64, i32>,
    batch_starts: BTreeSet<i64>,
    /// Producer ids in use: one that the log has forgotten gets another one.
    producers: BTreeMap<i64, i64>,
    /// So that no value is there twice.
    appends: u32,
    ms: i64,
}

impl Modelled {
    pub fn new(seed: u64) -> Modelled {
        Modelled::with_config(seed, LogConfig { segment_bytes: 700, ..small_config() })
    }

    pub fn with_config(seed: u64, config: LogConfig) -> Modelled {
        let disk = SimDisk::new(seed);
        let dir = Path::new("/data/t-0");
        disk.create_dir_all(dir).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let test = TestLog::on(Arc::new(disk.clone()), dir.to_owned(), config);
        Modelled {
            disk,
            test,
            history: History::new(),
            epochs: BTreeMap::new(),
            durable: 0,
            checkpoint: (Offset::ZERO, Offset::ZERO),
            sequences: BTreeMap::new(),
            batch_starts: BTreeSet::new(),
            producers: BTreeMap::new(),
            appends: 0,
            ms: 0,
        }
    }

    pub fn log(&self) -> &UnifiedLog {
        &self.test.log
    }

    pub fn run(&mut self, op: &Op) {
        match op {
            Op::Append(producer, records) => self.append(*producer, *records).unwrap(),
            Op::Lead => {
                self.test.epoch = LeaderEpoch(self.test.epoch.0 + 1);
                self.log().assign_epoch_start_offset(self.test.epoch, self.log().log_end_offset());
            }
            Op::Roll => self.log().roll(self.test.now).unwrap(),
            Op::Flush => self.flush(),
            Op::Checkpoint => self.checkpoint = (self.log().log_start_offset(), self.log().recovery_point()),
            Op::RunDeferred => self.run_deferred(),
            Op::Truncate(percent) => self.truncate(self.at(*percent)),
            Op::TruncateFully(percent) => self.truncate_fully(self.at(*percent)),
            Op::DeleteRecords(percent) => {
                self.log().maybe_increment_log_start_offset(Offset(self.at(*percent)), "test").unwrap();
            }
            Op::DeleteOldSegments => drop(self.log().delete_old_segments(self.test.now).unwrap()),
            Op::Stop => self.stop(SimDisk::kill),
            Op::StopAndPowerLoss => self.stop(|disk| disk.crash(Loss::Seeded)),
            Op::Kill => {
                self.disk.kill();
                let end = self.log().log_end_offset();
                self.start(false);
                assert_eq!(self.log().log_end_offset(), end);
            }
            Op::PowerLoss => self.lose_power(Loss::Seeded),
            Op::PowerLossWithNothingWritten => self.lose_power(Loss::Everything),
        }
    }

    /// Runs an operation on a disk that fails, and takes note of what it may have taken away even so. What a log is told
    /// to keep stays durable.
    pub fn try_run(&mut self, op: &Op) -> Result<(), StorageError> {
        let now = self.test.now;
        match op {
            Op::Append(producer, records) => self.append(*producer, *records).map_err(|error| match error {
                AppendError::Storage(error) => error,
                other => panic!("{other}"),
            }),
            Op::Roll => self.log().roll(now),
            Op::Flush => self.log().flush(now),
            Op::DeleteOldSegments => self.log().delete_old_segments(now).map(drop),
            Op::Truncate(percent) => {
                let Some(&to) = self.batch_starts.range(..=self.at(*percent)).next_back() else {
                    return Ok(());
                };
                self.durable = self.durable.min(to);
                self.checkpoint.1 = self.checkpoint.1.min(Offset(to));
                self.log().truncate_to(Offset(to), now).map(drop)
            }
            Op::TruncateFully(percent) => {
                let to = self.at(*percent);
                self.durable = 0;
                self.checkpoint = (Offset::ZERO, Offset::ZERO);
                self.log().truncate_fully_and_start_at(Offset(to), None, now)
            }
            Op::DeleteRecords(percent) => {
                let to = Offset(self.at(*percent));
                match self.log().maybe_increment_log_start_offset(to, "test") {
                    Err(DeleteRecordsError::Storage(error)) => Err(error),
                    other => other.map(drop).map_err(|error| panic!("{error}")),
                }
            }
            Op::Stop => self.log().close(now),
            Op::RunDeferred => {
                self.ms += 30_000;
                self.test.run_at_ms(self.ms);
                // What fails there is reported to the log manager.
                Ok(())
            }
            other => panic!("{other:?} does not fail"),
        }
    }

    fn at(&self, percent: u8) -> i64 {
        let (start, end) = (self.log().log_start_offset().0, self.log().log_end_offset().0);
        start + (end - start) * i64::from(percent) / 100
    }

    pub fn append(&mut self, slot: i64, records: usize) -> Result<(), crate::AppendError> {
        self.appends += 1;
        let producer = *self.producers.entry(slot).or_insert(i64::from(self.appends));
        let first = self.log().log_end_offset().0;
        let values: Vec<String> =
            (0..records).map(|n| format!("{producer} at {}, {}", first + n as i64, self.appends)).collect();
        let sequence = self.sequences.get(&producer).copied().unwrap_or(0);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let appended = self.test.append_batch(&producer_batch(&values, producer, 0, sequence))?;
        assert_eq!(appended.first_offset, Offset(first));
        self.batch_starts.split_off(&first);
        self.batch_starts.insert(first);
        for (n, value) in values.iter().enumerate() {
            self.history.insert(first + n as i64, ((*value).to_owned(), producer, sequence + n as i32));
            self.epochs.insert(first + n as i64, self.test.epoch);
        }
        self.sequences.insert(producer, sequence + records as i32);
        Ok(())
    }

    fn flush(&mut self) {
        self.log().flush(self.test.now).unwrap();
        self.durable = self.durable.max(self.log().log_end_offset().0);
    }

    fn run_deferred(&mut self) {
        self.ms += 30_000;
        self.test.run_at_ms(self.ms);
        self.durable = self.durable.max(self.log().recovery_point().0);
    }

    /// At the start of a batch, as replicas do.
    fn truncate(&mut self, to: i64) {
        let Some(&to) = self.batch_starts.range(..=to).next_back() else { return };
        if self.log().truncate_to(Offset(to), self.test.now).unwrap() {
            self.truncated(to);
        }
    }

    fn truncate_fully(&mut self, to: i64) {
        self.batch_starts.clear();
        self.log().truncate_fully_and_start_at(Offset(to), None, self.test.now).unwrap();
        self.truncated(to);
        // A log that starts anew has no past.
        self.history.clear();
    }

    fn truncated(&mut self, to: i64) {
        self.history.split_off(&to);
        self.durable = self.durable.min(to);
        self.log().update_high_watermark(Offset::MAX);
        self.checkpoint.1 = self.checkpoint.1.min(self.log().recovery_point());
        self.checkpoint.0 = self.checkpoint.0.min(self.log().log_start_offset());
        self.resume_sequences();
    }

    fn stop(&mut self, then: impl FnOnce(&SimDisk)) {
        self.test.close();
        self.checkpoint = (self.log().log_start_offset(), self.log().recovery_point());
        self.durable = self.log().log_end_offset().0;
        then(&self.disk);
        self.start(true);
        assert_eq!(self.log().log_end_offset().0, self.durable);
    }

    pub fn lose_power(&mut self, loss: Loss) {
        self.disk.crash(loss);
        self.start(false);
    }

    /// Opens the log again, and compares.
    pub fn start(&mut self, clean: bool) {
        let log = self.open(clean).unwrap_or_else(|error| panic!("{error}"));
        self.adopt(log);
    }

    pub fn open(&self, clean: bool) -> Result<Arc<UnifiedLog>, crate::OpenError> {
        let producers = ProducerStateConfig { transaction_verification: false, ..Default::default() };
        let context = LogContext::new(Arc::new(self.disk.clone()), producers);
        let (start, recovery_point) = self.checkpoint;
        let params = open_params(&context, &self.test.dir, &self.test.config, start, recovery_point, clean);
        UnifiedLog::open(params, at_ms(self.ms))
    }

    pub fn adopt(&mut self, log: Arc<UnifiedLog>) {
        self.test.context = Arc::clone(log.context());
        self.test.log = log;
        self.log().update_high_watermark(Offset::MAX);
        let found = self.read();
        let end = self.log().log_end_offset().0;
        let start = self.log().log_start_offset().0;
        let expected: History =
            self.history.range(start.min(end)..end).map(|(k, v)| (*k, v.clone())).collect();
        assert_eq!(found, expected);
        assert!(end >= self.durable, "{end} is left of {} durable records", self.durable);
        self.history.split_off(&end);
        self.durable = self.durable.min(end);
        self.resume_sequences();
        self.check_producers();
    }

    /// Producers go on after their last record that is left.
    fn resume_sequences(&mut self) {
        self.sequences.clear();
        for (_, producer, sequence) in self.history.values() {
            self.sequences.insert(*producer, sequence + 1);
        }
        let known: Vec<i64> = self.log().active_producers().iter().map(|p| p.producer_id.0).collect();
        self.sequences.retain(|producer, _| known.contains(producer));
        self.producers.retain(|_, producer| known.contains(producer));
    }

    fn check_producers(&self) {
        for producer in self.log().active_producers() {
            if let Some(next) = self.sequences.get(&producer.producer_id.0) {
                assert_eq!(producer.last_sequence + 1, *next, "producer {}", producer.producer_id);
            }
        }
    }

    /// Reads everything, from every offset.
    pub fn check(&self) {
        let end = self.log().log_end_offset().0;
        let start = self.log().log_start_offset().0;
        let expected: History =
            self.history.range(start.min(end)..end).map(|(k, v)| (*k, v.clone())).collect();
        assert_eq!(self.read(), expected);
        for from in start..end {
            let read = self.log().read(Offset(from), 1, FetchIsolation::LogEnd, true).unwrap();
            let bytes = read.records.unwrap().read().unwrap();
            let first = Batches::new(&bytes).next().unwrap().unwrap();
            assert!((first.base_offset.0..=first.last_offset().0).contains(&from), "read from {from}");
            // A log start that was not in the checkpoint is lost, and what was known of the epochs below it.
            let known_from = self.log().leader_epochs().earliest().map_or(i64::MAX, |e| e.start_offset.0);
            let written_in = self.epochs.get(&from).copied();
            assert_eq!(self.epoch_of(from), written_in.filter(|_| from >= known_from), "epoch of {from}");
        }
        self.check_segments();
    }

    fn epoch_of(&self, offset: i64) -> Option<LeaderEpoch> {
        self.log().leader_epochs().epoch_for_offset(Offset(offset))
    }

    /// Segments follow one another, and their indexes say what is in them.
    fn check_segments(&self) {
        let segments = self.log().segments();
        for segment in segments.iter() {
            let base_offset = segment.base_offset();
            if let Some(next) = segments.higher(base_offset) {
                assert_eq!(segment.read_next_offset().unwrap(), next.base_offset(), "after {base_offset}");
            }
            let mut n = 0;
            while let Some(entry) = segment.offset_index().entry(n).unwrap() {
                if entry.position >= segment.size() {
                    // Of a segment that was below the recovery point already when a power loss took its end. Readers pass
                    // it over.
                    break;
                }
                let file = segment.file().unwrap();
                let header = segment.headers(&*file, entry.position).next().unwrap().unwrap().header;
                assert_eq!(header.last_offset(), Offset(entry.offset), "entry {n} of {base_offset}");
                n += 1;
            }
            let largest = segment.time_index().last_entry().unwrap();
            assert!(largest.timestamp <= START.0, "{largest:?}");
            if segments.higher(base_offset).is_some() && !segment.is_empty() {
                assert_eq!(
                    largest.timestamp, START.0,
                    "the index of {base_offset} lacks the entry that closes it"
                );
            }
        }
    }

    fn read(&self) -> History {
        let mut found = History::new();
        let mut offset = self.log().log_start_offset();
        while let Some(slice) = self.log().read(offset, 500, FetchIsolation::LogEnd, true).unwrap().records {
            let bytes = slice.read().unwrap();
            for batch in Batches::new(&bytes) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                let mut records = batch.records(1 << 20).unwrap();
                while let Some(record) = records.next().unwrap() {
                    if record.offset >= self.log().log_start_offset() {
                        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                        found.insert(record.offset.0, (value, batch.producer_id.0, record.sequence));
                    }
                }
                offset = batch.next_offset();
            }
        }
        found
    }
}

pub(super) fn is_dir_failure(error: &StorageError) -> bool {
    matches!(error, StorageError::DirFailed { .. })
}
