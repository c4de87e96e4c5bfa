//! Disks that fail, and disks that are full.

use ottla_types::{LeaderEpoch, Offset};

use super::history::{Modelled, Op, is_dir_failure};
use crate::disk::sim::{Call, Loss};
use crate::test_log::{numbered, small_config};
use crate::{AppendError, LogConfig, OpenError, ReadError, StorageError};

fn filled() -> Modelled {
    filled_on(1)
}

fn filled_on(seed: u64) -> Modelled {
    let mut log = Modelled::new(seed);
    for n in 0..20 {
        log.append(1 + n % 3, 2).unwrap();
        if n == 10 {
            log.run(&Op::Flush);
        }
    }
    log
}

#[test]
fn an_error_at_any_call_of_recovery_is_told_and_harms_nothing() {
    let mut failed = 0;
    for n in 1.. {
        let mut log = filled();
        log.disk.crash(Loss::Seeded);
        log.disk.fail_nth(None, n);
        let opened = log.open(false);
        log.disk.heal();
        match opened {
            Ok(opened) => {
                // The call was one that may fail.
                log.adopt(opened);
                log.check();
            }
            Err(OpenError::Storage(error)) => {
                assert!(is_dir_failure(&error), "{error}");
                failed += 1;
                log.start(false);
                log.check();
            }
            Err(other) => panic!("{other}"),
        }
        if log.disk.total_calls() < n {
            break;
        }
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn a_power_loss_after_any_call_of_recovery_harms_nothing() {
    for n in (1..400).step_by(3) {
        let mut log = filled();
        log.disk.crash(Loss::Seeded);
        log.disk.fail_nth(None, n);
        let _ = log.open(false);
        log.disk.heal();
        log.lose_power(Loss::Seeded);
        log.check();
    }
}

#[test]
fn an_error_at_any_call_of_an_append_leaves_the_log_as_it_was() {
    for n in 1..60 {
        let mut log = filled();
        log.disk.fail_nth(None, n);
        let mut appended = 0;
        let refused = (0..30).find_map(|_| {
            let result = log.append(2, 3);
            appended += usize::from(result.is_ok());
            result.err()
        });
        log.disk.heal();
        if let Some(error) = refused {
            assert!(matches!(&error, AppendError::Storage(error) if is_dir_failure(error)), "{error}");
        }
        log.check();
        log.run(&Op::Kill);
        log.check();
    }
}

/// Fails each call that an operation makes, one after the other; after a restart of either kind the log is a prefix of what
/// was appended with all that was flushed, and works.
fn check_each_call(op: &Op, filled_on: impl Fn(u64) -> Modelled) {
    let (mut failed, mut n) = (0, 0);
    loop {
        n += 1;
        let mut has_failed = false;
        for power_is_lost in [false, true] {
            // Each loses something else with the power.
            let mut log = filled_on(n);
            let calls = log.disk.total_calls();
            log.disk.fail_nth(None, n);
            let result = log.try_run(op);
            let made = log.disk.total_calls() - calls;
            log.disk.heal();
            if made < n {
                assert!(result.is_ok(), "{op:?}: {result:?}");
                assert!(failed > 0, "{op:?} makes no call that fails");
                return;
            }
            if let Err(error) = &result {
                assert!(is_dir_failure(error), "{op:?}, call {n}: {error}");
                has_failed = true;
            }
            // After a sync that failed the page cache holds what no later sync writes: only a process that reads it
            // anew from the device is sure of it.
            if power_is_lost || log.disk.last_failed() == Some(Call::Sync) {
                log.lose_power(Loss::Seeded);
            } else {
                log.disk.kill();
                log.start(false);
            }
            log.check();
            for after in
                [Op::Append(1, 2), Op::Flush, Op::Checkpoint, Op::PowerLoss, Op::Append(2, 1), Op::Stop]
            {
                log.run(&after);
                log.check();
            }
        }
        failed += usize::from(has_failed);
    }
}

#[test]
fn an_error_at_any_call_of_any_operation_harms_nothing() {
    for op in [
        Op::Append(1, 2),
        Op::Roll,
        Op::Flush,
        Op::Truncate(90),
        Op::Truncate(20),
        Op::TruncateFully(50),
        Op::TruncateFully(120),
        Op::DeleteRecords(60),
        Op::Stop,
    ] {
        check_each_call(&op, filled_on);
    }
}

#[test]
fn an_error_at_any_call_of_retention_harms_nothing() {
    let filled_on = |seed| {
        let config = LogConfig { segment_bytes: 700, retention_bytes: 1000, ..small_config() };
        let mut log = Modelled::with_config(seed, config);
        for n in 0..20 {
            log.append(1 + n % 3, 2).unwrap();
        }
        log.run(&Op::Flush);
        log.run(&Op::Checkpoint);
        log
    };
    check_each_call(&Op::DeleteOldSegments, filled_on);
}

#[test]
fn an_error_at_any_call_of_what_was_left_for_later_is_reported_and_harms_nothing() {
    let mut reported = 0;
    for n in 1.. {
        let config = LogConfig { segment_bytes: 700, retention_bytes: 1000, ..small_config() };
        let mut log = Modelled::with_config(1, config);
        for n in 0..20 {
            log.append(1 + n % 3, 2).unwrap();
        }
        log.run(&Op::DeleteOldSegments);
        let calls = log.disk.total_calls();
        log.disk.fail_nth(None, n);
        log.try_run(&Op::RunDeferred).unwrap();
        let made = log.disk.total_calls() - calls;
        log.disk.heal();
        let failures = log.test.context.failures.take();
        if made < n {
            assert!(failures.is_empty(), "{failures:?}");
            break;
        }
        reported += usize::from(!failures.is_empty());
        log.lose_power(Loss::Seeded);
        log.check();
        for after in [Op::Append(1, 2), Op::Stop] {
            log.run(&after);
            log.check();
        }
    }
    assert!(reported > 5, "{reported}");
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let mut log = filled();
    let used = log.log().size_bytes();
    let mut refused = 0;
    for room in (0..3000).step_by(7) {
        log.disk.set_capacity_bytes(Some(used + 200 + room));
        match log.append(1, 1) {
            Ok(()) => {}
            Err(AppendError::Storage(StorageError::NoSpace { .. })) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        let active = log.log().segments().last().unwrap().clone();
        assert_eq!(active.file().unwrap().len().unwrap(), u64::from(active.size()), "half a write is left");
        log.check();
    }
    assert!(refused > 10, "{refused}");
    assert!(log.test.context.failures.take().is_empty(), "the directory is still online");
    log.disk.set_capacity_bytes(None);
    for _ in 0..10 {
        log.append(1, 2).unwrap();
    }
    log.check();
    log.run(&Op::PowerLoss);
    log.check();
}

#[test]
fn a_lack_of_descriptors_refuses_appends_until_there_are_some() {
    let mut refused = 0;
    for n in 1..60 {
        let mut log = filled();
        log.disk.run_out_of_files_at_nth(n);
        for _ in 0..30 {
            match log.append(2, 3) {
                Ok(()) => {}
                Err(AppendError::Storage(StorageError::OutOfFiles { .. })) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(log.test.context.failures.take().is_empty(), "the directory is still online");
        log.disk.heal();
        log.check();
        for _ in 0..20 {
            log.append(1, 2).unwrap();
        }
        log.run(&Op::RunDeferred);
        log.run(&Op::DeleteOldSegments);
        log.check();
        log.run(&Op::PowerLoss);
        log.check();
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_sector_that_decayed_ends_an_unflushed_log_and_not_a_flushed_one() {
    let mut log = filled();
    log.run(&Op::Flush);
    log.run(&Op::Checkpoint);
    let first = log.log().segments().first().unwrap().path();
    log.disk.kill();
    log.disk.corrupt_sector(&first, 0).unwrap();
    let opened = log.open(false).unwrap();
    assert_eq!(opened.log_end_offset(), log.log().log_end_offset(), "what was flushed is not read again");
    let read = opened.read(Offset(0), 100, crate::FetchIsolation::LogEnd, true);
    assert!(!matches!(read, Err(ReadError::Storage(_))), "{read:?}");
    let mut unflushed = Modelled::new(3);
    for _ in 0..20 {
        unflushed.append(1, 2).unwrap();
    }
    let first = unflushed.log().segments().first().unwrap().path();
    unflushed.disk.kill();
    unflushed.disk.corrupt_sector(&first, 0).unwrap();
    let opened = unflushed.open(false).unwrap();
    assert_eq!((opened.log_end_offset(), opened.segments().len()), (Offset(0), 1));
    opened.append_as_follower(&numbered(&["x"], 0, 0), LeaderEpoch(0), log.test.now).unwrap();
}

#[test]
fn a_full_disk_is_no_reason_not_to_start() {
    for seed in 1..30 {
        let mut log = filled_on(seed);
        log.disk.crash(Loss::Seeded);
        log.disk.set_capacity_bytes(Some(0));
        let opened = log.open(false).unwrap_or_else(|error| panic!("{error}"));
        log.adopt(opened);
        log.check();
        log.disk.set_capacity_bytes(None);
        for _ in 0..5 {
            log.append(1, 2).unwrap();
        }
        log.check();
        log.run(&Op::PowerLoss);
        log.check();
    }
}
