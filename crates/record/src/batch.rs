//! One batch, in place in the caller's bytes.

use std::ops::Deref;

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::attributes::{Attributes, TimestampType};
use crate::crc::{crc32, crc32c};
use crate::error::RecordError;
use crate::header::{BatchHeader, BatchPrefix};
use crate::layout::{self, put};

/// A complete batch of any magic: its decoded header (what this derefs to) and its bytes, which are exactly
/// `size_in_bytes` long. The checksum is checked only when asked.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch that `bytes` start with.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, RecordError> {
        let truncated = |needed| RecordError::Truncated { needed, available: bytes.len() };
        let header = BatchHeader::parse(bytes)?.ok_or_else(|| truncated(layout::BATCH_HEADER_BYTES))?;
        let bytes = bytes.get(..header.size_in_bytes).ok_or_else(|| truncated(header.size_in_bytes))?;
        Ok(Batch { header, bytes })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch with its header.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: records, as they are stored (in the legacy formats: key and value).
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(self.header.header_bytes()..).unwrap_or_default()
    }

    pub fn check_crc(&self) -> Result<(), RecordError> {
        let computed = compute_crc(self.bytes, self.header.is_legacy());
        let stored = self.header.crc;
        if stored == computed { Ok(()) } else { Err(RecordError::CrcMismatch { stored, computed }) }
    }
}

impl Deref for Batch<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

fn compute_crc(bytes: &[u8], legacy: bool) -> u32 {
    if legacy {
        crc32(bytes.get(layout::LEGACY_CRC_START..).unwrap_or_default())
    } else {
        crc32c(bytes.get(layout::ATTRIBUTES..).unwrap_or_default())
    }
}

/// A batch of magic 2 whose header can be changed in place. Base offset and leader epoch lie outside the checksum;
/// what changes anything else ends with [`BatchMut::update_crc`].
#[derive(Debug)]
pub struct BatchMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> BatchMut<'a> {
    /// The batch that `bytes` start with; an older magic is an error.
    pub fn parse(bytes: &'a mut [u8]) -> Result<BatchMut<'a>, RecordError> {
        let available = bytes.len();
        let truncated = |needed| RecordError::Truncated { needed, available };
        let prefix = BatchPrefix::parse(bytes)?.ok_or_else(|| truncated(layout::BATCH_HEADER_BYTES))?;
        if prefix.is_legacy() {
            return Err(RecordError::InvalidMagic(prefix.magic));
        }
        let bytes = bytes.get_mut(..prefix.size_in_bytes).ok_or_else(|| truncated(prefix.size_in_bytes))?;
        Ok(BatchMut { bytes })
    }

    /// Reads the header as it is now.
    pub fn as_batch(&self) -> Result<Batch<'_>, RecordError> {
        Batch::parse(self.bytes)
    }

    pub fn set_base_offset(&mut self, offset: Offset) {
        put(self.bytes, layout::BASE_OFFSET, offset.0.to_be_bytes());
    }

    pub fn set_partition_leader_epoch(&mut self, epoch: LeaderEpoch) {
        put(self.bytes, layout::PARTITION_LEADER_EPOCH, epoch.0.to_be_bytes());
    }

    /// Sets maximum timestamp and timestamp type; the checksum is computed again only if either changed.
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, max_timestamp: Timestamp) {
        let old = Attributes(layout::get_i16(self.bytes, layout::ATTRIBUTES));
        let old_max_timestamp = Timestamp(layout::get_i64(self.bytes, layout::MAX_TIMESTAMP));
        if timestamp_type == old.timestamp_type(layout::MAGIC_V2) && max_timestamp == old_max_timestamp {
            return;
        }
        let attributes = old.known().with_timestamp_type(timestamp_type);
        self.set_attributes(attributes);
        put(self.bytes, layout::MAX_TIMESTAMP, max_timestamp.0.to_be_bytes());
        self.update_crc();
    }

    pub fn set_attributes(&mut self, attributes: Attributes) {
        put(self.bytes, layout::ATTRIBUTES, attributes.0.to_be_bytes());
    }

    pub fn set_last_offset_delta(&mut self, delta: i32) {
        put(self.bytes, layout::LAST_OFFSET_DELTA, delta.to_be_bytes());
    }

    pub fn set_base_timestamp(&mut self, timestamp: Timestamp) {
        put(self.bytes, layout::BASE_TIMESTAMP, timestamp.0.to_be_bytes());
    }

    /// Puts the batch into another place of a producer's sequence, or under another producer.
    pub fn set_producer(
        &mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: i32,
    ) {
        put(self.bytes, layout::PRODUCER_ID, producer_id.0.to_be_bytes());
        put(self.bytes, layout::PRODUCER_EPOCH, producer_epoch.0.to_be_bytes());
        put(self.bytes, layout::BASE_SEQUENCE, base_sequence.to_be_bytes());
        self.update_crc();
    }

    pub fn update_crc(&mut self) {
        let crc = compute_crc(self.bytes, false);
        put(self.bytes, layout::CRC, crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, BatchOptions, NewRecord};

    #[test]
    fn header_is_changed_in_place() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord { timestamp: Timestamp(5), ..NewRecord::default() }).unwrap();
        let mut bytes = builder.build().unwrap();
        let crc = Batch::parse(&bytes).unwrap().crc;

        let mut batch = BatchMut::parse(&mut bytes).unwrap();
        batch.set_base_offset(Offset(100));
        batch.set_partition_leader_epoch(LeaderEpoch(3));
        batch.set_max_timestamp(TimestampType::CreateTime, Timestamp(5));
        let seen = batch.as_batch().unwrap();
        seen.check_crc().unwrap();
        assert_eq!(
            (seen.base_offset, seen.partition_leader_epoch, seen.crc),
            (Offset(100), LeaderEpoch(3), crc)
        );

        batch.set_max_timestamp(TimestampType::LogAppendTime, Timestamp(9));
        let seen = batch.as_batch().unwrap();
        seen.check_crc().unwrap();
        assert_eq!(seen.timestamp_type(), TimestampType::LogAppendTime);
        let record = seen.records(0).unwrap().next().unwrap().unwrap().to_owned();
        assert_eq!((record.offset, record.timestamp), (Offset(100), Timestamp(9)));

        batch.set_max_timestamp(TimestampType::CreateTime, Timestamp(5));
        assert_eq!(batch.as_batch().unwrap().crc, crc);
    }

    #[test]
    fn a_batch_gets_another_producer_in_place() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.set_producer(ProducerId(7), ProducerEpoch(1), 40, true);
        builder.append(&NewRecord { timestamp: Timestamp(5), ..NewRecord::default() }).unwrap();
        let mut bytes = builder.build().unwrap();
        let producer = |batch: &Batch<'_>| (batch.producer_id.0, batch.producer_epoch.0, batch.base_sequence);
        let batch = Batch::parse(&bytes).unwrap();
        assert_eq!((producer(&batch), batch.is_transactional()), ((7, 1, 40), true));
        BatchMut::parse(&mut bytes).unwrap().set_producer(ProducerId(7), ProducerEpoch(2), 0);
        let batch = Batch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        assert_eq!((producer(&batch), batch.is_transactional()), ((7, 2, 0), true));
    }

    #[test]
    fn legacy_messages_are_not_changed() {
        let mut bytes = include_bytes!("../testdata/v1-none.bin").to_vec();
        assert_eq!(BatchMut::parse(&mut bytes).map(drop), Err(RecordError::InvalidMagic(1)));
    }
}
