//! Walks over encoded records without looking at keys, values and headers: the validator needs only that they add up.

use ottla_types::Offset;

use crate::compression::DecompressedStream;
use crate::error::RecordError;
use crate::record::Record;
use crate::records::read_varint;
use crate::varint::{decode_varint, decode_varlong};

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
    /// Reads the next record and checks that its fields fill it exactly.
    fn next_record(&mut self) -> Result<WalkedRecord, RecordError>;
    /// How many bytes follow; for a stream, some number that is zero only at its end.
    fn bytes_left(&mut self) -> Result<usize, RecordError>;
}

impl Cursor for &[u8] {
    #[inline]
    fn next_record(&mut self) -> Result<WalkedRecord, RecordError> {
        if self.is_empty() {
            return Err(RecordError::RecordsEndEarly);
        }
        let (size, prefix) = decode_varint(self).ok_or(RecordError::MalformedVarint)?;
        let len = usize::try_from(size).map_err(|_| RecordError::InvalidRecordSize(size))?;
        let rest = self.get(prefix..).unwrap_or_default();
        let (body, rest) = rest.split_at_checked(len).ok_or(RecordError::RecordsEndEarly)?;
        *self = rest;
        walk_body(&mut SliceFields { body, position: 0 }, len, prefix)
    }

    fn bytes_left(&mut self) -> Result<usize, RecordError> {
        Ok(self.len())
    }
}

impl Cursor for DecompressedStream<'_> {
    fn next_record(&mut self) -> Result<WalkedRecord, RecordError> {
        let size = read_varint(self)?;
        let len = usize::try_from(size).map_err(|_| RecordError::InvalidRecordSize(size))?;
        let prefix = crate::varint::varint_bytes(size);
        if let Some(body) = self.available().get(..len) {
            let record = walk_body(&mut SliceFields { body, position: 0 }, len, prefix)?;
            self.consume(len);
            return Ok(record);
        }
        walk_body(&mut StreamFields { stream: self, position: 0, len }, len, prefix)
    }

    fn bytes_left(&mut self) -> Result<usize, RecordError> {
        self.refill()?;
        Ok(self.available().len())
    }
}

/// The fields of one record, read one after another.
trait Fields {
    fn varint(&mut self) -> Result<i32, RecordError>;
    fn varlong(&mut self) -> Result<i64, RecordError>;
    /// A length that exceeds what the record has left is an error.
    fn skip(&mut self, len: i32) -> Result<(), RecordError>;
    fn position(&self) -> usize;
}

#[inline]
fn walk_body(fields: &mut impl Fields, len: usize, prefix: usize) -> Result<WalkedRecord, RecordError> {
    fields.skip(1)?; // attributes, of which none is in use
    let timestamp_delta = fields.varlong()?;
    let offset_delta = fields.varint()?;
    let key_bytes = skip_nullable(fields)?;
    let value_bytes = skip_nullable(fields)?;
    let header_count = fields.varint()?;
    if header_count != 0 {
        skip_headers(fields, header_count, len)?;
    }
    if fields.position() != len {
        return Err(RecordError::RecordSizeMismatch { declared: len, actual: fields.position() });
    }
    Ok(WalkedRecord { timestamp_delta, offset_delta, key_bytes, value_bytes, size_in_bytes: prefix + len })
}

#[inline]
fn skip_nullable(fields: &mut impl Fields) -> Result<i32, RecordError> {
    let len = fields.varint()?;
    if len > 0 {
        fields.skip(len)?;
    }
    Ok(len.max(-1))
}

fn skip_headers(fields: &mut impl Fields, count: i32, len: usize) -> Result<(), RecordError> {
    let remaining = len.saturating_sub(fields.position());
    if usize::try_from(count).is_ok_and(|count| count <= remaining) {
        for _ in 0..count {
            let key_size = fields.varint()?;
            if key_size < 0 {
                return Err(RecordError::InvalidHeaderKeySize(key_size));
            }
            fields.skip(key_size)?;
            skip_nullable(fields)?;
        }
        return Ok(());
    }
    Err(RecordError::InvalidHeaderCount(count))
}

fn exceeds(length: i32, remaining: usize) -> RecordError {
    RecordError::FieldExceedsRecord { length, remaining }
}

struct SliceFields<'a> {
    body: &'a [u8],
    position: usize,
}

impl SliceFields<'_> {
    #[inline]
    fn rest(&self) -> &[u8] {
        self.body.get(self.position..).unwrap_or_default()
    }
}

impl Fields for SliceFields<'_> {
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordError> {
        let (value, len) = decode_varint(self.rest()).ok_or(RecordError::MalformedVarint)?;
        self.position += len;
        Ok(value)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let (value, len) = decode_varlong(self.rest()).ok_or(RecordError::MalformedVarint)?;
        self.position += len;
        Ok(value)
    }

    #[inline]
    fn skip(&mut self, len: i32) -> Result<(), RecordError> {
        let remaining = self.body.len() - self.position;
        match usize::try_from(len) {
            Ok(len) if len <= remaining => {
                self.position += len;
                Ok(())
            }
            _ => Err(exceeds(len, remaining)),
        }
    }

    #[inline]
    fn position(&self) -> usize {
        self.position
    }
}

/// A record that lies across chunks. Values are skipped chunk by chunk and never put together.
struct StreamFields<'s, 'a> {
    stream: &'s mut DecompressedStream<'a>,
    position: usize,
    len: usize,
}

impl StreamFields<'_, '_> {
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
}

impl Fields for StreamFields<'_, '_> {
    fn varint(&mut self) -> Result<i32, RecordError> {
        let bytes = self.number::<{ crate::varint::VARINT_BYTES_MAX }>()?;
        decode_varint(&bytes).map(|(value, _)| value).ok_or(RecordError::MalformedVarint)
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        let bytes = self.number::<{ crate::varint::VARLONG_BYTES_MAX }>()?;
        decode_varlong(&bytes).map(|(value, _)| value).ok_or(RecordError::MalformedVarint)
    }

    fn skip(&mut self, len: i32) -> Result<(), RecordError> {
        let remaining = self.len - self.position;
        let mut left = match usize::try_from(len) {
            Ok(left) if left <= remaining => left,
            _ => return Err(exceeds(len, remaining)),
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

    fn position(&self) -> usize {
        self.position
    }
}
