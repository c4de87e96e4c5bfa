//! Reading: a [`Decoder`] walks over one frame and hands out values.
//!
//! What always holds: nothing here panics, whatever the bytes are. A length is compared with what is left of the
//! frame before anything is allocated for it, and all that one decoder allocates stays within its memory budget.
//! `bytes` and `records` are slices of the frame, which they keep alive; nothing else is shared with it.

use bytes::Bytes;
use ottla_types::Uuid;
use thiserror::Error;

use crate::message::Element;
use crate::tagged::{RawTaggedField, TaggedFields};

/// Why bytes are not the message that they should be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field} at byte {position}: {kind}")]
pub struct DecodeError {
    pub kind: DecodeErrorKind,
    /// Message and path of the field, such as `ProduceRequest.TopicData[].Name`.
    pub field: &'static str,
    /// Offset in the frame behind what had been read when it went wrong.
    pub position: usize,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeErrorKind {
    #[error("{needed} bytes are needed, {left} are left")]
    Underflow { needed: usize, left: usize },
    #[error("a length of {length} can't be")]
    InvalidLength { length: i64 },
    #[error("{count} elements can't be in {left} bytes")]
    TooManyElements { count: usize, left: usize },
    #[error("the message would need more memory than its size allows")]
    OverBudget,
    #[error("null where the version has no null")]
    UnexpectedNull,
    #[error("no UTF-8")]
    InvalidUtf8,
    #[error("a varint is too long")]
    InvalidVarint,
    #[error("a tagged field's value is {read} bytes, but {size} are announced")]
    TagSizeMismatch { size: usize, read: usize },
    #[error("{left} bytes are left over")]
    TrailingBytes { left: usize },
    #[error("version {version} is not one of the schema's")]
    UnsupportedVersion { version: i32 },
    #[error("API key {key} is unknown")]
    UnknownApiKey { key: i16 },
}

/// What every decoding function returns.
pub type Decoded<T> = Result<T, DecodeError>;

/// Memory that a frame may be blown up to: bytes a byte of the frame, and bytes on top.
const BUDGET_PER_BYTE: usize = 16;
const BUDGET_BASE: usize = 1 << 20;
/// A larger frame gets no more than this for what is not `bytes` or `records`, or its own size if that is more.
const BUDGET_MAX: usize = 256 << 20;

/// Strings are this long at most, in bytes, with compact lengths too.
pub(crate) const STRING_LEN_MAX: usize = i16::MAX as usize;

/// A position in a frame. The `field` that its functions take is what their errors name.
#[derive(Clone, Debug)]
pub struct Decoder {
    frame: Bytes,
    position: usize,
    /// Where reading ends: the frame's end or, within a tagged field, that one's. Never behind the frame's end.
    end: usize,
    /// Bytes that may still be allocated.
    budget: usize,
}

macro_rules! fixed {
    ($($name:ident -> $ty:ty),*) => {$(
        #[inline]
        pub fn $name(&mut self, field: &'static str) -> Decoded<$ty> {
            Ok(<$ty>::from_be_bytes(self.take(field)?))
        }
    )*};
}

impl Decoder {
    /// May allocate 16 times the frame's size, plus one MiB; of a large frame 256 MiB, or its size.
    pub fn new(frame: Bytes) -> Decoder {
        let scaled = frame.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_BASE);
        let budget = scaled.min(BUDGET_MAX.max(frame.len()));
        Decoder::with_budget(frame, budget)
    }

    /// May allocate `budget` bytes for what it decodes.
    pub fn with_budget(frame: Bytes, budget: usize) -> Decoder {
        Decoder { position: 0, end: frame.len(), frame, budget }
    }

    /// From here on, no more than `bytes` may be allocated.
    pub fn limit_budget(&mut self, bytes: usize) {
        self.budget = self.budget.min(bytes);
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// All that is left, as a slice of the frame.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.position..self.end);
        self.position = self.end;
        rest
    }

    /// An error if anything is left.
    pub fn finish(&self, field: &'static str) -> Decoded<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(field, DecodeErrorKind::TrailingBytes { left })),
        }
    }

    #[cold]
    pub(crate) fn error(&self, field: &'static str, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, field, position: self.position }
    }

    #[cold]
    fn underflow(&self, field: &'static str, needed: usize) -> DecodeError {
        self.error(field, DecodeErrorKind::Underflow { needed, left: self.remaining() })
    }

    #[inline]
    fn take<const N: usize>(&mut self, field: &'static str) -> Decoded<[u8; N]> {
        match self.frame.get(self.position..self.end).and_then(|left| left.first_chunk::<N>()) {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(self.underflow(field, N)),
        }
    }

    fn take_slice(&mut self, length: usize, field: &'static str) -> Decoded<&[u8]> {
        let left = self.remaining();
        if length > left {
            return Err(self.underflow(field, length));
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.get(start..start + length).unwrap_or_default())
    }

    /// The next `length` bytes as a slice of the frame.
    pub fn slice(&mut self, length: usize, field: &'static str) -> Decoded<Bytes> {
        if length > self.remaining() {
            return Err(self.underflow(field, length));
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    fn charge(&mut self, bytes: usize, field: &'static str) -> Decoded<()> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(self.error(field, DecodeErrorKind::OverBudget)),
        }
    }

    fixed!(i8 -> i8, i16 -> i16, u16 -> u16, i32 -> i32, u32 -> u32, i64 -> i64, f64 -> f64);

    /// Anything but 0 is true.
    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Decoded<bool> {
        Ok(self.i8(field)? != 0)
    }

    #[inline]
    pub fn uuid(&mut self, field: &'static str) -> Decoded<Uuid> {
        Ok(Uuid(self.take(field)?))
    }

    /// An unsigned varint of at most five bytes.
    #[inline]
    pub fn uvarint(&mut self, field: &'static str) -> Decoded<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take(field)?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(field, DecodeErrorKind::InvalidVarint))
    }

    /// A zigzag varint of at most five bytes.
    pub fn varint(&mut self, field: &'static str) -> Decoded<i32> {
        let raw = self.uvarint(field)?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// An unsigned varint of at most ten bytes.
    pub fn uvarlong(&mut self, field: &'static str) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.take(field)?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(field, DecodeErrorKind::InvalidVarint))
    }

    /// A zigzag varint of at most ten bytes.
    pub fn varlong(&mut self, field: &'static str) -> Decoded<i64> {
        let raw = self.uvarlong(field)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A compact length: one more than the length, 0 for null.
    #[inline]
    fn compact_len(&mut self, field: &'static str) -> Decoded<Option<usize>> {
        Ok(self.uvarint(field)?.checked_sub(1).map(|length| length as usize))
    }

    /// A length as a signed number, -1 for null.
    #[inline]
    fn signed_len(&mut self, length: i64, field: &'static str) -> Decoded<Option<usize>> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(field, DecodeErrorKind::InvalidLength { length })),
        }
    }

    /// A value that may not be null.
    #[inline]
    pub fn non_null<T>(&mut self, value: Option<T>, field: &'static str) -> Decoded<T> {
        value.ok_or_else(|| self.error(field, DecodeErrorKind::UnexpectedNull))
    }

    /// A null that not every version allows.
    #[inline]
    pub fn null_if<T>(&mut self, allowed: bool, value: Option<T>, field: &'static str) -> Decoded<Option<T>> {
        if value.is_none() && !allowed {
            return Err(self.error(field, DecodeErrorKind::UnexpectedNull));
        }
        Ok(value)
    }

    /// `flexible`: with a compact length instead of an int16.
    pub fn nullable_string(&mut self, flexible: bool, field: &'static str) -> Decoded<Option<String>> {
        let length = if flexible {
            self.compact_len(field)?
        } else {
            let length = self.i16(field)?;
            self.signed_len(length.into(), field)?
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_LEN_MAX {
            return Err(self.error(field, DecodeErrorKind::InvalidLength { length: length as i64 }));
        }
        self.charge(length, field)?;
        let bytes = self.take_slice(length, field)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(self.error(field, DecodeErrorKind::InvalidUtf8)),
        }
    }

    pub fn string(&mut self, flexible: bool, field: &'static str) -> Decoded<String> {
        let value = self.nullable_string(flexible, field)?;
        self.non_null(value, field)
    }

    /// `flexible`: with a compact length instead of an int32.
    pub fn nullable_bytes(&mut self, flexible: bool, field: &'static str) -> Decoded<Option<Bytes>> {
        match self.array_header(flexible, field)? {
            Some(length) => Ok(Some(self.slice(length, field)?)),
            None => Ok(None),
        }
    }

    pub fn bytes(&mut self, flexible: bool, field: &'static str) -> Decoded<Bytes> {
        let value = self.nullable_bytes(flexible, field)?;
        self.non_null(value, field)
    }

    /// The length of an array or of bytes, not checked against anything.
    fn array_header(&mut self, flexible: bool, field: &'static str) -> Decoded<Option<usize>> {
        if flexible {
            self.compact_len(field)
        } else {
            let length = self.i32(field)?;
            self.signed_len(length.into(), field)
        }
    }

    /// An array's length, bounded by what its elements need on the wire and in memory.
    fn array_len(
        &mut self,
        flexible: bool,
        wire_len_min: usize,
        memory: usize,
        field: &'static str,
    ) -> Decoded<Option<usize>> {
        let Some(count) = self.array_header(flexible, field)? else { return Ok(None) };
        let left = self.remaining();
        if count > left / wire_len_min.max(1) {
            return Err(self.error(field, DecodeErrorKind::TooManyElements { count, left }));
        }
        self.charge(count.saturating_mul(memory), field)?;
        Ok(Some(count))
    }

    /// `flexible`: with a compact length instead of an int32.
    pub fn nullable_array<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Decoded<Option<Vec<T>>> {
        let Some(count) = self.array_len(flexible, T::WIRE_LEN_MIN, size_of::<T>(), field)? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self, version, flexible, field)?);
        }
        Ok(Some(elements))
    }

    pub fn array<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Decoded<Vec<T>> {
        let value = self.nullable_array(version, flexible, field)?;
        self.non_null(value, field)
    }

    /// A struct behind a byte that is negative for null.
    pub fn nullable_struct<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        field: &'static str,
    ) -> Decoded<Option<T>> {
        if self.i8(field)? < 0 { Ok(None) } else { T::read(self, version, flexible, field).map(Some) }
    }

    /// A struct that is a tagged field: behind a varint that is 0 for null.
    pub fn tagged_nullable_struct<T: Element>(
        &mut self,
        version: i16,
        field: &'static str,
    ) -> Decoded<Option<T>> {
        if self.uvarint(field)? == 0 { Ok(None) } else { T::read(self, version, true, field).map(Some) }
    }

    /// The tagged fields of a struct that knows none.
    #[inline]
    pub fn unknown_tags(&mut self, flexible: bool, field: &'static str) -> Decoded<TaggedFields> {
        let mut unknown = TaggedFields::default();
        if flexible {
            for _ in 0..self.tag_count(field)? {
                let tag = self.tag(field)?;
                self.unknown_tag(&tag, &mut unknown, field)?;
            }
        }
        Ok(unknown)
    }

    #[inline]
    pub(crate) fn tag_count(&mut self, field: &'static str) -> Decoded<u32> {
        let count = self.uvarint(field)?;
        let left = self.remaining();
        // Tag and size take a byte each.
        if count as usize > left / 2 {
            return Err(self.error(field, DecodeErrorKind::TooManyElements { count: count as usize, left }));
        }
        Ok(count)
    }

    /// Enters a tagged field: until [`Decoder::end_tag`], nothing behind its value can be read.
    pub(crate) fn tag(&mut self, field: &'static str) -> Decoded<Tag> {
        let tag = self.uvarint(field)?;
        let size = self.uvarint(field)? as usize;
        if size > self.remaining() {
            return Err(self.underflow(field, size));
        }
        let outer_end = self.end;
        self.end = self.position + size;
        Ok(Tag { tag, size, outer_end })
    }

    pub(crate) fn end_tag(&mut self, tag: &Tag, field: &'static str) -> Decoded<()> {
        match self.remaining() {
            0 => {
                self.end = tag.outer_end;
                Ok(())
            }
            left => {
                Err(self
                    .error(field, DecodeErrorKind::TagSizeMismatch { size: tag.size, read: tag.size - left }))
            }
        }
    }

    /// Keeps the value of a tagged field that nobody here knows, and leaves the field.
    pub(crate) fn unknown_tag(
        &mut self,
        tag: &Tag,
        unknown: &mut TaggedFields,
        field: &'static str,
    ) -> Decoded<()> {
        self.charge(size_of::<RawTaggedField>() * 2, field)?;
        unknown.push(tag.tag, self.rest());
        self.end_tag(tag, field)
    }
}

/// A tagged field that is being read.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) tag: u32,
    size: usize,
    outer_end: usize,
}
