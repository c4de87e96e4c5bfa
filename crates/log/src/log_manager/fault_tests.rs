//! Log directories that fail at any call, while logs are loaded and while they are kept: what is on the disk afterwards is
//! enough for the next start.

use std::path::{Path, PathBuf};

use ottla_record::{AppendOrigin, BatchOptions, Batches};
use ottla_types::{BrokerEpoch, LeaderEpoch, Offset, TopicPartition, Uuid};

use super::*;
use crate::disk::sim::{Call, Loss};
use crate::disk::{Disk, SimDisk};
use crate::test_log::{START, at_ms, batch, small_config};
use crate::{FetchIsolation, LeaderAppend, LogConfig};

const LOGS: i32 = 4;
const RECORDS: i64 = 30;
/// In a log that stops.
const UNFLUSHED: i64 = 5;

fn partition(n: i32) -> TopicPartition {
    TopicPartition::new("t", n)
}

fn configs(_: &str) -> Arc<LogConfig> {
    Arc::new(LogConfig { retention_bytes: 1500, ..small_config() })
}

fn dirs() -> Vec<PathBuf> {
    vec!["/one".into(), "/two".into()]
}

fn manager(disk: &SimDisk) -> LogManager {
    let config = LogManagerConfig {
        initial_task_delay_ms: 0,
        // Each call in the same order every time.
        recovery_threads_per_dir: 1,
        recovery_point_checkpoint_ms: 1000,
        log_start_offset_checkpoint_ms: 1000,
        high_watermark_checkpoint_ms: 1000,
        retention_check_ms: 10_000,
        ..LogManagerConfig::new(dirs())
    };
    LogManager::new(config, Arc::new(disk.clone()), at_ms(0))
}

fn append(log: &UnifiedLog, records: i64, value_bytes: usize) {
    for record in 0..records {
        let value = format!("{record}").repeat(value_bytes);
        let append = LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client);
        log.append_as_leader(&batch(&[&value], START, BatchOptions::default()), &append, at_ms(0)).unwrap();
    }
}

/// Every batch is whole.
fn read_all(log: &UnifiedLog) {
    let mut offset = log.log_start_offset();
    while offset < log.log_end_offset() {
        let read = log.read(offset, 1000, FetchIsolation::LogEnd, true).unwrap();
        for batch in Batches::new(&read.records.unwrap().read().unwrap()) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            offset = batch.next_offset();
        }
    }
}

fn to_create(n: i32) -> CreateLog {
    CreateLog {
        partition: partition(n),
        topic_id: Some(Uuid([1; 16])),
        config: configs("t"),
        is_new: true,
        dir: None,
    }
}

/// A broker whose logs begin at different offsets, known from checkpoints alone.
fn broker(disk: &SimDisk) -> LogManager {
    let logs = manager(disk);
    logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
    for n in 0..LOGS {
        let log = logs.get_or_create(&to_create(n), at_ms(0)).unwrap();
        append(&log, RECORDS, 7);
        log.update_high_watermark(Offset::MAX);
        log.flush(at_ms(0)).unwrap();
        log.maybe_increment_log_start_offset(Offset(i64::from(n) + 1), "test").unwrap();
    }
    logs.tick(at_ms(2000));
    assert!(logs.context().failures.is_empty());
    logs
}

/// A start on a disk that works finds everything. Records that retention may have removed meanwhile need not be there.
fn check_next_start(disk: &SimDisk, may_retain: bool, what: &str) {
    let logs = manager(disk);
    logs.load(&configs, &LoadProgress::default(), at_ms(5000)).unwrap();
    assert!(logs.context().failures.is_empty(), "{what}");
    for n in 0..LOGS {
        let log = logs.log(&partition(n)).unwrap_or_else(|| panic!("{what}: log {n} is missing"));
        // What was appended and not flushed may be there.
        let end = log.log_end_offset();
        assert!((RECORDS..=RECORDS + UNFLUSHED).contains(&end.0), "{what}: log {n} ends at {end}");
        read_all(&log);
        let deleted = Offset(i64::from(n) + 1);
        let start = log.log_start_offset();
        assert!(start == deleted || (may_retain && start > deleted), "{what}: log {n} starts at {start}");
    }
    assert_eq!(logs.shutdown(BrokerEpoch(1), at_ms(6000)).failed_dirs, []);
}

/// The process ends, every other time with the power; what a sync failed to write only the device tells.
fn end(disk: &SimDisk, n: u64) {
    if n.is_multiple_of(2) && disk.last_failed() != Some(Call::Sync) {
        disk.kill();
    } else {
        disk.crash(Loss::Seeded);
    }
}

#[test]
fn an_error_at_any_call_of_a_load_harms_nothing() {
    let mut offline = 0;
    for clean in [true, false] {
        for n in 1.. {
            let disk = SimDisk::new(n);
            let before = broker(&disk);
            if clean {
                assert_eq!(before.shutdown(BrokerEpoch(1), at_ms(3000)).failed_dirs, []);
            }
            drop(before);
            if clean || n % 2 == 0 {
                disk.kill()
            } else {
                disk.crash(Loss::Seeded)
            }
            let calls = disk.total_calls();
            disk.fail_nth(None, n);
            let logs = manager(&disk);
            let loaded = logs.load(&configs, &LoadProgress::default(), at_ms(4000));
            let made = disk.total_calls() - calls;
            // It goes on with the directories that are left, and keeps the checkpoints of the others.
            if loaded.is_ok() {
                for n in 0..LOGS {
                    let create = CreateLog { is_new: false, ..to_create(n) };
                    let log = logs.get_or_create(&create, at_ms(4000));
                    assert!(log.is_err() || log.unwrap().log_end_offset() >= Offset(RECORDS), "call {n}");
                }
                offline += logs.tick(at_ms(10_000)).failed_dirs.len();
                logs.tick(at_ms(20_000));
            }
            disk.heal();
            drop(logs);
            disk.kill();
            check_next_start(&disk, true, &format!("clean: {clean}, call {n}"));
            if made < n {
                break;
            }
        }
    }
    assert!(offline > 50, "{offline}");
}

#[test]
fn a_log_that_finds_no_room_to_be_loaded_takes_its_directory_offline() {
    let disk = SimDisk::new(1);
    drop(broker(&disk));
    // Without a segment yet, as a crash leaves a log that was just made.
    disk.create_dir_all(Path::new("/one/t-9")).unwrap();
    disk.kill();
    let space = disk.space(Path::new("/one")).unwrap();
    disk.set_capacity_bytes(Some(space.total_bytes - space.usable_bytes));
    let logs = manager(&disk);
    let preallocated = |_: &str| Arc::new(LogConfig { preallocate: true, ..small_config() });
    logs.load(&preallocated, &LoadProgress::default(), at_ms(4000)).unwrap();
    let failed = logs.tick(at_ms(10_000)).failed_dirs;
    assert_eq!(failed.iter().map(|failed| failed.dir.as_path()).collect::<Vec<_>>(), [Path::new("/one")]);
    disk.set_capacity_bytes(None);
    drop(logs);
    disk.kill();
    check_next_start(&disk, true, "there was no room");
}

#[test]
fn nothing_is_kept_of_a_directory_that_fails_while_its_logs_are_loaded() {
    let disk = SimDisk::new(1);
    drop(broker(&disk));
    disk.kill();
    let config = LogManagerConfig { recovery_threads_per_dir: 2, ..LogManagerConfig::new(dirs()) };
    let logs = LogManager::new(config, Arc::new(disk.clone()), at_ms(4000));
    // One thread finds the directory failed; the other one loads a log of it when that has been acted on.
    disk.create_dir_all(Path::new("/one/failing-0")).unwrap();
    disk.fail_dir(Path::new("/one/failing-0"));
    let has_failed = Mutex::new(false);
    let slow = |topic: &str| {
        while topic == "t" && !*has_failed.lock() {
            std::thread::yield_now();
            *has_failed.lock() |= !logs.tick(at_ms(4000)).failed_dirs.is_empty();
        }
        configs("t")
    };
    logs.load(&slow, &LoadProgress::default(), at_ms(4000)).unwrap();
    let kept: Vec<PathBuf> = logs.logs().iter().map(|log| log.log_dir()).collect();
    assert_eq!(kept, [Path::new("/two"), Path::new("/two")]);
}

#[test]
fn an_error_at_any_call_of_the_work_on_logs_harms_nothing() {
    let mut offline = 0;
    for n in 1.. {
        let disk = SimDisk::new(n);
        let logs = broker(&disk);
        let calls = disk.total_calls();
        disk.fail_nth(None, n);
        // Retention, checkpoints, files that are due to go.
        for ms in [12_000, 14_000, 80_000] {
            offline += logs.tick(at_ms(ms)).failed_dirs.len();
        }
        let made = disk.total_calls() - calls;
        disk.heal();
        drop(logs);
        end(&disk, n);
        check_next_start(&disk, true, &format!("call {n}"));
        if made < n {
            break;
        }
    }
    assert!(offline > 20, "{offline}");
}

#[test]
fn an_error_at_any_call_of_a_stop_harms_nothing() {
    let mut offline = 0;
    for n in 1.. {
        let disk = SimDisk::new(n);
        let logs = broker(&disk);
        // Larger than a sector, of which a loss of power may leave the first and not the second.
        logs.logs().iter().for_each(|log| append(log, UNFLUSHED, 800));
        let calls = disk.total_calls();
        disk.fail_nth(None, n);
        offline += logs.shutdown(BrokerEpoch(1), at_ms(3000)).failed_dirs.len();
        let made = disk.total_calls() - calls;
        disk.heal();
        drop(logs);
        end(&disk, n);
        check_next_start(&disk, false, &format!("call {n}"));
        if made < n {
            break;
        }
    }
    assert!(offline > 20, "{offline}");
}

/// Whatever of it finds no room, and wherever it is made in the end.
#[test]
fn a_log_that_finds_no_room_to_be_made_leaves_nothing_behind() {
    let found = |disk: &SimDisk| -> Vec<String> {
        let entries = dirs().into_iter().flat_map(|dir| disk.read_dir(&dir).unwrap());
        entries.map(|entry| entry.name).filter(|name| name.starts_with("t-")).collect()
    };
    let mut refused = 0;
    for bytes in 0..200 {
        let disk = SimDisk::new(bytes);
        let logs = manager(&disk);
        logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
        disk.set_capacity_bytes(Some(disk.used_bytes() + bytes));
        let made = logs.get_or_create(&to_create(0), at_ms(0));
        refused += u32::from(made.is_err());
        assert_eq!(found(&disk).len(), usize::from(made.is_ok()), "{bytes} bytes: {:?}", found(&disk));
        if made.is_err() {
            disk.set_capacity_bytes(None);
            let elsewhere = CreateLog { dir: Some("/two".into()), ..to_create(0) };
            logs.get_or_create(&elsewhere, at_ms(0)).unwrap();
        }
        let unique = Uuid([3; 16]);
        let from = logs.log(&partition(0)).unwrap().log_dir();
        let to = dirs().into_iter().find(|dir| *dir != from);
        disk.set_capacity_bytes(Some(disk.used_bytes() + bytes));
        let moving = logs.get_or_create_future(&CreateLog { dir: to, ..to_create(0) }, unique, at_ms(0));
        assert_eq!(found(&disk).len(), 1 + usize::from(moving.is_ok()), "{bytes} bytes: {:?}", found(&disk));
    }
    assert!(refused > 0);
}

#[test]
fn a_directory_that_fails_leaves_the_other_as_it_is() {
    let disk = SimDisk::new(1);
    let logs = broker(&disk);
    disk.fail_dir(Path::new("/one"));
    logs.checkpoint_high_watermarks();
    let failed = logs.tick(at_ms(3000)).failed_dirs;
    assert_eq!(failed.iter().map(|failed| failed.dir.as_path()).collect::<Vec<_>>(), [Path::new("/one")]);
    assert_eq!(logs.logs().len(), LOGS as usize / 2);
    for log in logs.logs() {
        assert_eq!(log.log_dir(), Path::new("/two"));
        log.roll(at_ms(3000)).unwrap();
        log.flush(at_ms(3000)).unwrap();
    }
    assert_eq!(logs.tick(at_ms(9000)).failed_dirs, []);
    assert!(
        logs.context().failures.contains(Path::new("/one")),
        "what a sync says there is believed no more"
    );
    disk.heal();
    drop(logs);
    disk.crash(Loss::Everything);
    check_next_start(&disk, true, "one directory had failed");
}

/// What has failed, and is not known to have left everything as it should be, is recovered by the next process.
#[test]
fn a_stop_of_a_directory_that_has_failed_is_no_clean_one() {
    for (call, is_append) in [(Call::SetLen, true), (Call::Sync, false)] {
        let disk = SimDisk::new(1);
        let logs = manager(&disk);
        logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
        let log = logs.get_or_create(&to_create(0), at_ms(0)).unwrap();
        append(&log, 3, 1);
        disk.fail_nth(Some(call), 1);
        if is_append {
            disk.fail_nth(Some(Call::Write), 1);
            let refused = batch(&["x"], START, BatchOptions::default());
            let append = LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client);
            log.append_as_leader(&refused, &append, at_ms(0)).unwrap_err();
        } else {
            log.flush(at_ms(0)).unwrap_err();
        }
        let failed = logs.shutdown(BrokerEpoch(1), at_ms(0)).failed_dirs;
        assert_eq!(failed.len(), 1, "{call:?}");
        let dir = log.log_dir();
        assert_eq!(crate::clean_shutdown::read(&disk, &dir).unwrap(), None, "{call:?}");
        let read = logs.dirs.iter().find(|of| of.path == dir).map(|of| of.recovery_points.read());
        assert!(
            read.is_none_or(|read| read.is_ok_and(|points| points.iter().all(|(_, at)| *at == Offset::ZERO)))
        );
    }
}
