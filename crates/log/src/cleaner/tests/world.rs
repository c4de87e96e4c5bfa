//! A compacted log on a simulated disk, beside a plain list of what was appended to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_record::{
    AppendOrigin, BatchBuilder, BatchOptions, Codec, Compression, ControlRecordType, EndTxnMarker, NewRecord,
    end_txn_batch,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::*;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::names::{FileKind, SegmentFile};
use crate::producer_state::ProducerStateConfig;
use crate::test_log::{at_ms, open_params};
use crate::{CleanupPolicy, FetchIsolation, LeaderAppend, LogConfig, LogContext};

pub(super) const DELETE_RETENTION_MS: i64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Producer {
    Plain,
    Idempotent,
    Transactional(i64),
}

pub(super) const IDEMPOTENT: i64 = 3;

impl Producer {
    pub(super) fn id(self) -> Option<i64> {
        match self {
            Producer::Plain => None,
            Producer::Idempotent => Some(IDEMPOTENT),
            Producer::Transactional(id) => Some(id),
        }
    }
}

/// What a reader of the log meets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Record { offset: i64, key: u8, value: Option<u8>, timestamp: i64, transaction_of: Option<i64> },
    End { producer_id: i64, committed: bool },
}

/// The latest committed record of each key, with its offset; not those that were deleted.
pub(super) fn view(events: &[Event]) -> BTreeMap<u8, (i64, u8)> {
    let mut latest: BTreeMap<u8, (i64, Option<u8>)> = BTreeMap::new();
    let mut open: BTreeMap<i64, Vec<(u8, i64, Option<u8>)>> = BTreeMap::new();
    let commit = |latest: &mut BTreeMap<u8, (i64, Option<u8>)>, (key, offset, value)| {
        let entry = latest.entry(key).or_insert((offset, value));
        if entry.0 < offset {
            *entry = (offset, value);
        }
    };
    for event in events {
        match *event {
            Event::Record { offset, key, value, transaction_of: None, .. } => {
                commit(&mut latest, (key, offset, value))
            }
            Event::Record { offset, key, value, transaction_of: Some(id), .. } => {
                open.entry(id).or_default().push((key, offset, value));
            }
            Event::End { producer_id, committed } => {
                let ended = open.remove(&producer_id).unwrap_or_default();
                if committed {
                    ended.into_iter().for_each(|record| commit(&mut latest, record));
                }
            }
        }
    }
    latest.into_iter().filter_map(|(key, (offset, value))| Some((key, (offset, value?)))).collect()
}

pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) config: LogConfig,
    pub(super) context: Arc<LogContext>,
    pub(super) log: Arc<UnifiedLog>,
    pub(super) manager: CleanerManager,
    pub(super) now_ms: i64,
    pub(super) sequences: BTreeMap<i64, i32>,
    pub(super) open_txns: Vec<i64>,
    /// All that was ever appended.
    pub(super) history: Vec<Event>,
}

pub(super) const DIR: &str = "/data/t-0";

impl World {
    pub(super) fn new(seed: u64) -> World {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(DIR)).unwrap();
        for dir in ["/", "/data"] {
            disk.sync_dir(Path::new(dir)).unwrap();
        }
        let config = LogConfig {
            cleanup_policy: CleanupPolicy { delete: false, compact: true },
            segment_bytes: 700,
            index_interval_bytes: 100,
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: DELETE_RETENTION_MS,
            ..LogConfig::default()
        };
        let (context, log) = open(&disk, &config, Offset::ZERO, at_ms(0));
        let manager = CleanerManager::new(Arc::new(disk.clone()));
        manager.add_dir(Path::new("/data")).unwrap();
        World {
            disk,
            config,
            context,
            log,
            manager,
            now_ms: 0,
            sequences: BTreeMap::new(),
            open_txns: Vec::new(),
            history: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        at_ms(self.now_ms)
    }

    /// The process ends and starts again, after a clean stop or a crash.
    pub(super) fn reopen(&mut self, recovery_point: Offset) {
        (self.context, self.log) = open(&self.disk, &self.config, recovery_point, self.now());
        self.manager = CleanerManager::new(Arc::new(self.disk.clone()));
        self.manager.add_dir(Path::new("/data")).unwrap();
    }

    pub(super) fn append_bytes(&self, batch: Vec<u8>, origin: AppendOrigin) -> i64 {
        let append = LeaderAppend::new(LeaderEpoch(0), origin);
        let appended = self.log.append_as_leader(&Bytes::from(batch), &append, self.now()).unwrap();
        self.log.update_high_watermark(Offset::MAX);
        appended.first_offset.0
    }

    pub(super) fn append(&mut self, producer: Producer, codec: u8, records: &[(u8, Option<u8>)]) {
        let sequence = producer.id().map_or(-1, |id| {
            let next = self.sequences.entry(id).or_insert(0);
            *next += records.len() as i32;
            *next - records.len() as i32
        });
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: Compression::new(Codec::from_id(codec).unwrap()),
            producer_id: ProducerId(producer.id().unwrap_or(-1)),
            producer_epoch: ProducerEpoch(if producer == Producer::Plain { -1 } else { 0 }),
            base_sequence: sequence,
            transactional: matches!(producer, Producer::Transactional(_)),
            ..BatchOptions::default()
        });
        for (i, (key, value)) in records.iter().enumerate() {
            let timestamp = Timestamp(self.now().wall.0 + i as i64);
            let value = value.map(|value| [value; 20]);
            let value = value.as_ref().map(|value| &value[..]);
            builder
                .append(&NewRecord { timestamp, key: Some(&[*key]), value, ..NewRecord::default() })
                .unwrap();
        }
        let base = self.append_bytes(builder.build().unwrap(), AppendOrigin::Client);
        for (i, &(key, value)) in records.iter().enumerate() {
            let transaction_of = match producer {
                Producer::Transactional(id) => Some(id),
                _ => None,
            };
            let timestamp = self.now().wall.0 + i as i64;
            self.history.push(Event::Record {
                offset: base + i as i64,
                key,
                value,
                timestamp,
                transaction_of,
            });
        }
        if let Producer::Transactional(id) = producer
            && !self.open_txns.contains(&id)
        {
            self.open_txns.push(id);
        }
    }

    pub(super) fn end_txn(&mut self, producer_id: i64, committed: bool) {
        // A marker may also end a transaction that has written nothing here.
        if !self.sequences.contains_key(&producer_id) {
            return;
        }
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let (id, epoch) = (ProducerId(producer_id), ProducerEpoch(0));
        let batch = end_txn_batch(marker, id, epoch, self.now().wall, LeaderEpoch(0)).unwrap();
        self.append_bytes(batch, AppendOrigin::Coordinator);
        self.history.push(Event::End { producer_id, committed });
        self.open_txns.retain(|&open| open != producer_id);
    }

    pub(super) fn cleaner_config(map_bytes: u16, io_bytes: u16) -> CleanerConfig {
        CleanerConfig {
            dedupe_buffer_bytes: u64::from(map_bytes),
            io_buffer_bytes: u64::from(io_bytes),
            ..config()
        }
    }

    pub(super) fn clean(&mut self, map_bytes: u16, io_bytes: u16) {
        let before = self.clean_up_to();
        let config = World::cleaner_config(map_bytes, io_bytes);
        let Some(cleaning) = self.manager.grab_filthiest([&self.log], &config, self.now()) else { return };
        loop {
            match self.manager.step(&cleaning, self.now()) {
                CleanProgress::Worked { .. } => {}
                CleanProgress::Finished(stats) => {
                    assert_eq!(stats.invalid_records, 0);
                    break;
                }
                CleanProgress::Ended => panic!("the cleaning ended early"),
            }
        }
        assert!(self.clean_up_to() > before, "a cleaning gets on");
    }

    pub(super) fn clean_up_to(&self) -> i64 {
        self.manager.clean_up_to(Path::new("/data"), self.log.partition()).map_or(0, |offset| offset.0)
    }

    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut next_offset = 0;
        for_each_batch(&self.log, |batch| {
            assert!(batch.base_offset.0 >= next_offset, "offsets grow");
            next_offset = batch.next_offset().0;
            let mut records = batch.records(1 << 20).unwrap();
            while let Some(record) = records.next().unwrap() {
                let producer_id = batch.producer_id.0;
                events.push(match (batch.is_control(), record.key) {
                    (true, Some(key)) => {
                        let committed = ControlRecordType::parse(key).unwrap() == ControlRecordType::Commit;
                        Event::End { producer_id, committed }
                    }
                    (_, key) => Event::Record {
                        offset: record.offset.0,
                        key: key.unwrap()[0],
                        value: record.value.map(|value| value[0]),
                        timestamp: record.timestamp.0,
                        transaction_of: batch.is_transactional().then_some(producer_id),
                    },
                });
            }
        });
        events
    }

    pub(super) fn check_view(&self) {
        assert_eq!(view(&self.events()), view(&self.history), "each key's latest value");
    }

    /// What must be true whenever no cleaning is under way.
    pub(super) fn check(&self) {
        self.check_view();
        let events = self.events();
        let mut history = self.history.iter();
        for event in &events {
            if matches!(event, Event::Record { .. }) {
                assert!(
                    history.any(|appended| appended == event),
                    "{event:?} is new, changed or out of order"
                );
            }
        }
        let is_dirty =
            |event: &&Event| matches!(event, Event::Record { offset, .. } if *offset >= self.clean_up_to());
        let dirty = |events: &[Event]| events.iter().filter(is_dirty).cloned().collect::<Vec<_>>();
        assert_eq!(dirty(&events), dirty(&self.history), "what was not cleaned is all there");
        let mut clean_keys = BTreeMap::new();
        for event in events.iter().filter(|event| !is_dirty(event)) {
            if let Event::Record { key, .. } = event {
                *clean_keys.entry(*key).or_insert(0) += 1;
            }
        }
        assert!(clean_keys.values().all(|&records| records == 1), "one record a key: {clean_keys:?}");
    }

    /// Producer state that is read from the batches alone is what it was.
    pub(super) fn check_producers(&mut self) {
        let before = self.log.active_producers();
        self.log.close(self.now()).unwrap();
        for entry in self.disk.read_dir(Path::new(DIR)).unwrap() {
            if SegmentFile::parse(&entry.name).is_some_and(|file| file.kind == FileKind::ProducerSnapshot) {
                self.disk.remove_file(&Path::new(DIR).join(&entry.name)).unwrap();
            }
        }
        self.reopen(Offset::ZERO);
        let after = self.log.active_producers();
        let known = |producers: &[crate::ActiveProducer]| {
            producers
                .iter()
                .map(|producer| (producer.producer_id, producer.last_sequence))
                .collect::<Vec<_>>()
        };
        assert_eq!(known(&after), known(&before));
    }
}

pub(super) fn open(
    disk: &SimDisk,
    config: &LogConfig,
    recovery_point: Offset,
    now: Now,
) -> (Arc<LogContext>, Arc<UnifiedLog>) {
    let producers = ProducerStateConfig { transaction_verification: false, ..Default::default() };
    let context = LogContext::new(Arc::new(disk.clone()), producers);
    let params = open_params(&context, Path::new(DIR), config, Offset::ZERO, recovery_point, false);
    let log = UnifiedLog::open(params, now).unwrap();
    log.update_high_watermark(Offset::MAX);
    (context, log)
}

/// Appends one record.
pub(super) fn append_keyed(log: &UnifiedLog, key: &[u8], value: &[u8], now: Now) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let timestamp = now.wall;
    builder
        .append(&NewRecord { timestamp, key: Some(key), value: Some(value), ..NewRecord::default() })
        .unwrap();
    let append = LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client);
    log.append_as_leader(&Bytes::from(builder.build().unwrap()), &append, now).unwrap();
    log.update_high_watermark(Offset::MAX);
}

/// Reads some batches from `offset` on; returns the offset after them.
pub(super) fn read_on(log: &UnifiedLog, offset: i64) -> i64 {
    let read = log.read(Offset(offset), 500, FetchIsolation::HighWatermark, true).unwrap();
    let Some(slice) = read.records else { return offset };
    let mut next = offset;
    for batch in Batches::new(&slice.read().unwrap()) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        next = batch.next_offset().0;
    }
    assert!(next > offset, "the reader at {offset} does not get on");
    next
}
