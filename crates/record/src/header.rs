//! What the first bytes of a batch say.

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::attributes::{Attributes, TimestampType};
use crate::error::RecordError;
use crate::layout::{self, get_i8, get_i16, get_i32, get_i64, get_u32};

/// The part of a header that has the same place in every magic: enough to walk a file from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPrefix {
    /// Magic 2: the first record's offset. Older: the message's own, which for a compressed one is its last record's.
    pub base_offset: Offset,
    /// The whole batch, these bytes included.
    pub size_in_bytes: usize,
    /// 0, 1 or 2.
    pub magic: i8,
}

impl BatchPrefix {
    /// Reads the first [`layout::BATCH_PREFIX_BYTES`] of a batch; `None` when there are fewer.
    ///
    /// An impossible length or magic is an error: what follows isn't a batch.
    pub fn parse(bytes: &[u8]) -> Result<Option<BatchPrefix>, RecordError> {
        if bytes.len() < layout::LOG_OVERHEAD_BYTES {
            return Ok(None);
        }
        let length = get_i32(bytes, layout::BATCH_LENGTH);
        let too_short = |minimum| RecordError::LengthBelowMinimum { length, minimum };
        let body_bytes = usize::try_from(length).map_err(|_| too_short(layout::MIN_LENGTH_V0))?;
        if body_bytes < layout::MIN_LENGTH_V0 {
            return Err(too_short(layout::MIN_LENGTH_V0));
        }
        if bytes.len() < layout::BATCH_PREFIX_BYTES {
            return Ok(None);
        }
        let magic = get_i8(bytes, layout::MAGIC);
        let minimum = match magic {
            layout::MAGIC_V0 => layout::MIN_LENGTH_V0,
            layout::MAGIC_V1 => layout::MIN_LENGTH_V1,
            layout::MAGIC_V2 => layout::BATCH_HEADER_BYTES - layout::LOG_OVERHEAD_BYTES,
            _ => return Err(RecordError::InvalidMagic(magic)),
        };
        if body_bytes < minimum {
            return Err(too_short(minimum));
        }
        Ok(Some(BatchPrefix {
            base_offset: Offset(get_i64(bytes, layout::BASE_OFFSET)),
            size_in_bytes: body_bytes + layout::LOG_OVERHEAD_BYTES,
            magic,
        }))
    }

    pub fn is_legacy(&self) -> bool {
        self.magic < layout::MAGIC_V2
    }

    /// How many bytes [`BatchHeader::parse`] needs.
    pub fn header_bytes(&self) -> usize {
        match self.magic {
            layout::MAGIC_V0 => layout::LEGACY_HEADER_V0_BYTES,
            layout::MAGIC_V1 => layout::LEGACY_HEADER_V1_BYTES,
            _ => layout::BATCH_HEADER_BYTES,
        }
    }
}

/// The decoded header of a batch of any magic. What the older ones lack has the format's "none" value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// See [`BatchPrefix::base_offset`].
    pub base_offset: Offset,
    /// The whole batch with its header.
    pub size_in_bytes: usize,
    pub partition_leader_epoch: LeaderEpoch,
    pub magic: i8,
    /// As stored, not checked.
    pub crc: u32,
    pub attributes: Attributes,
    /// Compaction keeps it when it removes the last records, so it may exceed what the records say.
    pub last_offset_delta: i32,
    pub base_timestamp: Timestamp,
    pub max_timestamp: Timestamp,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    /// As stored; -1 for the legacy formats, which don't say.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; `None` when they are too few ([`BATCH_HEADER_BYTES`] always
    /// suffice). Only length and magic are checked.
    ///
    /// [`BATCH_HEADER_BYTES`]: crate::BATCH_HEADER_BYTES
    pub fn parse(bytes: &[u8]) -> Result<Option<BatchHeader>, RecordError> {
        let Some(prefix) = BatchPrefix::parse(bytes)? else { return Ok(None) };
        if bytes.len() < prefix.header_bytes() {
            return Ok(None);
        }
        Ok(Some(if prefix.is_legacy() { legacy(prefix, bytes) } else { current(prefix, bytes) }))
    }

    pub fn is_legacy(&self) -> bool {
        self.magic < layout::MAGIC_V2
    }

    /// How many bytes the header takes; the records follow (in the legacy formats: key and value).
    pub fn header_bytes(&self) -> usize {
        BatchPrefix { base_offset: self.base_offset, size_in_bytes: self.size_in_bytes, magic: self.magic }
            .header_bytes()
    }

    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// The offset that the next batch starts at or after.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// The sequence number of the last record; [`crate::NO_SEQUENCE`] without producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == layout::NO_SEQUENCE {
            return layout::NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type(self.magic)
    }

    pub fn is_compressed(&self) -> bool {
        self.attributes.is_compressed()
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// When tombstones and transaction markers in the batch may be removed (KIP-534).
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

fn current(prefix: BatchPrefix, bytes: &[u8]) -> BatchHeader {
    BatchHeader {
        base_offset: prefix.base_offset,
        size_in_bytes: prefix.size_in_bytes,
        partition_leader_epoch: LeaderEpoch(get_i32(bytes, layout::PARTITION_LEADER_EPOCH)),
        magic: prefix.magic,
        crc: get_u32(bytes, layout::CRC),
        attributes: Attributes(get_i16(bytes, layout::ATTRIBUTES)),
        last_offset_delta: get_i32(bytes, layout::LAST_OFFSET_DELTA),
        base_timestamp: Timestamp(get_i64(bytes, layout::BASE_TIMESTAMP)),
        max_timestamp: Timestamp(get_i64(bytes, layout::MAX_TIMESTAMP)),
        producer_id: ProducerId(get_i64(bytes, layout::PRODUCER_ID)),
        producer_epoch: ProducerEpoch(get_i16(bytes, layout::PRODUCER_EPOCH)),
        base_sequence: get_i32(bytes, layout::BASE_SEQUENCE),
        record_count: get_i32(bytes, layout::RECORD_COUNT),
    }
}

fn legacy(prefix: BatchPrefix, bytes: &[u8]) -> BatchHeader {
    let timestamp = match prefix.magic {
        layout::MAGIC_V0 => Timestamp::NONE,
        _ => Timestamp(get_i64(bytes, layout::LEGACY_TIMESTAMP)),
    };
    let codec_and_timestamp_type = i16::from(get_i8(bytes, layout::LEGACY_ATTRIBUTES)) & 0x0f;
    BatchHeader {
        base_offset: prefix.base_offset,
        size_in_bytes: prefix.size_in_bytes,
        partition_leader_epoch: LeaderEpoch::NONE,
        magic: prefix.magic,
        crc: get_u32(bytes, layout::LEGACY_CRC),
        attributes: Attributes(codec_and_timestamp_type),
        last_offset_delta: 0,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: layout::NO_SEQUENCE,
        record_count: -1,
    }
}

/// Sequence numbers run from 0 to `i32::MAX` and start over.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    match sequence.checked_add(increment) {
        Some(sum) => sum,
        None => increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1),
    }
}

/// The inverse of [`increment_sequence`].
pub fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    if sequence < decrement {
        i32::MAX.wrapping_sub(decrement.wrapping_sub(sequence)).wrapping_add(1)
    } else {
        sequence.wrapping_sub(decrement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        for (sequence, increment, expected) in
            [(0, 5, 5), (i32::MAX, 1, 0), (i32::MAX - 2, 5, 2), (i32::MAX, i32::MAX, i32::MAX - 1)]
        {
            assert_eq!(increment_sequence(sequence, increment), expected);
            assert_eq!(decrement_sequence(expected, increment), sequence);
        }
    }
}
