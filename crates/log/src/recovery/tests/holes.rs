//! A compacted log has gaps where nothing is missing. What a loss of power takes out of its middle is told from them.

use std::path::Path;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset};

use crate::disk::sim::Loss;
use crate::disk::{Disk, Open, SimDisk};
use crate::test_log::{TestLog, numbered, small_config};
use crate::{CleanupPolicy, LogConfig};

const DIR: &str = "/data/t-0";

fn compacted() -> (SimDisk, TestLog) {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let config =
        LogConfig { cleanup_policy: CleanupPolicy { delete: false, compact: true }, ..small_config() };
    let log = TestLog::on(Arc::new(disk.clone()), DIR.into(), config);
    (disk, log)
}

/// What the file system may do by itself at any time.
fn write_back(disk: &SimDisk, segment: Option<i64>) {
    disk.sync_dir(Path::new(DIR)).unwrap();
    if let Some(base_offset) = segment {
        let path = format!("{DIR}/{base_offset:020}.log");
        disk.open(Path::new(&path), Open::ReadWrite).unwrap().sync().unwrap();
    }
}

fn reopen(log: &mut TestLog) {
    log.reopen_with(Offset::ZERO, log.log.recovery_point(), false);
}

fn notes(disk: &SimDisk) -> usize {
    let entries = disk.read_dir(Path::new(DIR)).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(".unflushed")).count()
}

fn append_at(log: &TestLog, offset: i64, value: &str) {
    log.log.append_as_follower(&numbered(&[value], offset, 0), LeaderEpoch(0), log.now).unwrap();
}

fn append(log: &TestLog, value: &str) {
    append_at(log, log.log.log_end_offset().0, value);
}

fn offsets(log: &TestLog) -> Vec<i64> {
    log.all().into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn the_log_ends_where_a_segment_has_lost_its_end() {
    for (kills, is_behind_kept) in [(0, false), (0, true), (1, true), (2, false)] {
        let (disk, mut log) = compacted();
        append(&log, "kept");
        log.log.flush(log.now).unwrap();
        append(&log, "lost");
        log.log.roll(log.now).unwrap();
        append(&log, "behind");
        for _ in 0..kills {
            disk.kill();
            reopen(&mut log);
            assert_eq!(offsets(&log), [0, 1, 2]);
        }
        write_back(&disk, is_behind_kept.then_some(2));
        disk.crash(Loss::Everything);
        reopen(&mut log);
        assert_eq!((offsets(&log), log.base_offsets()), (vec![0], vec![0]));
        assert_eq!(notes(&disk), 0);
        append(&log, "new");
        assert_eq!(offsets(&log), [0, 1]);
    }
}

#[test]
fn what_was_flushed_is_kept_behind_gaps() {
    let (disk, mut log) = compacted();
    append_at(&log, 3, "a");
    log.log.roll(log.now).unwrap();
    append_at(&log, 4, "b");
    assert_eq!(notes(&disk), 1);
    log.log.flush(log.now).unwrap();
    assert_eq!(notes(&disk), 0);
    append_at(&log, 9, "c");
    log.log.roll(log.now).unwrap();
    // The leader has nothing in between.
    append_at(&log, 20, "d");
    let recovery_point = log.log.recovery_point();
    for recovery_point in [Offset::ZERO, recovery_point] {
        disk.kill();
        log.reopen_with(Offset::ZERO, recovery_point, false);
        assert_eq!(offsets(&log), [3, 4, 9, 20]);
    }
}

/// Nothing tells a gap that was there when a segment began from one that a loss of power makes: there is none of the latter.
#[test]
fn a_segment_that_begins_behind_a_gap_begins_when_all_before_it_is_on_disk() {
    let begin_behind_gap: [fn(&TestLog); 2] = [
        |log| {
            let value = "x".repeat(450);
            append_at(log, 1, &value);
            append_at(log, 50, &value);
        },
        |log| {
            append_at(log, 1, "a");
            append_at(log, 60, "b");
            assert!(log.log.truncate_to(Offset(50), log.now).unwrap());
            log.log.roll(log.now).unwrap();
            append_at(log, 50, "c");
        },
    ];
    for begin in begin_behind_gap {
        for loses_power in [true, false] {
            let (disk, mut log) = compacted();
            append_at(&log, 0, "first");
            begin(&log);
            assert_eq!(log.base_offsets(), [0, 50]);
            if loses_power {
                write_back(&disk, None);
                disk.crash(Loss::Everything);
            } else {
                disk.kill();
            }
            reopen(&mut log);
            assert_eq!(offsets(&log), if loses_power { vec![0, 1] } else { vec![0, 1, 50] });
        }
    }
}

#[test]
fn a_note_goes_with_the_segment_that_it_is_of() {
    let (disk, mut log) = compacted();
    append(&log, "a");
    log.log.roll(log.now).unwrap();
    append(&log, "b");
    log.log.roll(log.now).unwrap();
    append(&log, "c");
    assert_eq!(notes(&disk), 2);
    log.log.truncate_to(Offset(1), log.now).unwrap();
    assert_eq!(notes(&disk), 1);
    // At the same offset, now behind a gap.
    log.log.truncate_fully_and_start_at(Offset(0), None, log.now).unwrap();
    assert_eq!(notes(&disk), 0);
    append_at(&log, 0, "d");
    log.log.roll(log.now).unwrap();
    append_at(&log, 1, "e");
    disk.kill();
    reopen(&mut log);
    assert_eq!((offsets(&log), notes(&disk)), (vec![0, 1], 1));
    log.reopen(true);
    assert_eq!((offsets(&log), notes(&disk)), (vec![0, 1], 0));
}
