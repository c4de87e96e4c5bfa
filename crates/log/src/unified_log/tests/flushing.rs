//! What is durable when the recovery point says so, the last entries of indexes included: recovery does not look at them
//! again.

use std::path::Path;
use std::sync::Arc;

use ottla_record::BatchOptions;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::disk::sim::{Call, Loss};
use crate::disk::{Disk, SimDisk};
use crate::test_log::{START, TestLog, batch, small_config};
use crate::{AppendError, LogConfig, StorageError, UnifiedLog};

pub(super) fn log_on_sim() -> (SimDisk, TestLog) {
    let disk = SimDisk::new(1);
    let dir = Path::new("/data/t-0");
    disk.create_dir_all(dir).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    // So large that a segment's only time index entry is the one that closes it.
    let config = LogConfig { index_interval_bytes: 100_000, ..small_config() };
    let log = TestLog::on(Arc::new(disk.clone()), dir.to_owned(), config);
    (disk, log)
}

fn append_at(log: &TestLog, ms: i64) {
    log.append_batch(&batch(&["x"], Timestamp(START.0 + ms), BatchOptions::default())).unwrap();
}

fn offset_at(log: &UnifiedLog, ms: i64) -> Option<i64> {
    let found = log.offset_for_timestamp(Timestamp(START.0 + ms)).unwrap();
    found.map(|found| found.offset.0)
}

/// All that was not synced is lost; the recovery point had been written before.
fn lose_power(disk: &SimDisk, log: &mut TestLog) {
    let recovery_point = log.log.recovery_point();
    assert_eq!(recovery_point, log.log.log_end_offset());
    disk.crash(Loss::Everything);
    log.reopen_with(Offset::ZERO, recovery_point, false);
    assert_eq!(log.log.log_end_offset(), recovery_point);
}

#[test]
fn the_entry_that_closes_a_flushed_segment_is_durable() {
    let (disk, mut log) = log_on_sim();
    append_at(&log, 10);
    log.log.flush(log.now).unwrap();
    log.log.roll(log.now).unwrap();
    append_at(&log, 20);
    log.log.flush(log.now).unwrap();
    lose_power(&disk, &mut log);
    assert_eq!([5, 15, 25].map(|ms| offset_at(&log.log, ms)), [Some(0), Some(1), None]);
}

#[test]
fn the_entry_that_closes_a_segment_during_its_flush_is_durable() {
    // Wherever in the flush the roll comes.
    for call in [Call::Sync, Call::SyncDir] {
        let (disk, mut log) = log_on_sim();
        append_at(&log, 10);
        let (rolling, now) = (Arc::clone(&log.log), log.now);
        disk.before_next(call, move || rolling.roll(now).unwrap());
        log.log.flush(log.now).unwrap();
        assert_eq!(log.base_offsets(), [0, 1], "{call:?}");
        append_at(&log, 20);
        log.log.flush(log.now).unwrap();
        lose_power(&disk, &mut log);
        assert_eq!([5, 15, 25].map(|ms| offset_at(&log.log, ms)), [Some(0), Some(1), None], "{call:?}");
    }
}

#[test]
fn the_recovery_point_stays_where_a_sync_failed() {
    for call in [Call::Sync, Call::SyncDir] {
        let (disk, log) = log_on_sim();
        append_at(&log, 10);
        disk.fail_nth(Some(call), 1);
        log.log.flush(log.now).unwrap_err();
        assert_eq!(log.log.recovery_point(), Offset::ZERO, "{call:?}");
    }
}

/// A sync that follows one that failed says nothing of what that one was to keep.
#[test]
fn the_recovery_point_never_passes_what_a_failed_flush_was_to_keep() {
    for is_known in [true, false] {
        let mut failed = 0;
        for n in 1.. {
            let (disk, mut log) = log_on_sim();
            append_at(&log, 10);
            log.log.roll(log.now).unwrap();
            append_at(&log, 20);
            disk.fail_nth(Some(Call::Sync), n);
            let flushed = log.log.flush(log.now);
            if flushed.is_ok() {
                break;
            }
            failed += 1;
            if is_known {
                log.context.failures.take();
            }
            let again = log.log.flush(log.now);
            assert!(is_known || again.is_err());
            append_at(&log, 30);
            let _ = log.log.flush(log.now);
            let recovery_point = log.log.recovery_point();
            disk.crash(Loss::Everything);
            log.reopen_with(Offset::ZERO, recovery_point, false);
            let found: Vec<i64> = log.all().into_iter().map(|(offset, _)| offset).collect();
            assert!(found.into_iter().eq(0..log.log.log_end_offset().0), "the {n}th sync");
            assert!(log.log.log_end_offset() >= recovery_point, "the {n}th sync");
        }
        assert!(failed > 3, "{failed}");
    }
}

#[test]
fn an_append_that_is_to_be_flushed_is_taken_whole_or_not_at_all_by_a_full_disk() {
    let disk = SimDisk::new(1);
    let config = LogConfig { flush_messages: 1, ..small_config() };
    let mut log = TestLog::on(Arc::new(disk.clone()), "/data/t-0".into(), config);
    log.append(&["x"]);
    // A new epoch has to be noted; there is room for the record, and no more.
    log.epoch = LeaderEpoch(7);
    let record = batch(&["y"], START, BatchOptions::default());
    for room in 0..200 {
        disk.set_capacity_bytes(Some(disk.used_bytes() + room));
        let appended = log.append_batch(&record);
        let end = if appended.is_ok() { 2 } else { 1 };
        assert_eq!(
            (log.log.log_end_offset(), log.log.high_watermark()),
            (Offset(end), Offset(end)),
            "{room}"
        );
        if appended.is_ok() {
            assert_eq!(log.log.recovery_point(), Offset(2));
            return;
        }
    }
    panic!("there is never room enough");
}

#[test]
fn a_directory_that_keeps_nothing_is_failed_by_the_append_that_was_to_be_flushed() {
    let disk = SimDisk::new(1);
    let config = LogConfig { flush_messages: 1, ..small_config() };
    let log = TestLog::on(Arc::new(disk.clone()), "/data/t-0".into(), config);
    log.append(&["x"]);
    disk.fail_nth(Some(Call::Sync), 1);
    let refused = log.append_batch(&batch(&["y"], START, BatchOptions::default())).unwrap_err();
    assert!(matches!(refused, AppendError::Storage(StorageError::DirFailed { .. })), "{refused}");
    assert!(log.context.failures.contains(Path::new("/data")));
}

#[test]
fn a_flush_costs_one_sync_while_no_segment_is_rolled() {
    let disk = SimDisk::new(1);
    let config = LogConfig { index_interval_bytes: 10, flush_messages: 1, ..LogConfig::default() };
    let log = TestLog::on(Arc::new(disk.clone()), "/t-0".into(), config);
    // The first one makes the names of the files durable, too.
    log.append(&["x"]);
    let calls = || (disk.calls(Call::Sync), disk.calls(Call::SyncDir));
    let (syncs, dir_syncs) = calls();
    for _ in 0..200 {
        log.append(&["x"]);
    }
    assert_eq!(calls(), (syncs + 200, dir_syncs));
    assert_eq!(log.log.recovery_point(), Offset(201));
    log.log.roll(log.now).unwrap();
    assert_eq!(log.log.recovery_point(), Offset(201));
    let rolled = log.log.segments().first().unwrap().clone();
    for path in [rolled.path(), rolled.offset_index().path(), rolled.time_index().path()] {
        assert!(disk.is_synced(&path).unwrap(), "{}", path.display());
    }
}
