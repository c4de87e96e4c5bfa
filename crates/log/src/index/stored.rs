//! Entries of index files as they lie there, for tools that look at files which nobody has open or whose log is damaged.
//!
//! A file that was not closed ends with zeros, which read as entries. What is no whole entry is left out.

use super::entries::Entry;
use super::offset_index::Raw as OffsetEntry;
use super::time_index::Raw as TimeEntry;
use super::txn_index::Raw as TxnEntry;
use super::{AbortedTxn, OffsetPosition, TimestampOffset};

pub const OFFSET_ENTRY_BYTES: usize = OffsetEntry::SIZE;
pub const TIME_ENTRY_BYTES: usize = TimeEntry::SIZE;

/// Of a `.index` file.
pub fn offset_entries(bytes: &[u8], base_offset: i64) -> Vec<OffsetPosition> {
    entries(bytes).map(|entry: OffsetEntry| entry.absolute(base_offset)).collect()
}

/// Of a `.timeindex` file.
pub fn time_entries(bytes: &[u8], base_offset: i64) -> Vec<TimestampOffset> {
    entries(bytes).map(|entry: TimeEntry| entry.absolute(base_offset)).collect()
}

/// Of a `.txnindex` file, with their versions.
pub fn txn_entries(bytes: &[u8]) -> Vec<(i16, AbortedTxn)> {
    entries(bytes).map(|entry: TxnEntry| (entry.version, entry.txn)).collect()
}

fn entries<E: Entry>(bytes: &[u8]) -> impl Iterator<Item = E> {
    bytes.chunks_exact(E::SIZE).filter_map(E::decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_up_to_the_last_whole_one() {
        let index = [0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 2, 0, 7];
        let at = |offset, position| OffsetPosition { offset, position };
        assert_eq!(offset_entries(&index, 100), [at(105, 256), at(109, 512)]);
        assert_eq!(time_entries(&index, 100), [TimestampOffset { timestamp: 5 << 32 | 256, offset: 109 }]);
        assert_eq!(txn_entries(&index), []);
        let txn = AbortedTxn { producer_id: 1, first_offset: 2, last_offset: 3, last_stable_offset: 4 };
        let mut bytes = Vec::new();
        TxnEntry { version: 0, txn }.encode(&mut bytes);
        assert_eq!(txn_entries(&bytes), [(0, txn)]);
    }
}
