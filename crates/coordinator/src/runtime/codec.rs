//! Between what a shard writes and reads and the batches that lie in its log.

use bytes::Bytes;
use ottla_record::{
    Batch, BatchBuilder, BatchOptions, Batches, BuildError, Compression, ControlRecordType, NewRecord,
    Record, RecordError,
};

use super::storage::{
    BATCH_HEADER_BYTES, EncodedRecord, Membership, Producer, StoredBatch, StoredContent, StoredRecord,
    WriteBatch,
};

impl WriteBatch {
    /// The batch's bytes; its offsets begin at 0, until the log gives it its own.
    pub fn encode(&self, compression: Compression) -> Result<Vec<u8>, BuildError> {
        let base_sequence = self.base_sequence;
        let mut options = BatchOptions { compression, base_sequence, ..BatchOptions::default() };
        if let Some(Membership { producer, .. }) = self.transaction {
            options.producer_id = producer.id;
            options.producer_epoch = producer.epoch;
            options.transactional = true;
        }
        let bytes = self.records.iter().map(EncodedRecord::max_bytes).sum::<usize>();
        let mut builder = BatchBuilder::with_capacity(options, BATCH_HEADER_BYTES + bytes);
        for record in &self.records {
            builder.append(&NewRecord {
                timestamp: self.timestamp,
                key: Some(&record.key),
                value: record.value.as_deref(),
                headers: &[],
            })?;
        }
        builder.build()
    }
}

impl StoredBatch {
    /// The batches in a piece of the log, up to the last complete one. `decompressed_bytes_max` bounds what each
    /// compressed one may expand to.
    pub fn decode_all(bytes: &[u8], decompressed_bytes_max: usize) -> Result<Vec<StoredBatch>, RecordError> {
        Batches::new(bytes).map(|batch| decode(&batch?, decompressed_bytes_max)).collect()
    }
}

fn decode(batch: &Batch<'_>, decompressed_bytes_max: usize) -> Result<StoredBatch, RecordError> {
    batch.check_crc()?;
    let header = batch.header();
    let producer = header
        .is_transactional()
        .then_some(Producer { id: header.producer_id, epoch: header.producer_epoch });
    let mut records = batch.records(decompressed_bytes_max)?;
    let content = if header.is_control() {
        match records.next()? {
            Some(record) => control(&record)?,
            None => StoredContent::OtherControl,
        }
    } else {
        let mut stored = Vec::new();
        records.for_each(|record| {
            stored.push(StoredRecord {
                offset: record.offset,
                key: record.key.map(Bytes::copy_from_slice),
                value: record.value.map(Bytes::copy_from_slice),
            });
            Ok::<(), RecordError>(())
        })?;
        StoredContent::Records(stored)
    };
    Ok(StoredBatch { base_offset: header.base_offset, last_offset: header.last_offset(), producer, content })
}

fn control(record: &Record<'_>) -> Result<StoredContent, RecordError> {
    Ok(match ControlRecordType::parse(record.key.unwrap_or_default())? {
        ControlRecordType::Commit => StoredContent::EndTransaction { committed: true },
        ControlRecordType::Abort => StoredContent::EndTransaction { committed: false },
        _ => StoredContent::OtherControl,
    })
}

#[cfg(test)]
mod tests {
    use ottla_record::{EndTxnMarker, end_txn_batch};
    use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

    use super::*;
    const PRODUCER: Producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(1) };

    #[test]
    fn what_is_written_is_read() {
        let record = |key: &'static str, value: Option<&'static str>| EncodedRecord {
            key: Bytes::from(key),
            value: value.map(Bytes::from),
        };
        let records = vec![record("a", Some("1")), record("b", None)];
        for producer in [None, Some(PRODUCER)] {
            let transaction = producer.map(|producer| Membership { producer, verification: None });
            let batch = WriteBatch {
                timestamp: Timestamp(5),
                transaction,
                base_sequence: 0,
                records: records.clone(),
            };
            let bytes = batch.encode(Compression::NONE).unwrap();
            let estimate = records.iter().map(EncodedRecord::max_bytes).sum::<usize>();
            assert!(bytes.len() <= crate::runtime::BATCH_HEADER_BYTES + estimate);
            let stored = StoredBatch::decode_all(&bytes, 1000).unwrap();
            let content = StoredContent::Records(vec![
                StoredRecord { offset: Offset(0), key: Some("a".into()), value: Some("1".into()) },
                StoredRecord { offset: Offset(1), key: Some("b".into()), value: None },
            ]);
            let expected = StoredBatch { base_offset: Offset(0), last_offset: Offset(1), producer, content };
            assert_eq!(stored, [expected]);
        }
    }

    #[test]
    fn markers_end_transactions() {
        for committed in [true, false] {
            let marker = EndTxnMarker { committed, coordinator_epoch: 3 };
            let bytes =
                end_txn_batch(marker, PRODUCER.id, PRODUCER.epoch, Timestamp(5), LeaderEpoch(0)).unwrap();
            let stored = StoredBatch::decode_all(&bytes, 1000).unwrap();
            assert_eq!(stored[0].producer, Some(PRODUCER));
            assert_eq!(stored[0].content, StoredContent::EndTransaction { committed });
        }
    }

    #[test]
    fn a_damaged_batch_is_an_error_and_half_a_batch_is_none() {
        let records = vec![EncodedRecord { key: Bytes::from("a"), value: None }];
        let batch = WriteBatch { timestamp: Timestamp(5), transaction: None, base_sequence: 0, records };
        let mut bytes = batch.encode(Compression::NONE).unwrap();
        assert_eq!(StoredBatch::decode_all(&bytes[..bytes.len() - 1], 1000), Ok(Vec::new()));
        *bytes.last_mut().unwrap() ^= 1;
        assert!(StoredBatch::decode_all(&bytes, 1000).is_err());
    }
}
