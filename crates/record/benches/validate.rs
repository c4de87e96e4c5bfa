//! What taking a 16 KiB batch costs, by record size and codec: `cargo bench -p ottla-record`.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_record::{
    AppendOrigin, AppendRules, Batch, BatchBuilder, BatchOptions, Codec, Compression, NewRecord,
    TimestampType, validate_and_assign,
};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

const BATCH_BYTES: usize = 16 * 1024;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn main() {
    let partition = TopicPartition::new("topic", 0);
    println!("{:<28} {:>9} {:>12} {:>12}", "", "records", "ns a batch", "ns a record");
    for record_bytes in [1024, 100] {
        for codec in Codec::ALL {
            let batch = Bytes::from(batch(codec, record_bytes));
            let records = Batch::parse(&batch).unwrap().record_count;
            let row = |what: &str, each: Duration| {
                let ns = each.as_nanos() as f64;
                let name = format!("{what}, {record_bytes} B, {codec}");
                println!("{name:<28} {records:>9} {ns:>12.0} {:>12.1}", ns / f64::from(records));
            };
            if codec == Codec::None {
                row("crc", time(|| Batch::parse(black_box(&batch)).unwrap().check_crc().unwrap()));
            }
            row("validate", time(|| validate(&partition, &batch, TimestampType::CreateTime)));
            if codec == Codec::None {
                row("append time", time(|| validate(&partition, &batch, TimestampType::LogAppendTime)));
            }
            row("iterate", time(|| iterate(&batch)));
            row("build", time(|| drop(self::batch(codec, record_bytes))));
        }
    }
}

/// The fastest of several rounds: the others were disturbed.
fn time(mut f: impl FnMut()) -> Duration {
    const RUNS: u32 = 200;
    (0..50)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| f());
            start.elapsed() / RUNS
        })
        .min()
        .unwrap_or_default()
}

fn batch(codec: Codec, record_bytes: usize) -> Vec<u8> {
    let value: Vec<u8> =
        (0..record_bytes as u32).map(|i| b'a' + (i.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
    let options = BatchOptions { compression: Compression::new(codec), ..BatchOptions::default() };
    let mut builder = BatchBuilder::with_capacity(options, BATCH_BYTES);
    loop {
        let timestamp = Timestamp(NOW.0 + i64::from(builder.record_count()));
        let record = NewRecord { timestamp, value: Some(&value), ..NewRecord::default() };
        if builder.uncompressed_bytes_with(&record) > BATCH_BYTES {
            return builder.build().unwrap();
        }
        builder.append(&record).unwrap();
    }
}

fn validate(topic_partition: &TopicPartition, batch: &Bytes, timestamp_type: TimestampType) {
    let rules = AppendRules {
        topic_partition,
        origin: AppendOrigin::Client,
        partition_leader_epoch: LeaderEpoch(1),
        now: NOW,
        compression: None,
        compacted: false,
        timestamp_type,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        decompressed_bytes_max: 100 << 20,
        rewritten_bytes_max: 100 << 20,
    };
    black_box(validate_and_assign(black_box(batch), Offset(100), &rules).unwrap());
}

fn iterate(batch: &Bytes) {
    let mut records = Batch::parse(black_box(batch)).unwrap().records(100 << 20).unwrap();
    while let Some(record) = records.next().unwrap() {
        black_box(record.value);
    }
}
