use ottla_testkit::cases;
use ottla_types::{ProducerEpoch, ProducerId};
use proptest::prelude::*;

use super::*;
use crate::builder::NewRecord;
use crate::error::ErrorClass;
use crate::layout::put;
use crate::varint::put_varint;
use crate::{BatchMut, ControlRecordType, OwnedRecord, control_batch};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const HOUR_MS: i64 = 3_600_000;
const LIMIT: usize = 1 << 22;

fn partition() -> TopicPartition {
    TopicPartition::new("topic", 3)
}

fn rules(topic_partition: &TopicPartition) -> AppendRules<'_> {
    AppendRules {
        topic_partition,
        origin: AppendOrigin::Client,
        partition_leader_epoch: LeaderEpoch(7),
        now: NOW,
        compression: None,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: HOUR_MS,
        decompressed_bytes_max: LIMIT,
        rewritten_bytes_max: LIMIT,
    }
}

/// Five records with keys, a second apart, the latest first.
fn batch(compression: Compression) -> Vec<u8> {
    batch_with(BatchOptions { compression, ..BatchOptions::default() }, &[1, 1, 1, 1, 1])
}

fn batch_with(options: BatchOptions, steps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    let mut offset = -1;
    for (i, step) in steps.iter().enumerate() {
        offset += step;
        let timestamp = Timestamp(NOW.0 - 1000 * i as i64);
        let record = NewRecord { timestamp, key: Some(b"k"), value: Some(&[b'v'; 50]), headers: &[] };
        builder.append_at(Offset(offset), &record).unwrap();
    }
    builder.build().unwrap()
}

fn validate(bytes: &[u8], rules: &AppendRules<'_>) -> Result<ValidatedBatch, ValidationError> {
    validate_and_assign(&Bytes::copy_from_slice(bytes), Offset(1000), rules)
}

/// Applies `change` to a batch and mends its checksum.
fn changed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    BatchMut::parse(&mut bytes).unwrap().update_crc();
    bytes
}

fn records(bytes: &[u8]) -> Vec<OwnedRecord> {
    let batch = Batch::parse(bytes).unwrap();
    batch.check_crc().unwrap();
    let mut list = Vec::new();
    let mut records = batch.records(LIMIT).unwrap();
    while let Some(record) = records.next().unwrap() {
        list.push(record.to_owned());
    }
    list
}

/// What must hold of any batch that the leader takes.
#[track_caller]
fn check_accepted(input: &[u8], rules: &AppendRules<'_>, rewritten: bool) -> ValidatedBatch {
    let valid = validate(input, rules).unwrap();
    assert_eq!(valid.is_rewritten(), rewritten);
    let stored = valid.to_bytes();
    let header = *Batch::parse(&stored).unwrap().header();
    assert_eq!(&header, valid.header());
    assert_eq!(stored.len(), valid.size_in_bytes());
    assert_eq!(header.partition_leader_epoch, rules.partition_leader_epoch);
    assert_eq!(header.timestamp_type(), rules.timestamp_type);
    let (before, after) = (records(input), records(&stored));
    assert_eq!(before.len(), after.len());
    assert_eq!(valid.first_offset(), Offset(1000));
    assert_eq!(valid.last_offset(), Offset(999 + after.len() as i64));
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(after.offset, Offset(1000 + i as i64));
        assert_eq!((&before.key, &before.value, &before.headers), (&after.key, &after.value, &after.headers));
        match rules.timestamp_type {
            TimestampType::LogAppendTime => assert_eq!(after.timestamp, rules.now),
            _ => assert_eq!(after.timestamp, before.timestamp),
        }
    }
    assert_eq!(valid.max_timestamp(), after.iter().map(|r| r.timestamp).max().unwrap());
    valid
}

#[test]
fn sound_batches_are_numbered_in_place() {
    let partition = partition();
    for codec in Codec::ALL {
        let input = batch(Compression::new(codec));
        let create_time = rules(&partition);
        let valid = check_accepted(&input, &create_time, false);
        assert_eq!(valid.log_append_time(), Timestamp::NONE);
        assert_eq!(valid.header().crc, BatchHeader::parse(&input).unwrap().unwrap().crc);

        let append_time = AppendRules {
            timestamp_type: TimestampType::LogAppendTime,
            now: Timestamp(NOW.0 + 5),
            ..create_time
        };
        let valid = check_accepted(&input, &append_time, false);
        assert_eq!(valid.log_append_time(), append_time.now);
    }
}

#[test]
fn wrong_maximum_timestamp_is_mended() {
    let partition = partition();
    for codec in Codec::ALL {
        let input = changed(batch(Compression::new(codec)), |bytes| {
            put(bytes, layout::MAX_TIMESTAMP, 5i64.to_be_bytes());
        });
        assert_eq!(check_accepted(&input, &rules(&partition), false).max_timestamp(), NOW);
    }
}

#[test]
fn topics_codec_is_applied() {
    let partition = partition();
    for from in Codec::ALL {
        for to in Codec::ALL {
            for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                let compression = Some(Compression::new(to));
                let rules = AppendRules { compression, timestamp_type, ..rules(&partition) };
                let valid = check_accepted(&batch(Compression::new(from)), &rules, from != to);
                assert_eq!(valid.header().attributes.codec_id(), to.id());
            }
        }
    }
}

#[test]
fn gaps_between_offsets_are_closed() {
    let partition = partition();
    let coordinator = AppendRules { origin: AppendOrigin::Coordinator, ..rules(&partition) };
    for codec in Codec::ALL {
        let options = BatchOptions { compression: Compression::new(codec), ..BatchOptions::default() };
        check_accepted(&batch_with(options, &[1, 2, 1]), &coordinator, true);
        // A client's header that hides them.
        let hidden = changed(batch_with(options, &[1, 2, 1]), |bytes| {
            put(bytes, layout::LAST_OFFSET_DELTA, 2i32.to_be_bytes());
        });
        check_accepted(&hidden, &rules(&partition), true);
    }
}

#[test]
fn producer_state_survives_rewriting() {
    let partition = partition();
    let options = BatchOptions {
        producer_id: ProducerId(4),
        producer_epoch: ProducerEpoch(2),
        base_sequence: 10,
        transactional: true,
        ..BatchOptions::default()
    };
    let rules = AppendRules { compression: Some(Compression::new(Codec::Zstd)), ..rules(&partition) };
    let valid = check_accepted(&batch_with(options, &[1, 1]), &rules, true);
    let header = valid.header();
    assert_eq!((header.producer_id.0, header.producer_epoch.0, header.base_sequence), (4, 2, 10));
    assert!(header.is_transactional());
    assert_eq!(header.last_sequence(), 11);
}

#[track_caller]
fn check_rejected(input: &[u8], rules: &AppendRules<'_>, expected: ValidationError, class: ErrorClass) {
    let error = validate(input, rules).map(drop).unwrap_err();
    assert_eq!(error, expected);
    assert_eq!(error.class(), class);
}

#[test]
fn unsound_batches_are_rejected() {
    let partition = partition();
    let rules = rules(&partition);
    let good = batch(Compression::NONE);
    let invalid = |input: &[u8], error: InvalidBatch| {
        check_rejected(input, &rules, ValidationError::InvalidBatch(error), ErrorClass::InvalidRecord);
    };
    let patched = |at: usize, value: &[u8]| {
        changed(good.clone(), |bytes| bytes[at..at + value.len()].copy_from_slice(value))
    };
    invalid(&[], InvalidBatch::None);
    invalid(&good[..100], InvalidBatch::None);
    invalid(&[good.clone(), good.clone()].concat(), InvalidBatch::MoreThanOne);
    let base_offset = patched(layout::BASE_OFFSET, &5i64.to_be_bytes());
    invalid(&base_offset, InvalidBatch::BaseOffsetNotZero(Offset(5)));
    invalid(&patched(layout::RECORD_COUNT, &0i32.to_be_bytes()), InvalidBatch::NoRecords(0));
    invalid(&patched(layout::RECORD_COUNT, &(-5i32).to_be_bytes()), InvalidBatch::NoRecords(-5));
    let (first, last, count) = (Offset(0), Offset(4), 4);
    let counted = patched(layout::RECORD_COUNT, &4i32.to_be_bytes());
    invalid(&counted, InvalidBatch::OffsetsDoNotMatchCount { first, last, count });
    let control =
        control_batch(ControlRecordType::LeaderChange, b"", Offset(0), NOW, LeaderEpoch(7)).unwrap();
    invalid(&control, InvalidBatch::ControlBatchFromClient);
    let sequence = patched(layout::PRODUCER_ID, &9i64.to_be_bytes());
    invalid(&sequence, InvalidBatch::NegativeSequence { base_sequence: -1, producer_id: 9 });

    let mut corrupt = good.clone();
    corrupt[80] ^= 1;
    let error = validate(&corrupt, &rules).map(drop).unwrap_err();
    assert_eq!(error.class(), ErrorClass::CorruptMessage);
    let magic = [&good[..], &[0; 20]].concat();
    let error = validate(&magic, &rules).map(drop).unwrap_err();
    assert_eq!(error.class(), ErrorClass::CorruptMessage);
    let codec = patched(layout::ATTRIBUTES + 1, &[5]);
    let error = ValidationError::Malformed(RecordError::UnknownCodec(5));
    check_rejected(&codec, &rules, error, ErrorClass::UnsupportedCompressionType);
}

#[test]
fn lying_counts_are_rejected() {
    let partition = partition();
    for codec in Codec::ALL {
        for count in [4i32, 6, i32::MAX] {
            let input = changed(batch(Compression::new(codec)), |bytes| {
                put(bytes, layout::RECORD_COUNT, count.to_be_bytes());
                put(bytes, layout::LAST_OFFSET_DELTA, (count - 1).to_be_bytes());
            });
            let error = validate(&input, &rules(&partition)).map(drop).unwrap_err();
            assert_eq!(error.class(), ErrorClass::InvalidRecord, "{codec} {count}: {error}");
        }
    }
}

/// Batches of one record whose declared size, or a size in it, is one off; small ones, and ones larger than any chunk.
#[test]
fn lying_sizes_are_rejected() {
    let partition = partition();
    for codec in Codec::ALL {
        for value_bytes in [10, 300_000] {
            let check = |size_lie: i32, value_lie: i32, padding: usize| {
                let mut body = vec![0, 0, 0]; // attributes, timestamp and offset deltas
                put_varint(&mut body, -1);
                put_varint(&mut body, value_bytes + value_lie);
                body.resize(body.len() + value_bytes as usize, b'v');
                body.push(0); // headers
                let mut records = Vec::new();
                put_varint(&mut records, body.len() as i32 + size_lie);
                records.extend_from_slice(&body);
                records.resize(records.len() + padding, 0);
                validate(&one_record(codec, &records), &rules(&partition)).map(drop)
            };
            assert_eq!(check(0, 0, 0), Ok(()));
            for (size_lie, value_lie, padding) in
                [(1, 0, 0), (-1, 0, 0), (1, 0, 1), (0, 1, 0), (0, -1, 0), (0, 1, 1), (1, 1, 0), (0, 0, 1)]
            {
                let error = check(size_lie, value_lie, padding).unwrap_err();
                assert_eq!(error.class(), ErrorClass::InvalidRecord);
            }
        }
    }
}

/// A batch that says it has one record, and has `records`.
fn one_record(codec: Codec, records: &[u8]) -> Vec<u8> {
    let mut bytes = batch_with(BatchOptions::default(), &[1]);
    bytes.truncate(BATCH_HEADER_BYTES);
    Compression::new(codec).compress(records, &mut bytes).unwrap();
    let length = (bytes.len() - layout::LOG_OVERHEAD_BYTES) as i32;
    changed(bytes, |bytes| {
        put(bytes, layout::BATCH_LENGTH, length.to_be_bytes());
        bytes[layout::ATTRIBUTES + 1] = codec.id();
    })
}

#[test]
fn raft_leader_assigns_its_own_epoch() {
    let partition = partition();
    let raft = AppendRules { origin: AppendOrigin::RaftLeader, ..rules(&partition) };
    let control = |epoch| {
        control_batch(ControlRecordType::LeaderChange, b"x", Offset(1000), NOW, LeaderEpoch(epoch)).unwrap()
    };
    check_accepted(&control(7), &raft, false);
    let error = InvalidBatch::WrongLeaderEpoch { expected: 7, found: 6 };
    check_rejected(&control(6), &raft, ValidationError::InvalidBatch(error), ErrorClass::InvalidRecord);
    // Control batches keep their codec.
    let zstd = AppendRules { compression: Some(Compression::new(Codec::Zstd)), ..raft };
    check_accepted(&control(7), &zstd, false);
}

#[track_caller]
fn check_invalid_records(
    input: &[u8],
    rules: &AppendRules<'_>,
    expected: &[(i32, &str)],
    class: ErrorClass,
) -> String {
    let error = validate(input, rules).map(drop).unwrap_err();
    assert_eq!(error.class(), class);
    let ValidationError::InvalidRecords(records) = &error else { panic!("{error}") };
    let found: Vec<_> = records.errors.iter().map(|e| (e.batch_index, &e.message[..])).collect();
    assert_eq!(found, expected);
    assert_eq!(records.total, expected.len());
    error.to_string()
}

#[test]
fn compacted_topics_need_keys() {
    let partition = partition();
    for (codec, target) in [(Codec::None, None), (Codec::Lz4, None), (Codec::None, Some(Codec::Lz4))] {
        let options = BatchOptions { compression: Compression::new(codec), ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        for i in 0..6 {
            let key = (i % 2 == 0).then_some(&b"key"[..]);
            builder.append(&NewRecord { timestamp: NOW, key, ..NewRecord::default() }).unwrap();
        }
        let input = builder.build().unwrap();
        let compression = target.map(Compression::new);
        check_accepted(&input, &AppendRules { compression, ..rules(&partition) }, target.is_some());
        let rules = AppendRules { compacted: true, compression, ..rules(&partition) };
        let message = "Compacted topic cannot accept message without key in topic partition topic-3";
        let text = check_invalid_records(
            &input,
            &rules,
            &[(1, message), (3, message), (5, message)],
            ErrorClass::InvalidRecord,
        );
        assert!(text.starts_with(
            "One or more records have been rejected due to 3 record errors in total, and only showing the first three \
             errors at most: [RecordError(batchIndex=1, message='Compacted topic"
        ));
    }
}

#[test]
fn timestamps_must_be_in_range() {
    let partition = partition();
    let timestamps = |list: &[i64]| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for timestamp in list {
            builder.append(&NewRecord { timestamp: Timestamp(*timestamp), ..NewRecord::default() }).unwrap();
        }
        builder.build().unwrap()
    };
    let rules =
        AppendRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 500, ..rules(&partition) };
    check_accepted(&timestamps(&[NOW.0 - 1000, -1, NOW.0 + 500]), &rules, false);
    let text = check_invalid_records(
        &timestamps(&[NOW.0, NOW.0 - 1001, NOW.0 + 501]),
        &rules,
        &[
            (
                1,
                "Timestamp 1699999998999 of message with offset 1 is out of range. The timestamp should be within \
                 [1699999999000, 1700000000500]",
            ),
            (
                2,
                "Timestamp 1700000000501 of message with offset 2 is out of range. The timestamp should be within \
                 [1699999999000, 1700000000500]",
            ),
        ],
        ErrorClass::InvalidTimestamp,
    );
    assert_eq!(text, "One or more records have been rejected due to invalid timestamp");
    // The append time replaces whatever they were.
    let append_time = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..rules };
    check_accepted(&timestamps(&[5, NOW.0 * 2]), &append_time, false);
}

#[test]
fn producers_may_not_claim_append_time() {
    let partition = partition();
    let claimed = |timestamp| {
        let options = BatchOptions { log_append_time: Some(timestamp), ..BatchOptions::default() };
        batch_with(options, &[1])
    };
    let append_time = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..rules(&partition) };
    check_invalid_records(
        &claimed(NOW),
        &append_time,
        &[(
            0,
            "Invalid timestamp type in message DefaultRecord(offset=0, timestamp=1700000000000, key=1 bytes, value=50 \
             bytes). Producer should not set timestamp type to LogAppendTime.",
        )],
        ErrorClass::InvalidTimestamp,
    );
    // A topic with create time takes it for one.
    let valid = validate(&claimed(NOW), &rules(&partition)).unwrap();
    assert_eq!(valid.header().timestamp_type(), TimestampType::CreateTime);
    records(&valid.to_bytes());
}

#[test]
fn bombs_are_bounded() {
    let partition = partition();
    let zeroes = vec![0; 4 * LIMIT];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compression = Compression::new(codec);
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
        builder.append(&NewRecord { timestamp: NOW, value: Some(&zeroes), ..NewRecord::default() }).unwrap();
        let bomb = builder.build().unwrap();
        for target in [None, Some(Compression::NONE)] {
            let rules = AppendRules { compression: target, ..rules(&partition) };
            let error = validate(&bomb, &rules).map(drop).unwrap_err();
            let expected = RecordError::DecompressedSizeAboveLimit { limit: LIMIT };
            assert_eq!(error, ValidationError::Malformed(expected), "{codec}");
            assert_eq!(error.class(), ErrorClass::MessageTooLarge);
        }
        // What is kept as it is need not fit into memory.
        let larger = AppendRules { decompressed_bytes_max: 8 * LIMIT, ..rules(&partition) };
        assert!(validate(&bomb, &larger).is_ok(), "{codec}");
        let rewritten = AppendRules { compression: Some(Compression::NONE), ..larger };
        assert!(validate(&bomb, &rewritten).is_err(), "{codec}");
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// The walk and the iterator, which share little code, agree on which records are sound.
    #[test]
    fn walk_agrees_with_iterator(
        value_bytes in 0usize..200_000,
        headers in 0usize..3,
        mutations in prop::collection::vec((0usize..400, any::<u8>()), 0..3),
    ) {
        let value: Vec<u8> = (0..value_bytes).map(|i| (i / 100) as u8).collect();
        let header = crate::Header { key: b"header", value: Some(b"value") };
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for _ in 0..3 {
            let record = NewRecord { timestamp: NOW, key: None, value: Some(&value), headers: &[header; 2][..headers.min(2)] };
            builder.append(&record).unwrap();
        }
        let plain = builder.build().unwrap();
        let (header, body) = plain.split_at(BATCH_HEADER_BYTES);
        let mut body = body.to_vec();
        for (at, byte) in mutations {
            // Near either end, where lengths are.
            let at = if at < 200 { at } else { body.len().saturating_sub(at - 199) };
            if let Some(b) = body.get_mut(at) {
                *b = byte;
            }
        }
        let partition = partition();
        let rules = AppendRules { timestamp_after_max_ms: i64::MAX, ..rules(&partition) };
        for codec in Codec::ALL {
            let mut bytes = header.to_vec();
            Compression::new(codec).compress(&body, &mut bytes).unwrap();
            let bytes = changed(bytes, |bytes| {
                let length = (bytes.len() - 12) as i32;
                put(bytes, layout::BATCH_LENGTH, length.to_be_bytes());
                bytes[layout::ATTRIBUTES + 1] = codec.id();
            });
            let batch = Batch::parse(&bytes).unwrap();
            let walked = walk_records(&batch, codec, &rules);
            let mut read = batch.records(LIMIT).unwrap();
            let mut sizes = 0;
            let iterated = read.for_each(|record| { sizes += record.size_in_bytes; Ok::<(), RecordError>(()) });
            prop_assert_eq!(walked.is_ok(), iterated.is_ok(), "{}: {:?} {:?}", codec, walked, iterated);
            if let Ok(walked) = walked {
                prop_assert_eq!(walked.bytes, sizes);
            }
        }
    }
}
