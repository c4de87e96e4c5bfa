//! The records that the files beside this one hold; `Golden.java` makes the same.

use ottla_record::{BatchBuilder, BatchOptions, Header, NewRecord};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

pub const SMALL: usize = 20;
pub const LARGE: usize = 3;
pub const BASE_OFFSET: Offset = Offset(1000);

pub struct Expected {
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub fn expected(large: bool) -> Vec<Expected> {
    (0..if large { LARGE } else { SMALL })
        .map(|i| Expected {
            timestamp: Timestamp(1_600_000_000_000 + 1000 * i as i64 - 5000 * (i as i64 % 3)),
            key: (i % 4 != 1).then(|| format!("key-{i}").into_bytes()),
            value: value(i, large),
            headers: (0..i % 3)
                .map(|j| (format!("h{j}").into_bytes(), (j != 1).then(|| "x".repeat(i).into_bytes())))
                .collect(),
        })
        .collect()
}

fn value(i: usize, large: bool) -> Option<Vec<u8>> {
    if large {
        return Some((0..100_000).map(|k| (k / 50 * (i + 1)) as u8).collect());
    }
    (i % 5 != 2).then(|| format!("value-{i} ").repeat(3 * i).into_bytes())
}

pub fn build(options: BatchOptions, large: bool) -> Vec<u8> {
    let options =
        BatchOptions { base_offset: BASE_OFFSET, partition_leader_epoch: LeaderEpoch(4), ..options };
    let mut builder = BatchBuilder::new(options);
    for record in expected(large) {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder
            .append(&NewRecord { timestamp: record.timestamp, key, value, headers: &headers })
            .expect("the records are sound");
    }
    builder.build().expect("the records are sound")
}
