//! The two checksums of Kafka's formats.

/// CRC-32C (Castagnoli), of batches of magic 2.
#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// The CRC-32C of some bytes, whose own is `crc`, and `more`.
#[inline]
pub(crate) fn crc32c_append(crc: u32, more: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, more)
}

/// CRC-32 (IEEE), of messages of magic 0 and 1.
#[inline]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_values() {
        assert_eq!(super::crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(super::crc32(b"123456789"), 0xCBF4_3926);
    }
}
