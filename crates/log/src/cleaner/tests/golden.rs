//! From what Apache Kafka wrote, compaction makes the same bytes as Apache Kafka's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{MonoMs, Now, Offset, Timestamp, TopicPartition};

use super::*;
use crate::disk::{Disk, RealDisk};
use crate::names::{FileKind, SegmentFile};
use crate::test_log::open_params;
use crate::{CleanupPolicy, LogConfig, LogContext};

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

fn delete_horizons(log: &UnifiedLog) -> BTreeSet<Timestamp> {
    let mut horizons = BTreeSet::new();
    for_each_batch(log, |batch| horizons.extend(batch.delete_horizon()));
    horizons
}

fn open(dir: &Path, partition: &str, delete_retention_ms: i64, now: Now) -> Arc<UnifiedLog> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(16));
    let config = LogConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        segment_bytes: 3072,
        index_interval_bytes: 256,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms,
        ..LogConfig::default()
    };
    let context = LogContext::new(disk, Default::default());
    let mut params = open_params(&context, dir, &config, Offset::ZERO, Offset::ZERO, true);
    params.partition = TopicPartition::new(partition.strip_suffix("-0").unwrap(), 0);
    let log = UnifiedLog::open(params, now).unwrap();
    log.update_high_watermark(Offset::MAX);
    log
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Files of segments with their contents, but for those that are being removed.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| SegmentFile::parse(name).is_some_and(|file| file.kind != FileKind::ProducerSnapshot))
        .filter(|name| !name.ends_with(".deleted"))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect()
}

fn check(before: &str, after: &str, partition: &str, clean_up_to: Option<i64>, delete_retention_ms: i64) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(partition);
    copy(&testdata(before).join(partition), &dir);
    let expected_dir = root.path().join("expected").join(partition);
    copy(&testdata(after).join(partition), &expected_dir);

    let any_time = Now { wall: Timestamp(1_800_000_000_000), mono: MonoMs(0) };
    let kafkas = open(&expected_dir, partition, delete_retention_ms, any_time);
    let log = open(&dir, partition, delete_retention_ms, any_time);
    // Kafka's clock at the cleaning, from the one horizon that it set.
    let horizons = &delete_horizons(&kafkas) - &delete_horizons(&log);
    assert_eq!(horizons.len(), 1);
    let wall = Timestamp(horizons.first().unwrap().0 - delete_retention_ms);
    let now = Now { wall, ..any_time };
    let manager = CleanerManager::new(Arc::clone(&log.context().disk));
    if let Some(offset) = clean_up_to {
        std::fs::write(
            root.path().join("cleaner-offset-checkpoint"),
            format!("0\n1\n{} 0 {offset}\n", log.partition().topic),
        )
        .unwrap();
    }
    manager.add_dir(root.path()).unwrap();
    let (end, stats) = clean(&manager, &log, now).unwrap();
    log.close(now).unwrap();
    kafkas.close(now).unwrap();

    let kafkas_end = std::fs::read_to_string(testdata(after).join("cleaner-offset-checkpoint")).unwrap();
    let line = format!("{} 0 {end}", log.partition().topic);
    assert!(kafkas_end.lines().any(|kafkas| kafkas == line), "{line}: {kafkas_end}");
    assert!(stats.records_written < stats.records_read);
    let (found, expected) = (files(&dir), files(&expected_dir));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{partition}/{name}");
    }
}

#[test]
fn keyed_records() {
    check("written", "compacted", "keyed-0", None, 86_400_000);
}

#[test]
fn transactions() {
    check("written", "compacted", "copied-0", None, 86_400_000);
}

#[test]
fn a_second_cleaning_joins_segments() {
    check("grown", "compacted-again", "keyed-0", Some(209), 1);
}
