//! What is read and written here is what Apache Kafka writes: see `testdata/README.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::{Batch, BatchHeader, Batches};
use ottla_types::{BrokerEpoch, NodeId, Offset};

use crate::checkpoint::{OffsetCheckpoint, OffsetCheckpointKind};
use crate::disk::{Disk, RealDisk};
use crate::index::{OffsetIndex, TimeIndex, TxnIndex};
use crate::leader_epoch_cache::LeaderEpochCache;
use crate::meta_properties::MetaProperties;
use crate::names::{self, FileKind, FileState, PartitionDirName, SegmentFile};
use crate::partition_dir::PartitionDir;
use crate::test_log::TestLog;
use crate::{LogConfig, clean_shutdown, partition_metadata, producer_snapshot};

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

const PARTITIONS: [&str; 5] = [
    "written/keyed-0",
    "written/copied-0",
    "compacted/keyed-0",
    "compacted/copied-0",
    "compacted-again/keyed-0",
];

/// A partition of Kafka's, and an empty directory to write the same files to.
struct Pair {
    _root: tempfile::TempDir,
    kafka: Arc<PartitionDir>,
    ours: Arc<PartitionDir>,
}

impl Pair {
    fn new(partition: &str) -> Pair {
        let root = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(16));
        let kafka = PartitionDir::new(Arc::clone(&disk), testdata(partition));
        let ours = PartitionDir::new(disk, root.path());
        Pair { _root: root, kafka, ours }
    }

    fn base_offsets(&self, kind: FileKind) -> Vec<i64> {
        let entries = self.kafka.disk().read_dir(&self.kafka.path()).unwrap();
        let files = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
        files.filter(|file| file.kind == kind).map(|file| file.base_offset).collect()
    }

    #[track_caller]
    fn check_same(&self, name: &str) {
        let read = |dir: &PartitionDir| std::fs::read(dir.file(name)).unwrap();
        assert_eq!(read(&self.ours), read(&self.kafka), "{}", self.kafka.file(name).display());
    }

    fn name(base_offset: i64, kind: FileKind) -> String {
        SegmentFile { base_offset, kind, state: FileState::Live }.to_string()
    }
}

#[test]
fn offset_indexes() {
    let mut entries = 0;
    for partition in PARTITIONS {
        let pair = Pair::new(partition);
        for base_offset in pair.base_offsets(FileKind::OffsetIndex) {
            let kafka = OffsetIndex::new(Arc::clone(&pair.kafka), base_offset, FileState::Live);
            let ours = OffsetIndex::new(Arc::clone(&pair.ours), base_offset, FileState::Live);
            let log = std::fs::read(pair.kafka.file(&Pair::name(base_offset, FileKind::Log))).unwrap();
            kafka.sanity_check().unwrap();
            for n in 0..kafka.len().unwrap() {
                let entry = kafka.entry(n).unwrap().unwrap();
                let batch = Batch::parse(&log[entry.position as usize..]).unwrap();
                assert!((batch.base_offset..=batch.last_offset()).contains(&Offset(entry.offset)));
                assert_eq!(kafka.lookup(entry.offset).unwrap(), entry);
                ours.append(entry.offset, entry.position, 10 << 20).unwrap();
                entries += 1;
            }
            ours.len().unwrap();
            ours.flush().unwrap();
            pair.check_same(&Pair::name(base_offset, FileKind::OffsetIndex));
        }
    }
    assert!(entries > 20);
}

#[test]
fn time_indexes() {
    let mut entries = 0;
    for partition in PARTITIONS {
        let pair = Pair::new(partition);
        for base_offset in pair.base_offsets(FileKind::TimeIndex) {
            let kafka = TimeIndex::new(Arc::clone(&pair.kafka), base_offset, FileState::Live);
            let ours = TimeIndex::new(Arc::clone(&pair.ours), base_offset, FileState::Live);
            kafka.sanity_check().unwrap();
            for n in 0..kafka.len().unwrap() {
                let entry = kafka.entry(n).unwrap().unwrap();
                assert_eq!(kafka.lookup(entry.timestamp).unwrap(), entry);
                ours.maybe_append(entry.timestamp, entry.offset, 10 << 20, false).unwrap();
                entries += 1;
            }
            ours.len().unwrap();
            ours.flush().unwrap();
            pair.check_same(&Pair::name(base_offset, FileKind::TimeIndex));
        }
    }
    assert!(entries > 20);
}

#[test]
fn transaction_indexes() {
    let mut entries = 0;
    for partition in PARTITIONS {
        let pair = Pair::new(partition);
        for base_offset in pair.base_offsets(FileKind::TxnIndex) {
            let kafka = TxnIndex::new(Arc::clone(&pair.kafka), base_offset, FileState::Live);
            let ours = TxnIndex::new(Arc::clone(&pair.ours), base_offset, FileState::Live);
            kafka.sanity_check().unwrap();
            for txn in kafka.all().unwrap() {
                assert!(kafka.collect(txn.first_offset, txn.last_offset).unwrap().txns.contains(&txn));
                ours.append(txn).unwrap();
                entries += 1;
            }
            pair.check_same(&Pair::name(base_offset, FileKind::TxnIndex));
        }
    }
    assert!(entries > 5);
}

#[test]
fn producer_snapshots() {
    let mut entries = 0;
    for partition in PARTITIONS {
        let pair = Pair::new(partition);
        for offset in pair.base_offsets(FileKind::ProducerSnapshot) {
            let bytes =
                std::fs::read(pair.kafka.file(&Pair::name(offset, FileKind::ProducerSnapshot))).unwrap();
            let producers = producer_snapshot::decode(&bytes).unwrap();
            assert!(producers.iter().all(|producer| producer.last_offset < Offset(offset)));
            assert_eq!(producer_snapshot::encode(&producers), bytes);
            entries += producers.len();
        }
    }
    assert!(entries > 5);
}

#[test]
fn epochs_and_topic_ids() {
    for partition in PARTITIONS {
        let pair = Pair::new(partition);
        let kafka = LeaderEpochCache::open(Arc::clone(&pair.kafka)).unwrap();
        let ours = LeaderEpochCache::open(Arc::clone(&pair.ours)).unwrap();
        ours.assign_all(&kafka.entries());
        ours.flush().unwrap();
        pair.check_same(names::LEADER_EPOCH_CHECKPOINT);
        for base_offset in pair.base_offsets(FileKind::Log) {
            let log = std::fs::read(pair.kafka.file(&Pair::name(base_offset, FileKind::Log))).unwrap();
            let first = BatchHeader::parse(&log).unwrap().unwrap();
            assert_eq!(kafka.epoch_for_offset(first.base_offset), Some(first.partition_leader_epoch));
        }
        let topic_id = partition_metadata::read(&pair.kafka).unwrap().unwrap();
        partition_metadata::write(&pair.ours, topic_id).unwrap();
        pair.check_same(names::PARTITION_METADATA);
        assert!(PartitionDirName::parse(partition.rsplit_once('/').unwrap().1).is_ok());
    }
}

#[test]
fn files_of_the_node() {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(16));
    let root = tempfile::tempdir().unwrap();
    let node = testdata("node");
    for kind in [
        OffsetCheckpointKind::RecoveryPoint,
        OffsetCheckpointKind::Replication,
        OffsetCheckpointKind::LogStartOffset,
    ] {
        let entries = OffsetCheckpoint::new(Arc::clone(&disk), &node, kind).read().unwrap();
        assert_eq!(entries.len(), if kind == OffsetCheckpointKind::LogStartOffset { 0 } else { 102 });
        let ours = OffsetCheckpoint::new(Arc::clone(&disk), root.path(), kind);
        ours.write(entries.iter().map(|(partition, offset)| (partition, *offset))).unwrap();
        let read = |dir: &Path| std::fs::read(dir.join(kind.file_name())).unwrap();
        assert_eq!(read(root.path()), read(&node));
    }
    let cleaner =
        OffsetCheckpoint::new(Arc::clone(&disk), &testdata("compacted"), OffsetCheckpointKind::Cleaner);
    assert_eq!(cleaner.read().unwrap().len(), 2);

    let properties = MetaProperties::read(&*disk, &node).unwrap().unwrap();
    assert_eq!((properties.node_id, properties.others.len()), (Some(NodeId(1)), 0));
    assert!(properties.cluster_id.is_some() && properties.directory_id.is_some());

    let mark = clean_shutdown::read(&*disk, &node).unwrap().unwrap();
    assert!(mark.broker_epoch > Some(BrokerEpoch(0)));
    clean_shutdown::write(&*disk, root.path(), mark.broker_epoch.unwrap()).unwrap();
    let read = |dir: &Path| std::fs::read(dir.join(names::CLEAN_SHUTDOWN)).unwrap();
    assert_eq!(read(root.path()), read(&node));
}

/// What old versions of Kafka wrote is neither converted nor refused.
#[test]
fn segments_of_old_formats_are_served_as_they_lie() {
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("../record/testdata");
    let paths = std::fs::read_dir(written).unwrap().map(|entry| entry.unwrap().path());
    let is_old = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        ["v0-", "v1-"].iter().any(|start| name.starts_with(start))
    };
    let old: Vec<PathBuf> = paths.filter(is_old).collect();
    assert!(old.len() >= 10, "{old:?}");
    for (path, clean) in old.iter().flat_map(|path| [(path, true), (path, false)]) {
        let bytes = std::fs::read(path).unwrap();
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("t-0");
        std::fs::create_dir(&dir).unwrap();
        let segment = dir.join("00000000000000000000.log");
        std::fs::write(&segment, &bytes).unwrap();
        let mut log = TestLog::on(Arc::new(RealDisk::new(8)), dir, LogConfig::default());
        log.reopen(clean);
        let end = Batches::new(&bytes).last().unwrap().unwrap().next_offset();
        assert_eq!(log.log.log_end_offset(), end, "{}", path.display());
        let (mut served, mut offset) = (Vec::new(), Offset::ZERO);
        while offset < end {
            let part = log.read(offset.0, 1).unwrap().records.unwrap().read().unwrap();
            offset = Batches::new(&part).last().unwrap().unwrap().next_offset();
            served.extend_from_slice(&part);
        }
        assert_eq!(served, bytes, "{}", path.display());
        log.append(&["new"]);
        log.reopen(clean);
        assert_eq!(log.log.log_end_offset(), end.next());
        assert!(std::fs::read(&segment).unwrap().starts_with(&bytes));
    }
}
