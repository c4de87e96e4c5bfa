//! What the files of a partition hold, read without the log engine: from front to back, each batch as it lies.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_log::disk::{Disk, Open, SimDisk};
use ottla_log::log_manager::LogManager;
use ottla_record::{Batches, ControlRecordType};
use ottla_types::{METADATA_TOPIC, TopicPartition};

use crate::event::RecordId;
use crate::node::DIR;

const DECOMPRESSED_BYTES_MAX: usize = 1 << 24;

/// A record in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub offset: i64,
    pub timestamp: i64,
    /// None for what no simulated producer wrote.
    pub id: Option<RecordId>,
    /// Of the record's bytes.
    pub checksum: u64,
    /// -1 for a producer that is not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub is_transactional: bool,
    /// What a marker says: whether its producer's transaction is committed.
    pub marker: Option<bool>,
}

impl Stored {
    /// By an idempotent producer.
    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }
}

/// One partition's log.
#[derive(Clone, Debug)]
pub struct LogFiles {
    pub partition: TopicPartition,
    /// Where the log began and ended in the process's eyes; what lies in front may still be in a file.
    pub log_start: i64,
    pub log_end: i64,
    /// Everything in front was flushed.
    pub flushed: i64,
    pub records: Vec<Stored>,
}

/// The logs of all partitions that a process knows, from their files. The disk must not be failing.
pub fn read_all(disk: &SimDisk, logs: &LogManager) -> Vec<LogFiles> {
    let mut all = Vec::new();
    for log in logs.logs() {
        let partition = log.partition().clone();
        let records = read_dir(disk, &log.dir());
        all.push(LogFiles {
            partition,
            log_start: log.log_start_offset().0,
            log_end: log.log_end_offset().0,
            flushed: log.recovery_point().0,
            records,
        });
    }
    all
}

/// The metadata as far as a process has published it, which is up to, not including, `end`; what lies in front of its
/// last snapshot may be gone.
pub fn read_metadata(disk: &SimDisk, end: i64) -> LogFiles {
    let partition = TopicPartition::new(METADATA_TOPIC, 0);
    let mut records = read_dir(disk, &Path::new(DIR).join(partition.to_string()));
    records.retain(|record| record.offset < end);
    let log_start = records.first().map_or(end, |record| record.offset);
    LogFiles { partition, log_start, log_end: end, flushed: end, records }
}

fn read_dir(disk: &SimDisk, dir: &Path) -> Vec<Stored> {
    let Ok(entries) = disk.read_dir(dir) else { return Vec::new() };
    let mut segments: Vec<PathBuf> =
        entries.iter().filter(|e| e.name.ends_with(".log")).map(|e| dir.join(&e.name)).collect();
    segments.sort();
    let mut records = Vec::new();
    for segment in segments {
        let file = disk.open(&segment, Open::Read).expect("the disk works");
        let mut bytes = vec![0; file.len().expect("the disk works") as usize];
        file.read_at(&mut bytes, 0).expect("the disk works");
        if !read_batches(&bytes, &mut records) {
            break;
        }
    }
    records
}

/// The records of whole, correct batches, up to the first that is not; whether there was none such.
pub fn read_batches(bytes: &[u8], into: &mut Vec<Stored>) -> bool {
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch else { return false };
        if batch.check_crc().is_err() {
            return false;
        }
        let header = *batch.header();
        let mut records =
            batch.records(DECOMPRESSED_BYTES_MAX).expect("a batch with a right checksum is read");
        while let Some(record) = records.next().expect("a batch with a right checksum is read") {
            into.push(Stored {
                offset: record.offset.0,
                timestamp: record.timestamp.0,
                id: record.value.filter(|_| !header.is_control()).and_then(parse_value),
                checksum: checksum(record.key, record.value),
                producer_id: header.producer_id.0,
                producer_epoch: header.producer_epoch.0,
                is_transactional: header.is_transactional(),
                marker: record.key.filter(|_| header.is_control()).and_then(outcome),
            });
        }
    }
    true
}

/// What a marker's key says.
fn outcome(key: &[u8]) -> Option<bool> {
    match ControlRecordType::parse(key).ok()? {
        ControlRecordType::Commit => Some(true),
        ControlRecordType::Abort => Some(false),
        _ => None,
    }
}

/// A record's value, filled up to `bytes`.
pub fn value(id: RecordId, bytes: usize) -> Bytes {
    let mut value = format!("{}:{}:", id.producer, id.number).into_bytes();
    let more = bytes.saturating_sub(value.len());
    value.extend((0..more).map(|i| b'a' + ((id.number + i as u64) % 23) as u8));
    value.into()
}

/// Whose value it is; none if no producer of a simulation wrote it.
pub fn parse_value(value: &[u8]) -> Option<RecordId> {
    let mut parts = value.splitn(3, |b| *b == b':').map(std::str::from_utf8);
    let producer = parts.next()?.ok()?.parse().ok()?;
    let number = parts.next()?.ok()?.parse().ok()?;
    Some(RecordId { producer, number })
}

/// FNV-1a of key and value.
fn checksum(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let bytes = key.unwrap_or_default().iter().chain(value.unwrap_or_default());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}
