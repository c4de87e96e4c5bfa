//! Batches as nobody would send them: whatever bytes they are, they are read or refused, and what the leader takes is sound.

use bytes::Bytes;
use ottla_testkit::cases;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const RECORDS_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Bit(Index, u8),
    /// A number that is read as a length or a count, somewhere.
    Number(Index, i32),
    Cut(Index),
    Grow(Vec<u8>),
    /// Of the header alone, where most of the meaning is.
    HeaderByte(usize, u8),
    Magic(i8),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        2 => (any::<Index>(), prop_oneof![any::<i32>(), -2..3i32, Just(i32::MAX), Just(i32::MIN)])
            .prop_map(|(at, number)| Damage::Number(at, number)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 0..100).prop_map(Damage::Grow),
        4 => (0..BATCH_HEADER_BYTES, any::<u8>()).prop_map(|(at, byte)| Damage::HeaderByte(at, byte)),
        1 => (-1..4i8).prop_map(Damage::Magic),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match self {
            Damage::Byte(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Bit(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Damage::Number(at, number) => {
                let at = at.index(len);
                for (byte, new) in bytes.iter_mut().skip(at).zip(number.to_be_bytes()) {
                    *byte = new;
                }
            }
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Grow(more) => bytes.extend_from_slice(more),
            Damage::HeaderByte(at, byte) => bytes.iter_mut().skip(*at).take(1).for_each(|b| *b = *byte),
            Damage::Magic(magic) => bytes.iter_mut().skip(16).take(1).for_each(|b| *b = *magic as u8),
        }
    }
}

fn batch(codec: Codec, records: usize, value_bytes: usize, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression: Compression::new(codec), ..options });
    let value: Vec<u8> = (0..value_bytes).map(|n| (n / 3) as u8).collect();
    for n in 0..records {
        let headers = [Header { key: b"header", value: Some(b"value") }, Header { key: b"", value: None }];
        let record = NewRecord {
            timestamp: Timestamp(NOW.0 + n as i64),
            key: (n % 3 != 0).then_some(b"key".as_slice()),
            value: (n % 4 != 0).then_some(value.as_slice()),
            headers: &headers[..n % 3],
        };
        builder.append(&record).expect("a sound record");
    }
    builder.build().expect("a sound batch")
}

fn options() -> impl Strategy<Value = BatchOptions> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(has_producer, transactional, append_time)| {
        BatchOptions {
            producer_id: if has_producer || transactional { ProducerId(5) } else { ProducerId(-1) },
            producer_epoch: if has_producer || transactional { ProducerEpoch(1) } else { ProducerEpoch(-1) },
            base_sequence: if has_producer || transactional { 7 } else { -1 },
            transactional,
            log_append_time: append_time.then_some(NOW),
            ..BatchOptions::default()
        }
    })
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let batch = (0..Codec::ALL.len(), 1..6usize, 0..300usize, options()).prop_map(
        |(codec, records, value_bytes, options)| batch(Codec::ALL[codec], records, value_bytes, options),
    );
    (vec(batch, 1..3), vec(damage(), 0..4), any::<bool>()).prop_map(
        |(batches, damage, has_right_checksum)| {
            let mut bytes = batches.concat();
            damage.iter().for_each(|damage| damage.apply(&mut bytes));
            if has_right_checksum && let Ok(mut batch) = BatchMut::parse(&mut bytes) {
                // What only the checksum would have kept away.
                batch.update_crc();
            }
            bytes
        },
    )
}

/// Reads everything that can be read; returns how many records that were.
fn read_all(bytes: &[u8]) -> usize {
    let mut count = 0;
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch else { break };
        let _ = batch.check_crc();
        let Ok(mut records) = batch.records(RECORDS_BYTES_MAX) else { continue };
        while let Ok(Some(record)) = records.next() {
            let _ = (record.key, record.value, record.to_owned());
            count += 1;
        }
        assert!(batch.last_offset() >= batch.base_offset || batch.check_crc().is_err() || count < 1 << 20);
    }
    count
}

fn check_taken(bytes: &Bytes, rules: &AppendRules<'_>) {
    let Ok(mut valid) = validate_and_assign(bytes, Offset(1000), rules) else { return };
    let stored = valid.to_bytes();
    assert_eq!(stored.len(), valid.size_in_bytes());
    let batch = Batch::parse(&stored).expect("what was taken is a batch");
    batch.check_crc().expect("its checksum is right");
    assert_eq!(batch.size_in_bytes, stored.len());
    assert_eq!((batch.base_offset, batch.last_offset()), (valid.first_offset(), valid.last_offset()));
    let mut records = batch.records(RECORDS_BYTES_MAX).expect("its records are readable");
    let (mut offset, mut newest) = (Offset(1000), Timestamp::NONE);
    while let Some(record) = records.next().expect("each of them") {
        assert_eq!(record.offset, offset);
        newest = newest.max(record.timestamp);
        offset = offset.next();
    }
    assert_eq!(offset, batch.next_offset(), "as many as it says");
    // A client that claims append times has all its records at its largest one, here as in Kafka, until they are stored
    // by a topic that keeps the times in which they were created.
    if Batch::parse(bytes).is_ok_and(|claimed| claimed.timestamp_type() == TimestampType::CreateTime) {
        assert_eq!(newest, batch.max_timestamp);
    }
    valid.set_first_offset(Offset(5));
    assert_eq!(Batch::parse(&valid.to_bytes()).expect("a batch").base_offset, Offset(5));
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn any_damage_is_read_or_refused(bytes in damaged()) {
        read_all(&bytes);
    }

    #[test]
    fn what_the_leader_takes_is_sound(bytes in damaged(), recompress in 0..6usize, rule in 0..4u8) {
        let partition = TopicPartition::new("t", 0);
        let timestamp_type = if rule & 1 == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime };
        let rules = AppendRules {
            topic_partition: &partition,
            // The others' batches are made here.
            origin: AppendOrigin::Client,
            partition_leader_epoch: LeaderEpoch(3),
            now: NOW,
            compression: Codec::ALL.get(recompress).map(|codec| Compression::new(*codec)),
            compacted: rule & 2 != 0,
            timestamp_type,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            decompressed_bytes_max: RECORDS_BYTES_MAX,
            rewritten_bytes_max: RECORDS_BYTES_MAX,
        };
        check_taken(&Bytes::from(bytes), &rules);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        let _ = EndTxnMarker::parse(&bytes, &bytes);
        let _ = ControlRecordType::parse(&bytes);
    }
}
