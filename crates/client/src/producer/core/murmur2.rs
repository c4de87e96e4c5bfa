//! The hash that decides which partition a key belongs to, as the Java client computes it.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// MurmurHash2 of 32 bits, with the seed that every Kafka client of the Java line uses.
pub fn murmur2(bytes: &[u8]) -> u32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k = (k ^ (k >> 24)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ k;
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition of a key in a topic with so many partitions; 0 if there is none.
///
/// ```
/// // Records with the same key stand in the same partition, whichever client wrote them.
/// assert_eq!(ottla_client::partition_of_key(b"customer-7", 6), 1);
/// ```
pub fn partition_of_key(key: &[u8], partitions: usize) -> i32 {
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
    let positive = murmur2(key) & 0x7fff_ffff;
    positive.checked_rem(partitions).and_then(|partition| i32::try_from(partition).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Apache Kafka 4.3.1 with `Partitions.java`, which lies beside it.
    const JAVAS: &str = include_str!("../../../testdata/partitions.tsv");

    #[test]
    fn keys_go_where_java_puts_them() {
        let mut checked = 0;
        for line in JAVAS.lines().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            let hex = cells[0];
            let byte = |place: usize| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap();
            let key: Vec<u8> = (0..hex.len() / 2).map(byte).collect();
            assert_eq!(murmur2(&key).cast_signed(), cells[1].parse::<i32>().unwrap(), "{line}");
            for (partitions, expected) in [1, 6, 50, 1000].into_iter().zip(&cells[2..]) {
                assert_eq!(partition_of_key(&key, partitions), expected.parse::<i32>().unwrap(), "{line}");
            }
            checked += 1;
        }
        assert_eq!(checked, 120);
        assert_eq!(partition_of_key(b"key", 0), 0);
    }
}
