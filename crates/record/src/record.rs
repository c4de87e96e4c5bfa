//! One record: where its fields lie in its encoded bytes.

use bytes::Bytes;
use ottla_types::{Offset, Timestamp};

use crate::error::RecordError;
use crate::varint::{decode_varint, decode_varlong};

/// A record of a batch. Key, value and headers point into the batch or into its decompressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: Offset,
    /// The batch's own for `LogAppendTime`.
    pub timestamp: Timestamp,
    /// [`crate::NO_SEQUENCE`] without idempotent producer.
    pub sequence: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// As encoded and not compressed, length included.
    pub size_in_bytes: usize,
}

impl Record<'_> {
    /// Copies what the record points to.
    pub fn to_owned(&self) -> OwnedRecord {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        OwnedRecord {
            offset: self.offset,
            timestamp: self.timestamp,
            sequence: self.sequence,
            key: copy(self.key),
            value: copy(self.value),
            headers: self
                .headers
                .iter()
                .map(|h| OwnedHeader { key: Bytes::copy_from_slice(h.key), value: copy(h.value) })
                .collect(),
        }
    }
}

/// A record that lives on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub sequence: i32,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<OwnedHeader>,
}

/// A header that lives on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedHeader {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A record's header (KIP-82). Keys are UTF-8 by convention, which nothing checks; they may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A record's headers, encoded; their structure was checked when the record was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut fields = Fields { bytes: self.bytes };
        (0..self.count).map_while(move |_| fields.header().ok())
    }

    /// The headers as a record holds them, after their count.
    pub(crate) fn encoded(&self) -> &'a [u8] {
        self.bytes
    }
}

/// A record's fields as they are encoded: relative to the batch's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> RawRecord<'a> {
    /// `body`: a record without its length.
    pub(crate) fn parse(body: &'a [u8]) -> Result<RawRecord<'a>, RecordError> {
        let mut fields = Fields { bytes: body };
        fields.take(1)?; // attributes, of which none is in use
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let key = fields.nullable_bytes()?;
        let value = fields.nullable_bytes()?;
        let count = fields.varint()?;
        let invalid = || RecordError::InvalidHeaderCount(count);
        let count = usize::try_from(count).ok().filter(|n| *n <= fields.bytes.len()).ok_or_else(invalid)?;
        let headers = Headers { count, bytes: fields.bytes };
        for _ in 0..count {
            fields.header()?;
        }
        if !fields.bytes.is_empty() {
            let actual = body.len() - fields.bytes.len();
            return Err(RecordError::RecordSizeMismatch { declared: body.len(), actual });
        }
        Ok(RawRecord { timestamp_delta, offset_delta, key, value, headers })
    }
}

/// What is left of a record.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordError> {
        let (value, len) = decode_varint(self.bytes).ok_or(RecordError::MalformedVarint)?;
        self.take(len)?;
        Ok(value)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let (value, len) = decode_varlong(self.bytes).ok_or(RecordError::MalformedVarint)?;
        self.take(len)?;
        Ok(value)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let remaining = self.bytes.len();
        let exceeds = || RecordError::FieldExceedsRecord { length: len as i32, remaining };
        let (field, rest) = self.bytes.split_at_checked(len).ok_or_else(exceeds)?;
        self.bytes = rest;
        Ok(field)
    }

    /// Any negative length means null.
    #[inline]
    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn header(&mut self) -> Result<Header<'a>, RecordError> {
        let size = self.varint()?;
        let size = usize::try_from(size).map_err(|_| RecordError::InvalidHeaderKeySize(size))?;
        Ok(Header { key: self.take(size)?, value: self.nullable_bytes()? })
    }
}
