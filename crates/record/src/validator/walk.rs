//! Walks over encoded records without looking at keys, values and headers: the validator needs only that they add up.

use ottla_types::Offset;

use crate::compression::DecompressedStream;
use crate::error::RecordError;
use crate::record::{RawRecord, Record};
use crate::records::{read_varint, split_record};
use crate::varint::{VARINT_BYTES_MAX, VARLONG_BYTES_MAX, decode_varint, decode_varlong, varint_bytes};

/// What the validator wants to know of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalkedRecord {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    /// -1 for null.
    pub(super) key_bytes: i32,
    pub(super) value_bytes: i32,
    /// With its length.
    pub(super) size_in_bytes: usize,
}

impl WalkedRecord {
    pub(super) fn from_record(record: &Record<'_>, base_offset: Offset) -> WalkedRecord {
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i32);
        WalkedRecord {
            timestamp_delta: 0,
            offset_delta: record.offset.0.wrapping_sub(base_offset.0) as i32,
            key_bytes: len(record.key),
            value_bytes: len(record.value),
            size_in_bytes: record.size_in_bytes,
        }
    }
}

/// Records before they are decompressed, or after.
pub(super) trait Cursor {
    /// Moves past the next record if that can be done at once.
    fn next_quickly(&mut self) -> Option<WalkedRecord>;
    /// Moves past the next record in any case, or says what is wrong with it.
    fn next_thoroughly(&mut self) -> Result<WalkedRecord, RecordError>;
    /// How many bytes follow; for a stream, some number that is zero only at its end.
    fn bytes_left(&mut self) -> Result<usize, RecordError>;
}

impl Cursor for &[u8] {
    #[inline(always)]
    fn next_quickly(&mut self) -> Option<WalkedRecord> {
        let record = walk(self)?;
        *self = self.get(record.size_in_bytes..)?;
        Some(record)
    }

    #[cold]
    fn next_thoroughly(&mut self) -> Result<WalkedRecord, RecordError> {
        let body = split_record(self)?;
        let raw = RawRecord::parse(body)?;
        let len = |field: Option<&[u8]>| field.map_or(-1, |field| field.len() as i32);
        Ok(WalkedRecord {
            timestamp_delta: raw.timestamp_delta,
            offset_delta: raw.offset_delta,
            key_bytes: len(raw.key),
            value_bytes: len(raw.value),
            size_in_bytes: varint_bytes(body.len() as i32) + body.len(),
        })
    }

    fn bytes_left(&mut self) -> Result<usize, RecordError> {
        Ok(self.len())
    }
}

impl Cursor for DecompressedStream<'_> {
    #[inline]
    fn next_quickly(&mut self) -> Option<WalkedRecord> {
        let record = walk(self.available())?;
        self.consume(record.size_in_bytes);
        Some(record)
    }

    fn next_thoroughly(&mut self) -> Result<WalkedRecord, RecordError> {
        let size = read_varint(self)?;
        let len = usize::try_from(size).map_err(|_| RecordError::InvalidRecordSize(size))?;
        StreamFields { stream: self, position: 0, len }.walk()
    }

    fn bytes_left(&mut self) -> Result<usize, RecordError> {
        self.refill()?;
        Ok(self.available().len())
    }
}

/// Walks over the record at the start of `bytes`; `None` if it isn't sound or not all there. This is the inner loop of
/// every append, so it leaves it to others to find out what is wrong.
#[inline(always)]
fn walk(bytes: &[u8]) -> Option<WalkedRecord> {
    let mut at = 0;
    let size = usize::try_from(varint(bytes, &mut at)?).ok()?;
    let size_in_bytes = at + size;
    let bytes = bytes.get(..size_in_bytes)?;
    at += 1; // attributes, of which none is in use
    let timestamp_delta = varlong(bytes, &mut at)?;
    let offset_delta = varint(bytes, &mut at)?;
    let key_bytes = skip_nullable(bytes, &mut at)?;
    let value_bytes = skip_nullable(bytes, &mut at)?;
    let header_count = varint(bytes, &mut at)?;
    if header_count != 0 {
        skip_headers(bytes, &mut at, header_count)?;
    }
    let record = WalkedRecord { timestamp_delta, offset_delta, key_bytes, value_bytes, size_in_bytes };
    (at == size_in_bytes).then_some(record)
}

fn skip_headers(bytes: &[u8], at: &mut usize, count: i32) -> Option<()> {
    // Each header moves on, and what lies beyond the end can't be read.
    for _ in 0..u32::try_from(count).ok()? {
        let key_bytes = varint(bytes, at)?;
        *at += usize::try_from(key_bytes).ok()?;
        skip_nullable(bytes, at)?;
    }
    Some(())
}

/// Returns -1 for null.
#[inline]
fn skip_nullable(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let len = varint(bytes, at)?.max(-1);
    *at += usize::try_from(len).unwrap_or(0);
    Some(len)
}

#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let (value, len) = decode_varint(bytes.get(*at..)?)?;
    *at += len;
    Some(value)
}

#[inline]
fn varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let (value, len) = decode_varlong(bytes.get(*at..)?)?;
    *at += len;
    Some(value)
}

/// A record that lies across chunks. Values are skipped chunk by chunk and never put together.
struct StreamFields<'s, 'a> {
    stream: &'s mut DecompressedStream<'a>,
    position: usize,
    len: usize,
}

impl StreamFields<'_, '_> {
    fn walk(mut self) -> Result<WalkedRecord, RecordError> {
        self.skip(1)?; // attributes
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let key_bytes = self.skip_nullable()?;
        let value_bytes = self.skip_nullable()?;
        let header_count = self.varint()?;
        self.skip_headers(header_count)?;
        if self.position != self.len {
            return Err(RecordError::RecordSizeMismatch { declared: self.len, actual: self.position });
        }
        let size_in_bytes = varint_bytes(self.len as i32) + self.len;
        Ok(WalkedRecord { timestamp_delta, offset_delta, key_bytes, value_bytes, size_in_bytes })
    }

    fn skip_headers(&mut self, count: i32) -> Result<(), RecordError> {
        if !usize::try_from(count).is_ok_and(|count| count <= self.len - self.position) {
            return Err(RecordError::InvalidHeaderCount(count));
        }
        for _ in 0..count {
            let key_bytes = self.varint()?;
            if key_bytes < 0 {
                return Err(RecordError::InvalidHeaderKeySize(key_bytes));
            }
            self.skip(key_bytes)?;
            self.skip_nullable()?;
        }
        Ok(())
    }

    fn skip_nullable(&mut self) -> Result<i32, RecordError> {
        let len = self.varint()?.max(-1);
        self.skip(len.max(0))?;
        Ok(len)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        if self.position >= self.len {
            return Err(RecordError::MalformedVarint);
        }
        if !self.stream.refill()? {
            return Err(RecordError::RecordsEndEarly);
        }
        self.position += 1;
        Ok(self.stream.take(1).first().copied().unwrap_or_default())
    }

    /// The bytes of one variable-length number, and how many they are.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut bytes = [0x80; N];
        for slot in &mut bytes {
            *slot = self.byte()?;
            if *slot < 0x80 {
                break;
            }
        }
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        let bytes = self.number::<VARINT_BYTES_MAX>()?;
        decode_varint(&bytes).map(|(value, _)| value).ok_or(RecordError::MalformedVarint)
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        let bytes = self.number::<VARLONG_BYTES_MAX>()?;
        decode_varlong(&bytes).map(|(value, _)| value).ok_or(RecordError::MalformedVarint)
    }

    fn skip(&mut self, len: i32) -> Result<(), RecordError> {
        let remaining = self.len - self.position;
        let mut left = match usize::try_from(len) {
            Ok(left) if left <= remaining => left,
            _ => return Err(RecordError::FieldExceedsRecord { length: len, remaining }),
        };
        self.position += left;
        while left > 0 {
            if !self.stream.refill()? {
                return Err(RecordError::RecordsEndEarly);
            }
            let available = self.stream.available().len().min(left);
            self.stream.consume(available);
            left -= available;
        }
        Ok(())
    }
}
