//! Batches that Apache Kafka wrote are read here, and the same batches built here have the same bytes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::PathBuf;

use ottla_record::{
    Attributes, Batch, BatchOptions, Batches, Codec, Compression, ControlRecordType, EndTxnMarker,
    NO_SEQUENCE, OwnedRecord, RecordError, Tail, TimestampType, control_batch, empty_batch, end_txn_batch,
    increment_sequence,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

#[path = "../testdata/expected.rs"]
mod expected;
use expected::{BASE_OFFSET, expected};

const LIMIT: usize = 1 << 20;
const TIME: Timestamp = Timestamp(1_600_000_000_000);
const APPEND_TIME: Timestamp = Timestamp(1_700_000_000_000);

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.bin"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(bytes: &[u8]) -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    let mut batches = Batches::new(bytes);
    for batch in batches.by_ref() {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        batch
            .records(LIMIT)
            .unwrap()
            .for_each(|record| {
                records.push(record.to_owned());
                Ok::<(), RecordError>(())
            })
            .unwrap();
    }
    assert_eq!(batches.tail(), Tail::Clean);
    records
}

#[track_caller]
fn check_records(name: &str, magic: i8, append_time: bool) {
    let bytes = file(name);
    let found = read(&bytes);
    let expected = expected(name.contains("large"));
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let timestamp = match (magic, append_time) {
            (0, _) => Timestamp::NONE,
            (_, true) => APPEND_TIME,
            _ => expected.timestamp,
        };
        assert_eq!(found.offset, BASE_OFFSET + i as i64, "{name} {i}");
        assert_eq!(found.timestamp, timestamp, "{name} {i}");
        assert_eq!(found.key.as_deref(), expected.key.as_deref(), "{name} {i}");
        assert_eq!(found.value.as_deref(), expected.value.as_deref(), "{name} {i}");
        if magic == 2 {
            let headers: Vec<_> = found
                .headers
                .iter()
                .map(|h| (h.key.to_vec(), h.value.as_ref().map(|value| value.to_vec())))
                .collect();
            assert_eq!(headers, expected.headers, "{name} {i}");
        }
    }
}

#[test]
fn kafkas_batches_of_every_codec_are_read() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        check_records(&format!("v2-{codec}"), 2, false);
        if codec != "none" {
            check_records(&format!("v2-large-{codec}"), 2, false);
        }
    }
    for name in ["gzip-1", "gzip-9", "lz4-1", "lz4-3", "lz4-12", "lz4-17"] {
        check_records(&format!("v2-{name}"), 2, false);
    }
    for level in [-131_072, -5, 1, 22] {
        check_records(&format!("v2-zstd-{level}"), 2, false);
    }
    check_records("v2-append-time", 2, true);
    check_records("v2-delete-horizon", 2, false);
    check_records("v2-transactional", 2, false);
}

#[test]
fn kafkas_legacy_messages_are_read() {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        check_records(&format!("v0-{codec}"), 0, false);
        check_records(&format!("v1-{codec}"), 1, false);
        check_records(&format!("v1-append-time-{codec}"), 1, true);
    }
}

#[test]
fn kafkas_headers_are_understood() {
    let bytes = file("v2-transactional");
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!((batch.base_offset, batch.next_offset()), (Offset(1000), Offset(1020)));
    assert_eq!((batch.producer_id, batch.producer_epoch), (ProducerId(77), ProducerEpoch(5)));
    assert_eq!((batch.base_sequence, batch.last_sequence()), (i32::MAX - 3, 15));
    assert_eq!(batch.partition_leader_epoch, LeaderEpoch(4));
    assert!(batch.is_transactional() && !batch.is_control() && !batch.is_compressed());
    assert_eq!(batch.max_timestamp, Timestamp(TIME.0 + 18_000));
    let mut records = batch.records(LIMIT).unwrap();
    for i in 0..20 {
        let sequence = increment_sequence(i32::MAX - 3, i);
        assert_eq!(records.next().unwrap().unwrap().sequence, sequence);
    }

    let bytes = file("v2-delete-horizon");
    assert_eq!(Batch::parse(&bytes).unwrap().delete_horizon(), Some(APPEND_TIME));
    let bytes = file("v2-append-time");
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!((batch.timestamp_type(), batch.max_timestamp), (TimestampType::LogAppendTime, APPEND_TIME));
    assert_eq!(batch.delete_horizon(), None);
    let bytes = file("v1-append-time-gzip");
    let batch = Batch::parse(&bytes).unwrap();
    assert!(batch.is_legacy() && batch.is_compressed());
    assert_eq!((batch.timestamp_type(), batch.max_timestamp), (TimestampType::LogAppendTime, APPEND_TIME));
    assert_eq!((batch.last_offset(), batch.last_sequence()), (Offset(1019), NO_SEQUENCE));
    let bytes = file("v0-none");
    assert_eq!(Batch::parse(&bytes).unwrap().timestamp_type(), TimestampType::None);
}

#[test]
fn uncompressed_batches_have_kafkas_bytes() {
    let check = |name: &str, options: BatchOptions| {
        assert!(expected::build(options, false) == file(name), "{name}");
    };
    let plain = BatchOptions::default();
    check("v2-none", plain);
    check("v2-append-time", BatchOptions { log_append_time: Some(APPEND_TIME), ..plain });
    check("v2-delete-horizon", BatchOptions { delete_horizon: Some(APPEND_TIME), ..plain });
    let producer = BatchOptions {
        producer_id: ProducerId(77),
        producer_epoch: ProducerEpoch(5),
        base_sequence: i32::MAX - 3,
        transactional: true,
        ..plain
    };
    check("v2-transactional", producer);
}

#[test]
fn emptied_batches_have_kafkas_bytes() {
    let golden = file("v2-empty");
    let batch = Batch::parse(&golden).unwrap();
    assert_eq!((batch.last_offset(), batch.last_sequence()), (Offset(1009), 19));
    assert_eq!(batch.records(LIMIT).unwrap().next(), Ok(None));
    let mut original = *batch.header();
    original.attributes = Attributes(original.attributes.0).with_codec_id(Codec::Zstd.id());
    original.record_count = 10;
    original.base_timestamp = TIME;
    assert!(empty_batch(&original) == golden);
}

#[test]
fn control_batches_have_kafkas_bytes() {
    for (name, committed) in [("v2-commit", true), ("v2-abort", false)] {
        let golden = file(name);
        let marker = EndTxnMarker { committed, coordinator_epoch: 12 };
        let mut built =
            end_txn_batch(marker, ProducerId(77), ProducerEpoch(5), TIME, LeaderEpoch(4)).unwrap();
        ottla_record::BatchMut::parse(&mut built).unwrap().set_base_offset(BASE_OFFSET);
        assert!(built == golden, "{name}");
        let record = &read(&golden)[0];
        let (key, value) = (record.key.as_ref().unwrap(), record.value.as_ref().unwrap());
        assert_eq!(EndTxnMarker::parse(key, value), Ok(Some(marker)));
    }
    for (name, record_type) in [
        ("v2-leader-change", ControlRecordType::LeaderChange),
        ("v2-snapshot-header", ControlRecordType::SnapshotHeader),
        ("v2-snapshot-footer", ControlRecordType::SnapshotFooter),
        ("v2-kraft-version", ControlRecordType::KRaftVersion),
        ("v2-kraft-voters", ControlRecordType::KRaftVoters),
    ] {
        let golden = file(name);
        assert!(Batch::parse(&golden).unwrap().is_control());
        let record = &read(&golden)[0];
        assert_eq!(ControlRecordType::parse(record.key.as_ref().unwrap()), Ok(record_type));
        let value = record.value.as_ref().unwrap();
        let built = control_batch(record_type, value, BASE_OFFSET, TIME, LeaderEpoch(4)).unwrap();
        assert!(built == golden, "{name}");
    }
}

/// What is built here with a codec is read here too; that Kafka reads it is shown with `Golden.java check`.
#[test]
fn batches_of_every_codec_round_trip() {
    for codec in Codec::ALL {
        let options = BatchOptions { compression: Compression::new(codec), ..BatchOptions::default() };
        for large in [false, true] {
            let records = read(&expected::build(options, large));
            assert_eq!(records.len(), expected(large).len());
        }
    }
}
