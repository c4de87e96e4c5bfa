use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ottla_record::{AppendOrigin, BatchOptions};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::disk::Reach;
use crate::segment::SegmentError;
use crate::segments::Segments;
use crate::test_log::{START, TestLog, at_ms, batch, marker, numbered, small_config, txn_batch};
use crate::{
    DeleteRecordsError, EARLIEST_LOCAL_TIMESTAMP, EARLIEST_TIMESTAMP, FetchDataInfo, FetchIsolation,
    LATEST_TIERED_TIMESTAMP, LATEST_TIMESTAMP, LogConfig, MAX_TIMESTAMP, OffsetMetadata, ReadError,
};

fn filled(records: i64) -> TestLog {
    let log = TestLog::new(small_config());
    for n in 0..records {
        log.append(&[&format!("value-{n}")]);
    }
    log
}

#[test]
fn the_end_is_taken_away_at_any_offset() {
    for to in [0, 1, 5, 13, 29, 39] {
        let mut log = filled(40);
        assert!(log.log.truncate_to(Offset(to), log.now).unwrap());
        assert_eq!(log.log.log_end_offset(), Offset(to));
        assert_eq!(log.log.high_watermark(), Offset(to));
        assert_eq!(log.all().len() as i64, to);
        assert!(!log.log.truncate_to(Offset(to), log.now).unwrap());
        let appended = log.append(&["new"]);
        assert_eq!(appended.first_offset, Offset(to));
        assert_eq!(log.values().last().map(String::as_str), Some("new"));
        log.run_at_ms(60_000);
        assert!(!log.file_names().iter().any(|name| name.ends_with(".deleted")), "{:?}", log.file_names());
        log.reopen(false);
        assert_eq!(log.all().len() as i64, to + 1);
    }
}

#[test]
fn epochs_and_transactions_go_with_the_end() {
    let log = TestLog::new(LogConfig::default());
    for (offset, epoch) in [(0, 1), (1, 1), (2, 2), (3, 4)] {
        log.log.append_as_follower(&numbered(&["x"], offset, epoch), LeaderEpoch(9), log.now).unwrap();
    }
    log.log.truncate_to(Offset(2), log.now).unwrap();
    assert_eq!(log.log.latest_epoch(), Some(LeaderEpoch(1)));

    let log = TestLog::new(LogConfig::default());
    log.append_from(&txn_batch(&["a"], 7, 0, 0), AppendOrigin::Client).unwrap();
    log.append_from(&marker(7, 0, false, 0), AppendOrigin::Coordinator).unwrap();
    assert_eq!(log.log.last_stable_offset(), Offset(2));
    log.log.truncate_to(Offset(1), log.now).unwrap();
    assert_eq!(log.log.last_stable_offset(), Offset(0), "it is undecided again");
    assert!(log.log.aborted_transactions(Offset(0), Offset::MAX).unwrap().is_empty());
}

#[test]
fn a_log_starts_anew_where_it_is_told() {
    let mut log = filled(40);
    log.log.truncate_fully_and_start_at(Offset(100), None, log.now).unwrap();
    assert_eq!((log.log.log_start_offset(), log.log.log_end_offset()), (Offset(100), Offset(100)));
    assert_eq!(log.base_offsets(), [100]);
    log.append(&["new"]);
    log.reopen(false);
    assert_eq!(log.all(), [(100, "new".to_owned())]);
    log.log.truncate_to(Offset(50), log.now).unwrap();
    assert_eq!((log.log.log_start_offset(), log.log.log_end_offset()), (Offset(50), Offset(50)));
}

#[test]
fn readers_hold_on_to_what_is_taken_away() {
    let mut log = filled(40);
    let held = log.read(0, 10_000).unwrap().records.unwrap();
    let bytes = held.read().unwrap();
    log.log.truncate_fully_and_start_at(Offset(0), None, log.now).unwrap();
    assert_eq!(held.read().unwrap(), bytes);
    log.run_at_ms(60_000);
    assert_eq!(log.file_names().iter().filter(|name| name.ends_with(".log")).count(), 1);
}

#[test]
fn records_are_deleted_up_to_the_high_watermark() {
    let log = TestLog::new(small_config());
    for n in 0..40 {
        let append = crate::LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client);
        let record = batch(&[&format!("value-{n}")], START, BatchOptions::default());
        log.log.append_as_leader(&record, &append, log.now).unwrap();
    }
    log.log.update_high_watermark(Offset(30));
    let beyond = log.log.maybe_increment_log_start_offset(Offset(31), "test");
    assert!(matches!(beyond, Err(DeleteRecordsError::BeyondHighWatermark { .. })));
    assert!(log.log.maybe_increment_log_start_offset(Offset(25), "test").unwrap());
    assert!(!log.log.maybe_increment_log_start_offset(Offset(24), "test").unwrap());
    assert!(log.log.delete_old_segments(log.now).unwrap() > 0);
    assert!(log.base_offsets()[0] <= 25 && log.base_offsets()[1] > 25, "{:?}", log.base_offsets());
    assert_eq!(log.all()[0].0, 25);
}

#[test]
fn retention_keeps_what_it_must() {
    let check = |config: LogConfig, now_ms: i64, high_watermark: i64, expected_start: i64| {
        let mut log = TestLog::new(small_config());
        for n in 0..30 {
            // A new segment every ten records, a minute apart.
            if n % 10 == 0 {
                log.log.roll(log.now).unwrap();
            }
            let record = batch(&["value"], Timestamp(START.0 + n / 10 * 60_000), BatchOptions::default());
            log.append_batch(&record).unwrap();
        }
        log.log.update_config(config.into());
        log.log.update_high_watermark(Offset(high_watermark));
        log.log.delete_old_segments(at_ms(now_ms)).unwrap();
        assert_eq!(log.log.log_start_offset(), Offset(expected_start));
        assert_eq!(log.log.log_end_offset(), Offset(30));
        log.reopen(true);
        assert_eq!(log.all().len() as i64, 30 - expected_start);
        log.append(&["more"]);
    };
    let config = small_config();
    let by_time = |retention_ms| LogConfig { retention_ms, ..config.clone() };
    check(by_time(-1), i64::from(i32::MAX), 30, 0);
    check(by_time(60_000), 60_000, 30, 0);
    check(by_time(60_000), 60_001, 30, 10);
    check(by_time(60_000), 120_001, 30, 20);
    check(by_time(60_000), 1_000_000, 30, 30);
    check(by_time(60_000), 1_000_000, 25, 20);
    check(by_time(60_000), 1_000_000, 0, 0);
    check(by_time(0), 1, 30, 10);
    let by_size = |retention_bytes| LogConfig { retention_bytes, retention_ms: -1, ..config.clone() };
    let segment = 10 * batch(&["value"], START, BatchOptions::default()).len() as i64;
    check(by_size(-1), 0, 30, 0);
    check(by_size(3 * segment), 0, 30, 0);
    check(by_size(2 * segment + 1), 0, 30, 0);
    check(by_size(2 * segment), 0, 30, 10);
    check(by_size(0), 0, 30, 30);
    let mut compacted = by_size(0);
    compacted.cleanup_policy = crate::CleanupPolicy { delete: false, compact: true };
    check(compacted, 0, 30, 0);
}

#[test]
fn offsets_are_found_by_time() {
    let mut log = TestLog::new(small_config());
    let at = |n: i64| Timestamp(START.0 + n * 100);
    for n in 0..40 {
        // Each batch has two records; every fifth comes late.
        let late = if n % 5 == 4 { 300 } else { 0 };
        log.append_batch(&batch(&["a", "b"], Timestamp(at(n).0 - late), BatchOptions::default())).unwrap();
    }
    for clean in [true, false] {
        let found = |timestamp: i64| {
            let found = log.log.offset_for_timestamp(Timestamp(timestamp)).unwrap();
            found.map(|found| (found.timestamp.0, found.offset.0))
        };
        assert_eq!(found(0), Some((START.0, 0)));
        assert_eq!(found(at(7).0), Some((at(7).0, 14)));
        assert_eq!(found(at(7).0 - 99), Some((at(7).0, 14)));
        assert_eq!(found(at(38).0), Some((at(38).0, 76)));
        assert_eq!(found(at(38).0 + 1), None);
        assert_eq!(found(MAX_TIMESTAMP.0), Some((at(38).0, 76)));
        assert_eq!(found(EARLIEST_TIMESTAMP.0), Some((-1, 0)));
        assert_eq!(found(EARLIEST_LOCAL_TIMESTAMP.0), Some((-1, 0)));
        assert_eq!(found(LATEST_TIMESTAMP.0), Some((-1, 80)));
        assert_eq!(found(LATEST_TIERED_TIMESTAMP.0), Some((-1, -1)));
        log.reopen(clean);
    }
    log.log.maybe_increment_log_start_offset(Offset(15), "test").unwrap();
    let first = log.log.offset_for_timestamp(Timestamp(0)).unwrap().unwrap();
    assert_eq!((first.offset, first.leader_epoch), (Offset(15), Some(LeaderEpoch(0))));
    assert_eq!(log.log.offset_for_timestamp(EARLIEST_TIMESTAMP).unwrap().unwrap().offset, Offset(15));
}

#[test]
fn what_lies_before_the_start_of_the_log_hides_no_later_record_from_a_search_by_time() {
    let log = TestLog::new(small_config());
    let append_at = |ms: i64| {
        log.append_batch(&batch(&["x"], Timestamp(START.0 + ms), BatchOptions::default())).unwrap();
    };
    append_at(100);
    append_at(50);
    log.log.roll(log.now).unwrap();
    append_at(200);
    log.log.maybe_increment_log_start_offset(Offset(1), "test").unwrap();
    assert_eq!(log.base_offsets(), [0, 2], "the first segment is still there");
    let found = log.log.offset_for_timestamp(Timestamp(START.0 + 80)).unwrap();
    assert_eq!(found.map(|found| (found.offset, found.timestamp.0 - START.0)), Some((Offset(2), 200)));
}

#[test]
fn who_reads_beside_a_truncation_finds_the_log_as_it_was_or_as_it_is() {
    let log = TestLog::new(small_config());
    let is_over = AtomicBool::new(false);
    let (log, is_over) = (&log, &is_over);
    let read = move |from: i64| {
        while !is_over.load(Ordering::Relaxed) {
            for offset in from..12 {
                match log.read(offset, 1 << 20) {
                    Ok(_) | Err(ReadError::OffsetOutOfRange { .. }) => {}
                    Err(error) => panic!("a reader at {offset}: {error}"),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let readers = [0, 8].map(|from| scope.spawn(move || read(from)));
        for _ in 0..300 {
            for n in 0..12 {
                log.append(&[&format!("value-{n}")]);
            }
            log.log.truncate_to(Offset(0), log.now).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("nothing is taken for damage"));
    });
}

#[test]
fn who_is_led_astray_looks_again_once_all_is_taken_away() {
    let log = filled(3).log;
    let (looked, first_look) = std::sync::mpsc::channel();
    let look = |_: &Segments| -> Result<(), SegmentError> {
        let _ = looked.send(());
        let is_going_on = log.is_something_removed();
        if is_going_on { Err(io::Error::other("half of it is gone").into()) } else { Ok(()) }
    };
    std::thread::scope(|scope| {
        let writer = log.writer.lock();
        let removed = log.removing(|| {
            assert!(matches!(log.looking(Reach::Memory, look), Err(ReadError::NotInMemory)));
            first_look.recv().expect("it has looked");
            let reader = scope.spawn(|| log.looking(Reach::Disk, look));
            first_look.recv().expect("it has looked");
            Ok::<_, ()>(reader)
        });
        drop(writer);
        removed.expect("it is removed").join().expect("it ends").expect("it looks again");
    });
}

#[test]
fn who_reads_beside_a_truncation_is_given_whole_batches() {
    let log = TestLog::new(LogConfig::default());
    let is_over = AtomicBool::new(false);
    let (log, is_over) = (&log, &is_over);
    // Nine batches of one size lie below the high watermark, or some of them: three are passed over, and six at most are left.
    let read = move || {
        while !is_over.load(Ordering::Relaxed) {
            let read = log.log.read(Offset(3), 1 << 20, FetchIsolation::HighWatermark, true);
            let Ok(FetchDataInfo { records: Some(records), .. }) = read else { continue };
            let (before, found) = (records.position, u64::from(records.len));
            assert!(found % (before / 3) == 0 && found <= 2 * before, "{found} bytes behind {before}");
        }
    };
    std::thread::scope(|scope| {
        let readers = [(); 3].map(|()| scope.spawn(read));
        for round in 0..200 {
            for _ in 0..10 {
                log.append_at_end(&[&"x".repeat(round % 2 * 50)]);
            }
            // Of unknown place.
            log.log.update_high_watermark(Offset(9));
            let size = log.log.log_end_offset_metadata().position_in_segment().unwrap() / 10;
            let high_watermark = log.log.offset_snapshot().unwrap().high_watermark;
            assert_eq!(high_watermark.position_in_segment(), Some(9 * size), "in round {round}");
            match round % 4 {
                0 | 1 => drop(log.log.truncate_to(Offset(0), log.now).unwrap()),
                _ => log.log.truncate_fully_and_start_at(Offset(0), None, log.now).unwrap(),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("all batches are whole"));
    });
}

#[test]
fn the_place_of_an_offset_is_not_kept_beyond_a_truncation() {
    let log = TestLog::new(LogConfig::default());
    let refill = |value: &str| {
        log.log.truncate_to(Offset(0), log.now).unwrap();
        for _ in 0..10 {
            log.append_at_end(&[value]);
        }
        log.log.update_high_watermark(Offset(9));
        log.log.log_end_offset_metadata().position_in_segment().map(|size| size / 10 * 9)
    };
    refill("short");
    let looks = AtomicUsize::new(0);
    let looked = log.log.undisturbed(Reach::Disk, || {
        let found = log.log.place_of(OffsetMetadata::offset_only(Offset(9)), Reach::Disk);
        if looks.fetch_add(1, Ordering::Relaxed) == 0 {
            refill("not as short");
        }
        found
    });
    let place = log.log.place_of(OffsetMetadata::offset_only(Offset(9)), Reach::Disk).unwrap();
    assert_eq!((looked.unwrap(), looks.into_inner()), (place, 2));
    let always = || Ok(refill("short"));
    assert!(matches!(log.log.undisturbed(Reach::Memory, always), Err(ReadError::NotInMemory)));
    assert!(matches!(log.log.undisturbed(Reach::Disk, always), Err(ReadError::Truncated { .. })));
}
