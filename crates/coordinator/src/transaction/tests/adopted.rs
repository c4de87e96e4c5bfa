//! A log that Apache Kafka wrote.

use bytes::Bytes;
use ottla_record::{BatchMut, Batches, Compression};

use super::*;
use crate::runtime::{EncodedRecord, Shard, StoredBatch, StoredContent, WriteBatch};
use crate::transaction::record;
use crate::transaction::shard::TransactionShard;

const KAFKAS_LOG: &[u8] = include_bytes!("data/transaction_state.log");

#[test]
fn it_is_written_as_kafka_wrote_it() {
    let stored = StoredBatch::decode_all(KAFKAS_LOG, 1 << 20).unwrap();
    assert_eq!(stored.len(), 8);
    for (batch, stored) in Batches::new(KAFKAS_LOG).zip(stored) {
        let batch = batch.unwrap();
        let StoredContent::Records(records) = stored.content else { panic!("no records") };
        let encoded = records.into_iter().map(|stored| {
            let (key, value) = (stored.key.unwrap(), stored.value);
            let decoded = record::decode(key.clone(), value.clone()).unwrap();
            let ours = record::encode(decoded.as_ref().unwrap()).unwrap();
            // Kafka has a transaction's topics in the order of a hash table.
            assert_eq!(
                (&ours.key, ours.value.as_ref().map(Bytes::len)),
                (&key, value.as_ref().map(Bytes::len))
            );
            assert_eq!(record::decode(ours.key, ours.value), Ok(decoded));
            EncodedRecord { key, value }
        });
        let written = WriteBatch {
            timestamp: batch.header().max_timestamp,
            transaction: None,
            base_sequence: TransactionShard::BASE_SEQUENCE,
            records: encoded.collect(),
        };
        let mut bytes = written.encode(Compression::NONE).unwrap();
        let mut numbered = BatchMut::parse(&mut bytes).unwrap();
        numbered.set_base_offset(stored.base_offset);
        numbered.set_partition_leader_epoch(batch.header().partition_leader_epoch);
        assert_eq!(bytes, batch.bytes());
    }
}

#[test]
fn its_producer_goes_on() {
    let batches = StoredBatch::decode_all(KAFKAS_LOG, 1 << 20).unwrap();
    let high_watermark = batches.last().unwrap().last_offset.next();
    let rig = Rig::with_log(2, MemoryLog { batches, high_watermark }, 1, Arc::default());
    let described = rig.describe("golden");
    assert_eq!((described.transaction_state.as_str(), described.producer_epoch), ("CompleteAbort", 2));
    assert_eq!(rig.send_init("golden", None).now().producer_epoch, 3);
}
