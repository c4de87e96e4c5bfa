//! Bytes that Apache Kafka 4.3.1 wrote.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset, Uuid};

use super::*;
use crate::record_batches;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// The bytes and the batch that they are, both ways.
fn check(golden: &str, batch: LeaderBatch) {
    let bytes = hex(golden);
    assert_eq!(Bytes::from(record_batches::encode(&batch).unwrap()), bytes);
    let parsed = record_batches::parse(bytes.clone());
    assert_eq!(parsed.len(), 1);
    assert_eq!(parsed[0].bytes, bytes);
    assert_eq!((parsed[0].base_offset, parsed[0].last_offset()), (batch.base_offset, batch.last_offset()));
    if let BatchRecords::Control(records) = batch.records {
        let found: Vec<ControlRecord> = parsed[0].control.iter().map(|(_, record)| record.clone()).collect();
        assert_eq!(found, records);
    }
}

impl ReceivedBatch {
    fn last_offset(&self) -> Offset {
        self.last_offset
    }
}

/// The first batch of `__cluster_metadata-0` with a static quorum of node 1.
#[test]
fn start_of_an_epoch_with_static_voters() {
    let change = LeaderChange {
        version: 0,
        leader_id: node_id(1),
        voters: vec![(node_id(1), Uuid::ZERO)],
        granting_voters: vec![(node_id(1), Uuid::ZERO)],
    };
    check(
        "0000000000000000 0000004f 00000001 02 4ee7da80 0020 00000000 000001a1fc83c9fd 000001a1fc83c9fd
         ffffffffffffffff ffff ffffffff 00000001 3a 00 00 00 08 00000002 26 0000 00000001 02 00000001 00
         02 00000001 00 00 00",
        LeaderBatch {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(1),
            append_timestamp: Timestamp(0x01a1_fc83_c9fd),
            records: BatchRecords::Control(vec![ControlRecord::LeaderChange(change)]),
        },
    );
}
