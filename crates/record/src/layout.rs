//! Where the fields of a batch lie, in bytes from its start.

/// Magic 0 and 1 are single messages (before Kafka 0.11), magic 2 is the record batch (KIP-98).
pub(crate) const MAGIC_V0: i8 = 0;
pub(crate) const MAGIC_V1: i8 = 1;
pub(crate) const MAGIC_V2: i8 = 2;

pub(crate) const BASE_OFFSET: usize = 0;
pub(crate) const BATCH_LENGTH: usize = 8;
/// Offset and length, which every magic starts with and which the length doesn't count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
pub(crate) const PARTITION_LEADER_EPOCH: usize = 12;
pub(crate) const MAGIC: usize = 16;
/// How many bytes tell a batch's size and magic.
pub const BATCH_PREFIX_BYTES: usize = 17;
pub(crate) const CRC: usize = 17;
/// The CRC covers everything from here on.
pub(crate) const ATTRIBUTES: usize = 21;
pub(crate) const LAST_OFFSET_DELTA: usize = 23;
pub(crate) const BASE_TIMESTAMP: usize = 27;
pub(crate) const MAX_TIMESTAMP: usize = 35;
pub(crate) const PRODUCER_ID: usize = 43;
pub(crate) const PRODUCER_EPOCH: usize = 51;
pub(crate) const BASE_SEQUENCE: usize = 53;
pub(crate) const RECORD_COUNT: usize = 57;
/// The header of a batch of magic 2; no header of any magic is longer.
pub const BATCH_HEADER_BYTES: usize = 61;

pub(crate) const LEGACY_CRC: usize = 12;
/// The CRC of a legacy message covers everything from its magic on.
pub(crate) const LEGACY_CRC_START: usize = 16;
pub(crate) const LEGACY_ATTRIBUTES: usize = 17;
pub(crate) const LEGACY_TIMESTAMP: usize = 18;
pub(crate) const LEGACY_HEADER_V0_BYTES: usize = 18;
pub(crate) const LEGACY_HEADER_V1_BYTES: usize = 26;
/// What the length field of the smallest possible message says: header, null key, null value.
pub(crate) const MIN_LENGTH_V0: usize = 14;
pub(crate) const MIN_LENGTH_V1: usize = 22;

/// A batch without idempotent producer has this as its base sequence.
pub const NO_SEQUENCE: i32 = -1;

/// The `N` bytes at `at`, or zeroes where `bytes` ends too early; callers have checked the length.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

#[inline]
pub(crate) fn get_i8(bytes: &[u8], at: usize) -> i8 {
    i8::from_be_bytes(array(bytes, at))
}

#[inline]
pub(crate) fn get_i16(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array(bytes, at))
}

#[inline]
pub(crate) fn get_i32(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array(bytes, at))
}

#[inline]
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

#[inline]
pub(crate) fn get_i64(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array(bytes, at))
}

/// Writes `value` at `at`; callers have checked the length.
#[inline]
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *field = value;
    }
}
