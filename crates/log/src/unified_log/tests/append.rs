use std::os::unix::fs::MetadataExt;

use bytes::{Bytes, BytesMut};
use ottla_record::{AppendOrigin, BatchOptions, TimestampType};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::segment::Segment;
use crate::test_log::{START, TestLog, at_ms, batch, numbered, small_config};
use crate::{AppendError, FetchIsolation, LogConfig, ReadError};

fn numbers(count: i64) -> Vec<(i64, String)> {
    (0..count).map(|n| (n, format!("value-{n}"))).collect()
}

fn filled(config: LogConfig, records: i64) -> TestLog {
    let log = TestLog::new(config);
    for (_, value) in numbers(records) {
        log.append(&[&value]);
    }
    log
}

#[test]
fn what_is_appended_is_read_from_any_offset() {
    let log = filled(small_config(), 100);
    assert!(log.base_offsets().len() > 5, "it rolls: {:?}", log.base_offsets());
    for max_bytes in [1, 80, 300, 10_000] {
        for from in [0, 1, 17, 50, 98, 99, 100] {
            let found = log.consume(from, max_bytes, FetchIsolation::LogEnd);
            assert_eq!(found, numbers(100)[from as usize..], "from {from}, {max_bytes} bytes");
        }
    }
}

#[test]
fn offsets_and_epoch_are_assigned() {
    let log = TestLog::new(LogConfig::default());
    let first = log.append(&["a", "b"]);
    assert_eq!((first.first_offset, first.last_offset), (Offset(0), Offset(1)));
    let second = log.append(&["c"]);
    assert_eq!((second.first_offset, second.last_offset, second.offsets()), (Offset(2), Offset(2), 1));
    assert_eq!(second.last_leader_epoch, LeaderEpoch(0));
    assert_eq!(log.log.latest_epoch(), Some(LeaderEpoch(0)));
    assert_eq!(log.log.log_end_offset(), Offset(3));
}

#[test]
fn reads_out_of_range_are_refused() {
    let log = filled(small_config(), 10);
    log.log.maybe_increment_log_start_offset(Offset(4), "test").unwrap();
    for offset in [0, 3, 11] {
        assert!(matches!(log.read(offset, 100), Err(ReadError::OffsetOutOfRange { .. })), "{offset}");
    }
    assert!(log.read(10, 100).unwrap().is_empty());
    assert!(!log.read(4, 100).unwrap().is_empty());
}

#[test]
fn reads_end_at_the_high_watermark() {
    let log = TestLog::new(small_config());
    for n in 0..30 {
        log.log
            .append_as_leader(
                &batch(&[&format!("value-{n}")], START, BatchOptions::default()),
                &crate::LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client),
                at_ms(0),
            )
            .unwrap();
    }
    for high_watermark in [0, 1, 12, 13, 29, 30] {
        log.log.update_high_watermark(Offset(high_watermark));
        let found = log.consume(0, 200, FetchIsolation::HighWatermark);
        assert_eq!(found, numbers(high_watermark), "high watermark {high_watermark}");
        assert_eq!(log.log.offset_snapshot().unwrap().high_watermark.message_offset, Offset(high_watermark));
    }
}

#[test]
fn the_first_batch_is_whole_if_it_must_be() {
    let log = TestLog::new(LogConfig::default());
    log.append(&[&"x".repeat(500)]);
    let whole = log.log.read(Offset(0), 100, FetchIsolation::LogEnd, true).unwrap();
    assert!(whole.len() > 500 && !whole.first_entry_incomplete);
    let part = log.log.read(Offset(0), 100, FetchIsolation::LogEnd, false).unwrap();
    assert_eq!((part.len(), part.first_entry_incomplete), (100, true));
    assert!(log.log.read(Offset(0), 0, FetchIsolation::LogEnd, false).unwrap().is_empty());
}

#[test]
fn sizes_are_bounded() {
    let log = TestLog::new(LogConfig { max_message_bytes: 200, segment_bytes: 1000, ..LogConfig::default() });
    let large = batch(&[&"x".repeat(200)], START, BatchOptions::default());
    assert!(matches!(log.append_batch(&large), Err(AppendError::RecordTooLarge { max_bytes: 200, .. })));
    log.log.update_config(
        LogConfig { max_message_bytes: 5000, segment_bytes: 200, ..LogConfig::default() }.into(),
    );
    assert!(matches!(log.append_batch(&large), Err(AppendError::RecordBatchTooLarge { .. })));
    assert_eq!(log.log.log_end_offset(), Offset(0));
    assert!(log.all().is_empty());
}

#[test]
fn damaged_batches_are_refused() {
    let log = TestLog::new(LogConfig::default());
    let good = batch(&["a"], START, BatchOptions::default());
    let mut bad = BytesMut::from(&good[..]);
    let last = bad.len() - 1;
    bad[last] ^= 1;
    assert!(log.append_batch(&bad.freeze()).is_err());
    assert!(log.append_batch(&Bytes::new()).is_err());
    let offset_5 = numbered(&["a"], 5, 0);
    assert!(log.append_batch(&offset_5).is_err());
    assert_eq!(log.append_batch(&good).unwrap().first_offset, Offset(0));
}

#[test]
fn log_append_time_is_the_brokers() {
    let config = LogConfig { message_timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    let mut log = TestLog::new(config);
    log.now = at_ms(5000);
    let appended = log.append_batch(&batch(&["a"], Timestamp(1), BatchOptions::default())).unwrap();
    assert_eq!(appended.log_append_time, at_ms(5000).wall);
    assert_eq!(appended.max_timestamp, at_ms(5000).wall);
    assert_eq!(log.all(), [(0, "a".to_owned())]);
}

#[test]
fn followers_take_batches_as_they_are() {
    let log = TestLog::new(small_config());
    let two = Bytes::from([numbered(&["a", "b"], 0, 3), numbered(&["c"], 7, 4)].concat());
    let appended = log.log.append_as_follower(&two, LeaderEpoch(4), at_ms(0)).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset), (Offset(0), Offset(7)));
    assert_eq!(log.all().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 7]);
    let epoch_end = log.log.end_offset_for_epoch(LeaderEpoch(3));
    assert_eq!((epoch_end.epoch, epoch_end.end_offset), (LeaderEpoch(3), Offset(7)));

    let again = log.log.append_as_follower(&numbered(&["x"], 7, 4), LeaderEpoch(4), at_ms(0));
    assert!(matches!(again, Err(AppendError::UnexpectedOffset { next_offset: Offset(8), .. })));
    let disorder = Bytes::from([numbered(&["a"], 9, 4), numbered(&["b"], 8, 4)].concat());
    let refused = log.log.append_as_follower(&disorder, LeaderEpoch(4), at_ms(0));
    assert!(matches!(refused, Err(AppendError::OffsetsOutOfOrder { .. })));
    // A later epoch is not taken before the replica knows its leader; half a batch at the end is left out.
    let mixed = Bytes::from([numbered(&["d"], 8, 4), numbered(&["e"], 9, 5)].concat());
    assert_eq!(log.log.append_as_follower(&mixed, LeaderEpoch(4), at_ms(0)).unwrap().last_offset, Offset(8));
    let cut = mixed.slice(mixed.len() / 2..mixed.len() - 5);
    assert_eq!(log.log.append_as_follower(&cut, LeaderEpoch(5), at_ms(0)).unwrap().valid_bytes, 0);
    assert_eq!(log.log.log_end_offset(), Offset(9));
}

#[test]
fn segments_roll_by_record_time() {
    let config = LogConfig { segment_ms: 1000, ..LogConfig::default() };
    let log = TestLog::new(config);
    for (timestamp, segments) in [(0, 1), (500, 1), (1000, 1), (1001, 2), (900, 2), (2001, 2), (2002, 3)] {
        let record = batch(&["x"], Timestamp(START.0 + timestamp), BatchOptions::default());
        log.append_batch(&record).unwrap();
        assert_eq!(log.base_offsets().len(), segments, "after {timestamp}");
    }
}

#[test]
fn segments_roll_when_an_index_is_full() {
    let config = LogConfig { segment_index_bytes: 40, index_interval_bytes: 1, ..LogConfig::default() };
    let log = filled(config, 30);
    assert!(log.base_offsets().len() > 3, "{:?}", log.base_offsets());
    assert_eq!(log.all(), numbers(30));
}

#[test]
fn segments_roll_when_offsets_get_too_far() {
    let log = TestLog::new(LogConfig::default());
    let far = i64::from(i32::MAX);
    for offset in [0, far, far + 1, 2 * far + 5] {
        log.log.append_as_follower(&numbered(&["x"], offset, 0), LeaderEpoch(0), at_ms(0)).unwrap();
    }
    assert_eq!(log.base_offsets(), [0, far + 1, 2 * far + 5]);
    assert_eq!(log.all().len(), 4);
}

#[test]
fn preallocated_space_is_given_back() {
    let log = filled(LogConfig { preallocate: true, ..small_config() }, 30);
    let active = log.log.segments().last().map(|active| active.file().unwrap().len().unwrap());
    assert_eq!(active, Some(1000));
    let segments = log.log.segments().clone();
    for segment in segments.inactive_from(Offset(0)) {
        assert_eq!(segment.file().unwrap().len().unwrap(), u64::from(segment.size()));
    }
    log.close();
    let active = segments.last().unwrap();
    assert_eq!(std::fs::metadata(active.path()).unwrap().len(), u64::from(active.size()));
}

#[test]
fn a_large_segment_reserves_room_ahead_and_gives_it_back() {
    let log = TestLog::new(LogConfig { segment_bytes: 4 << 20, ..LogConfig::default() });
    let value = "v".repeat(256 << 10);
    for _ in 0..20 {
        log.append(&[&value]);
    }
    let [full, active] = &log.log.segments().iter().cloned().collect::<Vec<_>>()[..] else { panic!() };
    let room = |segment: &Segment| {
        let file = std::fs::metadata(segment.path()).unwrap();
        assert_eq!(file.len(), u64::from(segment.size()), "what is reserved is not seen");
        (file.blocks() * 512).saturating_sub(file.len())
    };
    assert!(active.size() > 1 << 20);
    assert!(room(active) > 256 << 10, "{}", room(active));
    assert!(room(full) < 64 << 10, "{}", room(full));
    log.close();
    assert!(room(active) < 64 << 10, "{}", room(active));
}

#[test]
fn every_append_is_flushed_if_that_is_wanted() {
    let log = filled(LogConfig { flush_messages: 1, ..small_config() }, 5);
    assert_eq!(log.log.recovery_point(), Offset(5));
    let log = filled(LogConfig { flush_messages: 3, ..LogConfig::default() }, 5);
    assert_eq!(log.log.recovery_point(), Offset(3));
}

#[test]
fn rolled_segments_are_flushed_later() {
    let mut log = filled(small_config(), 30);
    assert_eq!(log.log.recovery_point(), Offset(0));
    log.run_at_ms(1);
    assert_eq!(log.log.recovery_point().0, *log.base_offsets().last().unwrap());
    log.log.flush(log.now).unwrap();
    assert_eq!(log.log.recovery_point(), Offset(30));
}
