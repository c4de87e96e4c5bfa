//! Logs as brokers have them, and what a reader of them is to get.

use bytes::Bytes;
use ottla_record::{
    BatchBuilder, BatchOptions, Codec, Compression, EndTxnMarker, Header, NewRecord, control_batch,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_wire::messages::fetch_response::AbortedTransaction;

/// One partition's log.
#[derive(Debug, Default)]
pub struct Log {
    batches: Vec<(i64, i64, Bytes)>,
    pub end: i64,
    /// Offsets of all records that anybody gets, and of those of committed transactions.
    pub uncommitted: Vec<i64>,
    pub committed: Vec<i64>,
    /// Producer, first offset, offset of the marker.
    aborted: Vec<(i64, i64, i64)>,
    open: [Vec<i64>; 3],
}

pub fn value(partition: i32, offset: i64) -> String {
    format!("{partition}@{offset}")
}

impl Log {
    /// Every kind of batch, over and over.
    pub fn mixed(partition: i32) -> Log {
        let mut log = Log::default();
        for round in 0..6 {
            log.records(partition, 3, 1, None, Codec::None);
            log.records(partition, 4, 1, None, Codec::Lz4);
            log.records(partition, 2, 1, Some(1), Codec::None);
            log.records(partition, 2, 1, Some(2), Codec::Zstd);
            log.end_transaction(1, round % 2 == 0);
            log.end_transaction(2, false);
            // As compaction leaves it: with gaps, also at the end.
            log.records(partition, 2, 3, None, Codec::None);
        }
        log
    }

    fn records(&mut self, partition: i32, count: i64, step: i64, producer: Option<i64>, codec: Codec) {
        let options = BatchOptions {
            compression: Compression::new(codec),
            base_offset: Offset(self.end),
            partition_leader_epoch: LeaderEpoch(0),
            producer_id: producer.map_or(ProducerId::NONE, ProducerId),
            producer_epoch: producer.map_or(ProducerEpoch::NONE, |_| ProducerEpoch(0)),
            base_sequence: producer.map_or(-1, |_| 0),
            transactional: producer.is_some(),
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for at in 0..count {
            let offset = self.end + at * step;
            let value = value(partition, offset);
            let record = NewRecord {
                timestamp: Timestamp(offset),
                key: Some(b"key"),
                value: Some(value.as_bytes()),
                headers: &[Header { key: b"h", value: Some(b"1") }],
            };
            builder.append_at(Offset(offset), &record).unwrap();
            match producer {
                Some(producer) => self.open[producer as usize].push(offset),
                None => self.committed.push(offset),
            }
            self.uncommitted.push(offset);
        }
        let last = self.end + count * step - 1;
        self.push(last, builder.build_with_last_offset(Offset(last)).unwrap());
    }

    fn end_transaction(&mut self, producer: i64, committed: bool) {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let batch = ottla_record::end_txn_batch(
            marker,
            ProducerId(producer),
            ProducerEpoch(0),
            Timestamp(0),
            LeaderEpoch(0),
        );
        let mut batch = batch.unwrap();
        batch[..8].copy_from_slice(&self.end.to_be_bytes());
        let records = std::mem::take(&mut self.open[producer as usize]);
        if committed {
            self.committed.extend(records);
            self.committed.sort_unstable();
        } else {
            self.aborted.push((producer, records[0], self.end));
        }
        self.push(self.end, batch);
    }

    fn push(&mut self, last: i64, batch: Vec<u8>) {
        self.batches.push((self.end, last, batch.into()));
        self.end = last + 1;
    }

    /// Batches from the one with `offset` on, the last of them in part; the first in any case as a whole if `at_least_one`.
    pub fn read(
        &self,
        offset: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> (Bytes, Vec<AbortedTransaction>) {
        let mut bytes = Vec::new();
        let mut until = offset;
        for (_, last, batch) in self.batches.iter().filter(|(_, last, _)| *last >= offset) {
            if !(at_least_one && bytes.is_empty()) && bytes.len() + batch.len() > bytes_max {
                bytes.extend_from_slice(&batch[..batch.len().min(bytes_max.saturating_sub(bytes.len()))]);
                break;
            }
            bytes.extend_from_slice(batch);
            until = *last;
        }
        let aborted = self.aborted.iter().filter(|(_, first, marker)| *marker >= offset && *first <= until);
        let named = aborted.map(|(producer_id, first_offset, _)| AbortedTransaction {
            producer_id: *producer_id,
            first_offset: *first_offset,
            ..AbortedTransaction::default()
        });
        (bytes.into(), named.collect())
    }

    /// One batch of plain records, for tests of single steps.
    pub fn plain(partition: i32, count: i64) -> Log {
        let mut log = Log::default();
        log.records(partition, count, 1, None, Codec::None);
        log
    }

    pub fn with_control_record_of_later_versions(mut self) -> Log {
        let kind = ottla_record::ControlRecordType::Unknown(99);
        let batch = control_batch(kind, b"", Offset(self.end), Timestamp(0), LeaderEpoch(0)).unwrap();
        self.push(self.end, batch);
        self
    }
}
