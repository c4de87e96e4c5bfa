use ottla_testkit::cases;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::compression::Codec;
use crate::error::RecordError;
use crate::record::OwnedRecord;

const LIMIT: usize = 1 << 24;

type Bytes = Vec<u8>;

#[derive(Clone, Debug)]
struct Input {
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Input {
    fn append_to(&self, builder: &mut BatchBuilder, offset: Offset) {
        let headers: Vec<Header<'_>> =
            self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let record = NewRecord {
            timestamp: Timestamp(self.timestamp),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        };
        let expected = builder.uncompressed_bytes_with(&record);
        let bytes_max = builder.uncompressed_bytes() + record_bytes_max(&record);
        let next = builder.next_offset() == offset;
        builder.append_at(offset, &record).unwrap();
        assert!(!next || builder.uncompressed_bytes() == expected);
        assert!(builder.uncompressed_bytes() <= bytes_max);
    }
}

fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    (any::<u8>(), 0..len_max).prop_map(|(seed, len)| (0..len).map(|i| seed.wrapping_mul(i as u8)).collect())
}

fn input() -> impl Strategy<Value = Input> {
    let large = prop_oneof![9 => Just(300usize), 1 => Just(100_000)];
    let value = option::of(large.prop_flat_map(bytes));
    let headers = vec((bytes(20), option::of(bytes(200))), 0..4);
    (-1i64..1 << 50, option::of(bytes(100)), value, headers)
        .prop_map(|(timestamp, key, value, headers)| Input { timestamp, key, value, headers })
}

fn read(bytes: &[u8]) -> Result<Vec<OwnedRecord>, RecordError> {
    let batch = Batch::parse(bytes)?;
    batch.check_crc()?;
    let mut records = Vec::new();
    batch.records(LIMIT)?.for_each(|record| {
        records.push(record.to_owned());
        Ok::<(), RecordError>(())
    })?;
    Ok(records)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn what_is_built_is_read(inputs in vec((input(), 1i64..3), 1..30), base_offset in 0i64..1 << 60) {
        for codec in Codec::ALL {
            let options = BatchOptions {
                compression: Compression::new(codec),
                base_offset: Offset(base_offset),
                producer_id: ProducerId(5),
                producer_epoch: ProducerEpoch(1),
                base_sequence: i32::MAX - 3,
                ..BatchOptions::default()
            };
            let mut builder = BatchBuilder::new(options);
            let mut offset = base_offset;
            for (input, step) in &inputs {
                input.append_to(&mut builder, Offset(offset));
                offset += step;
            }
            let built = builder.build().unwrap();
            let records = read(&built).unwrap();
            prop_assert_eq!(records.len(), inputs.len());
            let mut offset = base_offset;
            for (record, (input, step)) in records.iter().zip(&inputs) {
                prop_assert_eq!(record.offset.0, offset);
                prop_assert_eq!(record.sequence, crate::increment_sequence(i32::MAX - 3, (offset - base_offset) as i32));
                prop_assert_eq!(record.timestamp.0, input.timestamp);
                prop_assert_eq!(record.key.as_deref(), input.key.as_deref());
                prop_assert_eq!(record.value.as_deref(), input.value.as_deref());
                let headers: Vec<_> = record.headers.iter().map(|h| (h.key.to_vec(), h.value.as_ref().map(|v| v.to_vec()))).collect();
                prop_assert_eq!(&headers, &input.headers);
                offset += step;
            }
            let header = BatchHeader::parse(&built).unwrap().unwrap();
            prop_assert_eq!(header.last_offset(), records.last().unwrap().offset);
            prop_assert_eq!(header.max_timestamp.0, inputs.iter().map(|(i, _)| i.timestamp).max().unwrap());
            prop_assert_eq!(header.base_timestamp.0, inputs[0].0.timestamp);
            prop_assert_eq!(header.last_sequence(), records.last().unwrap().sequence);
        }
    }

    #[test]
    fn mutated_records_never_panic(inputs in vec(input(), 1..5), mutations in vec((any::<u16>(), any::<u8>()), 1..4)) {
        for codec in Codec::ALL {
            let options = BatchOptions { compression: Compression::new(codec), ..BatchOptions::default() };
            let mut builder = BatchBuilder::new(options);
            for (offset, input) in inputs.iter().enumerate() {
                input.append_to(&mut builder, Offset(offset as i64));
            }
            let mut built = builder.build().unwrap();
            for (at, byte) in &mutations {
                let at = usize::from(*at) % built.len();
                built[at] = *byte;
            }
            let Ok(batch) = Batch::parse(&built) else { continue };
            if let Ok(mut records) = batch.records(LIMIT) {
                let _ = records.for_each(|record| {
                    record.headers.iter().for_each(drop);
                    Ok::<(), RecordError>(())
                });
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 61..300), magic in 0u8..3, codec in 0u8..8, count in -1i32..5) {
        let length = (bytes.len() - 12) as i32;
        put(&mut bytes, layout::BATCH_LENGTH, length.to_be_bytes());
        bytes[layout::MAGIC] = magic;
        bytes[if magic == 2 { layout::ATTRIBUTES + 1 } else { layout::LEGACY_ATTRIBUTES }] = codec;
        if magic == 2 {
            put(&mut bytes, layout::RECORD_COUNT, count.to_be_bytes());
        }
        let _ = read(&bytes);
        if let Ok(mut records) = Batch::parse(&bytes).unwrap().records(1000) {
            while let Ok(Some(_)) = records.next() {}
        }
    }
}

fn three_records(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for value in [b"a", b"b", b"c"] {
        builder.append(&NewRecord { value: Some(value), ..NewRecord::default() }).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn lying_counts_are_errors() {
    for codec in Codec::ALL {
        for (count, expected) in [
            (-1, Err(RecordError::InvalidRecordCount(-1))),
            (2, Err(RecordError::BytesAfterRecords(8))),
            (3, Ok(3)),
            (4, Err(RecordError::RecordsEndEarly)),
            (i32::MAX, Err(RecordError::RecordsEndEarly)),
        ] {
            let mut bytes = three_records(Compression::new(codec));
            put(&mut bytes, layout::RECORD_COUNT, count.to_be_bytes());
            crate::BatchMut::parse(&mut bytes).unwrap().update_crc();
            assert_eq!(read(&bytes).map(|records| records.len()), expected, "{codec}, {count}");
        }
    }
}

#[test]
fn appended_records_need_increasing_offsets_in_range() {
    let record = NewRecord::default();
    let mut builder = BatchBuilder::new(BatchOptions { base_offset: Offset(10), ..BatchOptions::default() });
    let base_offset = Offset(10);
    let mut check = |offset, expected: Result<(), BuildError>| {
        assert_eq!(builder.append_at(Offset(offset), &record), expected);
    };
    check(9, Err(BuildError::OffsetOutOfRange { offset: Offset(9), base_offset }));
    check(12, Ok(()));
    check(12, Err(BuildError::OffsetNotIncreasing { offset: Offset(12), last: Offset(12) }));
    let far = 11 + i64::from(i32::MAX);
    check(far, Err(BuildError::OffsetOutOfRange { offset: Offset(far), base_offset }));
    check(far - 1, Ok(()));
}

#[test]
fn producer_state_is_checked() {
    let build = |options: BatchOptions| {
        let mut builder = BatchBuilder::new(options);
        builder.append(&NewRecord::default()).unwrap();
        builder.build().map(drop)
    };
    let producer = BatchOptions { producer_id: ProducerId(1), ..BatchOptions::default() };
    let with_epoch = BatchOptions { producer_epoch: ProducerEpoch(0), ..producer };
    let transactional = BatchOptions { transactional: true, ..BatchOptions::default() };
    assert_eq!(build(transactional), Err(BuildError::TransactionalWithoutProducerId));
    assert_eq!(build(producer), Err(BuildError::NegativeProducerEpoch));
    assert_eq!(build(with_epoch), Err(BuildError::NegativeSequence));
    assert_eq!(build(BatchOptions { base_sequence: 0, ..with_epoch }), Ok(()));
}

#[test]
fn control_records_keep_to_themselves() {
    let record = NewRecord::default();
    let mut plain = BatchBuilder::new(BatchOptions::default());
    let leader_change = ControlRecordType::LeaderChange;
    assert_eq!(plain.append_control(leader_change, Timestamp(1), b""), Err(BuildError::ControlMismatch));
    let mut control = BatchBuilder::new(BatchOptions { control: true, ..BatchOptions::default() });
    assert_eq!(control.append(&record), Err(BuildError::ControlMismatch));

    let marker = EndTxnMarker { committed: true, coordinator_epoch: 9 };
    let bytes = end_txn_batch(marker, ProducerId(7), ProducerEpoch(2), Timestamp(5), LeaderEpoch(3)).unwrap();
    let batch = Batch::parse(&bytes).unwrap();
    assert!(batch.is_control() && batch.is_transactional());
    let mut records = batch.records(LIMIT).unwrap();
    let record = records.next().unwrap().unwrap();
    assert_eq!(EndTxnMarker::parse(record.key.unwrap(), record.value.unwrap()), Ok(Some(marker)));
}

#[test]
fn compaction_keeps_offsets_and_sequences() {
    let options = BatchOptions {
        base_offset: Offset(100),
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 40,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for timestamp in 0..5 {
        builder.append(&NewRecord { timestamp: Timestamp(timestamp), ..NewRecord::default() }).unwrap();
    }
    let original = builder.build().unwrap();
    let original = Batch::parse(&original).unwrap();

    let options =
        BatchOptions { delete_horizon: Some(Timestamp(1000)), ..original.options(Compression::NONE) };
    let mut kept = BatchBuilder::new(options);
    let mut records = original.records(LIMIT).unwrap();
    while let Some(record) = records.next().unwrap() {
        if record.offset == Offset(102) {
            kept.append_copy(record.offset, &record).unwrap();
        }
    }
    let kept = kept.build_with_last_offset(original.last_offset()).unwrap();
    let kept = Batch::parse(&kept).unwrap();
    assert_eq!((kept.base_offset, kept.last_offset()), (Offset(100), Offset(104)));
    assert_eq!((kept.base_sequence, kept.last_sequence()), (40, 44));
    assert_eq!(kept.delete_horizon(), Some(Timestamp(1000)));
    let record = kept.records(LIMIT).unwrap().next().unwrap().unwrap().to_owned();
    assert_eq!((record.offset, record.sequence, record.timestamp), (Offset(102), 42, Timestamp(2)));

    let empty = empty_batch(&original);
    let empty = Batch::parse(&empty).unwrap();
    empty.check_crc().unwrap();
    assert_eq!((empty.last_offset(), empty.last_sequence()), (Offset(104), 44));
    assert_eq!((empty.base_timestamp, empty.max_timestamp), (Timestamp::NONE, Timestamp(4)));
    assert_eq!(empty.records(LIMIT).unwrap().next(), Ok(None));
}
