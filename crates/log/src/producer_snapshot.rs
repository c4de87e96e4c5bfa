//! What is known about a log's producers at an offset: the content of a `.snapshot` file (KIP-98).
//!
//! Version (1, int16), CRC-32C of all that follows it, number of entries (int32), entries of 46 bytes; big-endian.

use thiserror::Error;

use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

const VERSION: i16 = 1;
/// Version and checksum: the checksum covers what comes after.
const PREFIX_BYTES: usize = 6;
const ENTRY_BYTES: usize = 46;

/// A producer as a snapshot keeps it: the last batch only, so that of five batches that may be sent again after a
/// restart one is recognized by the snapshot and the others by the log behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSnapshotEntry {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// -1: the producer has written nothing but control records.
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Last offset minus first offset of the last batch.
    pub offset_delta: i32,
    pub timestamp: Timestamp,
    /// -1: no transaction of this producer ended here.
    pub coordinator_epoch: i32,
    /// -1: no transaction is open.
    pub current_txn_first_offset: Offset,
}

/// Why a snapshot is refused: the caller removes it and goes on with an earlier one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProducerSnapshotError {
    #[error("the producer snapshot is too short: {0} bytes")]
    TooShort(usize),
    #[error("version {0} of the producer snapshot is unknown")]
    UnknownVersion(i16),
    #[error(
        "the producer snapshot is corrupt: its checksum is {stored:#010x} and should be {computed:#010x}"
    )]
    WrongChecksum { stored: u32, computed: u32 },
    #[error("the producer snapshot announces {announced} entries in {bytes} bytes")]
    WrongCount { announced: i32, bytes: usize },
}

/// The bytes of a snapshot file.
pub fn encode(entries: &[ProducerSnapshotEntry]) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + entries.len() * ENTRY_BYTES);
    body.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for entry in entries {
        body.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        body.extend_from_slice(&entry.producer_epoch.0.to_be_bytes());
        body.extend_from_slice(&entry.last_sequence.to_be_bytes());
        body.extend_from_slice(&entry.last_offset.0.to_be_bytes());
        body.extend_from_slice(&entry.offset_delta.to_be_bytes());
        body.extend_from_slice(&entry.timestamp.0.to_be_bytes());
        body.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&entry.current_txn_first_offset.0.to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    bytes.append(&mut body);
    bytes
}

/// Reads the bytes of a snapshot file.
pub fn decode(bytes: &[u8]) -> Result<Vec<ProducerSnapshotEntry>, ProducerSnapshotError> {
    let too_short = ProducerSnapshotError::TooShort(bytes.len());
    let (version, rest) = bytes.split_first_chunk().ok_or(too_short)?;
    let version = i16::from_be_bytes(*version);
    if version != VERSION {
        return Err(ProducerSnapshotError::UnknownVersion(version));
    }
    let (stored, body) = rest.split_first_chunk().ok_or(too_short)?;
    let (stored, computed) = (u32::from_be_bytes(*stored), crc32c::crc32c(body));
    if stored != computed {
        return Err(ProducerSnapshotError::WrongChecksum { stored, computed });
    }
    let (announced, entries) = body.split_first_chunk().ok_or(too_short)?;
    let announced = i32::from_be_bytes(*announced);
    let wrong_count = ProducerSnapshotError::WrongCount { announced, bytes: entries.len() };
    let count = usize::try_from(announced).map_err(|_| wrong_count)?;
    if count.checked_mul(ENTRY_BYTES) != Some(entries.len()) {
        return Err(wrong_count);
    }
    entries.chunks_exact(ENTRY_BYTES).map(|entry| decode_entry(entry).ok_or(wrong_count)).collect()
}

fn decode_entry(bytes: &[u8]) -> Option<ProducerSnapshotEntry> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (producer_epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    Some(ProducerSnapshotEntry {
        producer_id: ProducerId(i64::from_be_bytes(*producer_id)),
        producer_epoch: ProducerEpoch(i16::from_be_bytes(*producer_epoch)),
        last_sequence: i32::from_be_bytes(*last_sequence),
        last_offset: Offset(i64::from_be_bytes(*last_offset)),
        offset_delta: i32::from_be_bytes(*offset_delta),
        timestamp: Timestamp(i64::from_be_bytes(*timestamp)),
        coordinator_epoch: i32::from_be_bytes(*coordinator_epoch),
        current_txn_first_offset: Offset(i64::from_be_bytes(*rest.first_chunk()?)),
    })
}

#[cfg(test)]
mod tests {
    use ottla_testkit::cases;
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = ProducerSnapshotEntry> {
        (any::<(i64, i16, i32, i64)>(), any::<(i32, i64, i32, i64)>()).prop_map(|(a, b)| {
            ProducerSnapshotEntry {
                producer_id: ProducerId(a.0),
                producer_epoch: ProducerEpoch(a.1),
                last_sequence: a.2,
                last_offset: Offset(a.3),
                offset_delta: b.0,
                timestamp: Timestamp(b.1),
                coordinator_epoch: b.2,
                current_txn_first_offset: Offset(b.3),
            }
        })
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec(entry(), 0..5)) {
            prop_assert_eq!(decode(&encode(&entries)), Ok(entries));
        }

        #[test]
        fn any_changed_bit_is_seen(entries in prop::collection::vec(entry(), 0..3), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = encode(&entries);
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn rubbish_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }

    #[test]
    fn counts_that_lie_are_refused() {
        for announced in [1, -1, i32::MAX] {
            let body = announced.to_be_bytes();
            let mut bytes = VERSION.to_be_bytes().to_vec();
            bytes.extend(crc32c::crc32c(&body).to_be_bytes());
            bytes.extend(body);
            assert_eq!(decode(&bytes), Err(ProducerSnapshotError::WrongCount { announced, bytes: 0 }));
        }
        assert_eq!(decode(&[]), Err(ProducerSnapshotError::TooShort(0)));
        assert_eq!(decode(&[0, 2]), Err(ProducerSnapshotError::UnknownVersion(2)));
    }
}
