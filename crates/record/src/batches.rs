//! Batches one after another in a buffer, as segments and fetch responses hold them.

use crate::batch::Batch;
use crate::error::RecordError;
use crate::header::BatchPrefix;

/// Iterates over the batches in a buffer. It ends where no complete batch follows ([`Batches::tail`] tells whether
/// something is left) and after an error, which means that the bytes there can't be a batch.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    size_max: usize,
    corrupt: bool,
}

/// What lies behind the last complete batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: the buffer ends where a batch ends.
    Clean,
    /// The start of a batch; its size, once enough of it is there to know.
    Partial { size_in_bytes: Option<usize> },
    /// Bytes that no batch starts with.
    Corrupt,
}

impl<'a> Batches<'a> {
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches::with_size_max(bytes, usize::MAX)
    }

    /// Takes a batch that says it is larger than `size_max` bytes as corrupt.
    pub fn with_size_max(bytes: &'a [u8], size_max: usize) -> Batches<'a> {
        Batches { bytes, position: 0, size_max, corrupt: false }
    }

    /// Where the next batch starts: the number of bytes in complete batches so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Says how the buffer ends; meaningful once the iterator has ended.
    pub fn tail(&self) -> Tail {
        let rest = self.rest();
        match BatchPrefix::parse(rest) {
            _ if self.corrupt => Tail::Corrupt,
            _ if rest.is_empty() => Tail::Clean,
            Ok(prefix) => Tail::Partial { size_in_bytes: prefix.map(|p| p.size_in_bytes) },
            Err(_) => Tail::Corrupt,
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn read(&mut self) -> Result<Option<Batch<'a>>, RecordError> {
        let rest = self.rest();
        let Some(prefix) = BatchPrefix::parse(rest)? else { return Ok(None) };
        let size = prefix.size_in_bytes;
        if size > self.size_max {
            return Err(RecordError::SizeAboveLimit { size, limit: self.size_max });
        }
        if size > rest.len() {
            return Ok(None);
        }
        let batch = Batch::parse(rest)?;
        self.position += size;
        Ok(Some(batch))
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.corrupt {
            return None;
        }
        let item = self.read();
        self.corrupt = item.is_err();
        item.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchMut;
    use crate::layout::{self, put};
    use ottla_types::Offset;

    fn empty_batch(base_offset: i64) -> Vec<u8> {
        let mut bytes = vec![0; layout::BATCH_HEADER_BYTES];
        put(&mut bytes, layout::BATCH_LENGTH, 49i32.to_be_bytes());
        put(&mut bytes, layout::MAGIC, [2]);
        let mut batch = BatchMut::parse(&mut bytes).unwrap();
        batch.set_base_offset(Offset(base_offset));
        batch.set_last_offset_delta(2);
        batch.update_crc();
        bytes
    }

    #[track_caller]
    fn check(bytes: &[u8], last_offsets: &[i64], tail: Tail) {
        let mut batches = Batches::with_size_max(bytes, 1000);
        let found: Vec<i64> = batches.by_ref().map_while(|b| b.ok()).map(|b| b.last_offset().0).collect();
        assert_eq!((&found[..], batches.tail()), (last_offsets, tail));
        assert!(batches.next().is_none());
    }

    #[test]
    fn partial_end_is_told_from_corrupt_one() {
        let two = [empty_batch(10), empty_batch(13)].concat();
        check(&two, &[12, 15], Tail::Clean);
        check(&[], &[], Tail::Clean);
        check(&two[..121], &[12], Tail::Partial { size_in_bytes: Some(61) });
        check(&two[..70], &[12], Tail::Partial { size_in_bytes: None });
        let with = |at: usize, byte: u8| {
            let mut bytes = two.clone();
            bytes[61 + at] = byte;
            bytes
        };
        check(&with(layout::MAGIC, 3), &[12], Tail::Corrupt);
        check(&with(layout::BATCH_LENGTH, 0x80), &[12], Tail::Corrupt);
        check(&with(layout::BATCH_LENGTH + 3, 48), &[12], Tail::Corrupt);
        check(&with(layout::BATCH_LENGTH + 1, 1), &[12], Tail::Corrupt);
        check(&[0; 12], &[], Tail::Corrupt);
    }

    #[test]
    fn checksum_covers_what_follows_it() {
        let good = empty_batch(0);
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let outside = at < layout::MAGIC && !(layout::BATCH_LENGTH..12).contains(&at);
            if let Ok(batch) = Batch::parse(&bytes) {
                assert_eq!(batch.check_crc().is_ok(), outside, "byte {at}");
            }
        }
    }
}
