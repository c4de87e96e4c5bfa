//! Writing: an [`Encoder`] appends values to a buffer, or only counts them.
//!
//! What always holds: counting and writing run through the same code, so a size that was counted is the size that is
//! written. Bytes outside memory ([`Records::External`](crate::Records)) are counted in every length around them, and
//! appear in the buffer as a [`Splice`]: the place where the sender puts them.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_types::Uuid;
use thiserror::Error;

use crate::decode::STRING_LEN_MAX;
use crate::message::Element;
use crate::records_field::Records;
use crate::tagged::TaggedFields;

/// Why a value can't be written in the version that was asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field} in version {version}: {kind}")]
pub struct EncodeError {
    pub kind: EncodeErrorKind,
    /// Message and path of the field, such as `ProduceRequest.TopicData[].Name`.
    pub field: &'static str,
    pub version: i16,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeErrorKind {
    #[error("the version is not one of the schema's")]
    UnsupportedVersion,
    #[error("the version has no such field, and its value can't be left out")]
    NotInVersion,
    #[error("the version has no null here")]
    UnexpectedNull,
    #[error("{length} are too long")]
    TooLong { length: usize },
}

/// What every encoding function returns.
pub type Encoded = Result<(), EncodeError>;

/// A place in an encoded frame where bytes belong that were not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Offset in the encoder's buffer before which the bytes go. Splices are in ascending order.
    pub position: usize,
    /// Number of bytes that go there.
    pub len: u32,
    /// What the caller knows them by.
    pub token: u64,
}

/// A buffer that is being written. Without one it counts.
#[derive(Debug, Default)]
pub struct Encoder {
    /// `None` to count only.
    buffer: Option<BytesMut>,
    splices: Vec<Splice>,
    /// Bytes written or counted, spliced ones included.
    len: usize,
    /// Those of them that are outside memory, or in pieces of their own.
    external: usize,
    /// `Some`: large records of requests become pieces instead of being copied, each with its place in the buffer.
    pieces: Option<Vec<(usize, Bytes)>>,
}

/// Shorter ones are cheaper to copy than to send as a piece of their own.
const PIECE_BYTES_MIN: usize = 512;

macro_rules! fixed {
    ($($name:ident($ty:ty)),*) => {$(
        #[inline]
        pub fn $name(&mut self, value: $ty) {
            self.put(&value.to_be_bytes());
        }
    )*};
}

impl Encoder {
    /// Only counts what would be written.
    pub fn counting() -> Encoder {
        Encoder::default()
    }

    /// Appends to `buffer`; positions of splices count from its start.
    pub fn appending_to(buffer: BytesMut) -> Encoder {
        Encoder { len: buffer.len(), buffer: Some(buffer), ..Encoder::default() }
    }

    pub fn with_capacity(bytes: usize) -> Encoder {
        Encoder::appending_to(BytesMut::with_capacity(bytes))
    }

    /// From now on, large records of requests are not copied: see [`Encoder::into_pieces`].
    #[must_use]
    pub(crate) fn in_pieces(self) -> Encoder {
        Encoder { pieces: Some(Vec::new()), ..self }
    }

    /// What was written, in the order in which it is sent.
    pub(crate) fn into_pieces(self) -> Vec<Bytes> {
        let mut rest = self.buffer.unwrap_or_default().freeze();
        let records = self.pieces.unwrap_or_default();
        let mut pieces = Vec::with_capacity(2 * records.len() + 1);
        let mut position = 0;
        for (place, bytes) in records {
            if place > position {
                pieces.push(rest.split_to((place - position).min(rest.len())));
                position = place;
            }
            pieces.push(bytes);
        }
        if !rest.is_empty() {
            pieces.push(rest);
        }
        pieces
    }

    /// Bytes written or counted so far, with the spliced ones that are not in the buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes written or counted so far that are in the buffer, or would be.
    pub fn len_in_memory(&self) -> usize {
        self.len - self.external
    }

    /// What was written, and where bytes from outside belong in it.
    pub fn into_parts(self) -> (BytesMut, Vec<Splice>) {
        (self.buffer.unwrap_or_default(), self.splices)
    }

    #[cold]
    fn error(kind: EncodeErrorKind, version: i16, field: &'static str) -> EncodeError {
        EncodeError { kind, field, version }
    }

    /// Bytes as they are, without a length.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(buffer) = &mut self.buffer {
            buffer.put_slice(bytes);
        }
    }

    fixed!(i8(i8), i16(i16), u16(u16), i32(i32), u32(u32), i64(i64), f64(f64));

    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.put(&[value.into()]);
    }

    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.put(&value.0);
    }

    #[inline]
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }

    /// Zigzag.
    pub fn varint(&mut self, value: i32) {
        self.uvarint((value << 1 ^ value >> 31) as u32);
    }

    pub fn uvarlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }

    /// Zigzag.
    pub fn varlong(&mut self, value: i64) {
        self.uvarlong((value << 1 ^ value >> 63) as u64);
    }

    /// A value that not every version can carry is there although this version can't.
    #[inline]
    pub fn absent(is_default: bool, version: i16, field: &'static str) -> Encoded {
        if is_default { Ok(()) } else { Err(Encoder::error(EncodeErrorKind::NotInVersion, version, field)) }
    }

    /// A null that not every version allows.
    #[inline]
    pub fn null_if(allowed: bool, is_null: bool, version: i16, field: &'static str) -> Encoded {
        if is_null && !allowed {
            return Err(Encoder::error(EncodeErrorKind::UnexpectedNull, version, field));
        }
        Ok(())
    }

    pub(crate) fn unsupported(version: i16, message: &'static str) -> EncodeError {
        Encoder::error(EncodeErrorKind::UnsupportedVersion, version, message)
    }

    /// The length of an array or of bytes; `None` is null.
    fn length(&mut self, flexible: bool, length: Option<usize>, field: &'static str) -> Encoded {
        let Ok(signed) = length.map_or(Ok(-1), i32::try_from) else {
            let length = length.unwrap_or_default();
            return Err(Encoder::error(EncodeErrorKind::TooLong { length }, -1, field));
        };
        if flexible {
            self.uvarint((signed + 1) as u32)
        } else {
            self.i32(signed)
        }
        Ok(())
    }

    /// `flexible`: with a compact length instead of an int16.
    pub fn nullable_string(&mut self, flexible: bool, value: Option<&str>, field: &'static str) -> Encoded {
        match value {
            Some(value) => return self.string(flexible, value, field),
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// `flexible`: with a compact length instead of an int16.
    pub fn string(&mut self, flexible: bool, value: &str, field: &'static str) -> Encoded {
        let length = value.len();
        if length > STRING_LEN_MAX {
            return Err(Encoder::error(EncodeErrorKind::TooLong { length }, -1, field));
        }
        if flexible {
            self.uvarint(length as u32 + 1)
        } else {
            self.i16(length as i16)
        }
        self.put(value.as_bytes());
        Ok(())
    }

    /// `flexible`: with a compact length instead of an int32.
    pub fn nullable_bytes(&mut self, flexible: bool, value: Option<&[u8]>, field: &'static str) -> Encoded {
        self.length(flexible, value.map(<[u8]>::len), field)?;
        self.put(value.unwrap_or_default());
        Ok(())
    }

    /// `flexible`: with a compact length instead of an int32.
    pub fn bytes(&mut self, flexible: bool, value: &Bytes, field: &'static str) -> Encoded {
        self.nullable_bytes(flexible, Some(value), field)
    }

    /// Records of a request: copied, or kept as a piece of their own.
    pub(crate) fn request_records(
        &mut self,
        flexible: bool,
        value: Option<&Bytes>,
        field: &'static str,
    ) -> Encoded {
        let Some(bytes) = value.filter(|bytes| self.pieces.is_some() && bytes.len() >= PIECE_BYTES_MIN)
        else {
            return self.nullable_bytes(flexible, value.map(AsRef::as_ref), field);
        };
        self.length(flexible, Some(bytes.len()), field)?;
        if let (Some(buffer), Some(pieces)) = (&self.buffer, &mut self.pieces) {
            pieces.push((buffer.len(), bytes.clone()));
        }
        self.len += bytes.len();
        self.external += bytes.len();
        Ok(())
    }

    /// Bytes in memory are copied, those outside are counted and become a [`Splice`].
    pub fn records(&mut self, flexible: bool, value: &Records, field: &'static str) -> Encoded {
        match *value {
            Records::Null => self.length(flexible, None, field),
            Records::Bytes(ref bytes) => self.bytes(flexible, bytes, field),
            Records::External { len, token } => {
                self.length(flexible, Some(len as usize), field)?;
                if let Some(buffer) = &self.buffer {
                    self.splices.push(Splice { position: buffer.len(), len, token });
                }
                self.len += len as usize;
                self.external += len as usize;
                Ok(())
            }
        }
    }

    /// `flexible`: with a compact length instead of an int32.
    pub fn nullable_array<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        elements: Option<&[T]>,
        field: &'static str,
    ) -> Encoded {
        self.length(flexible, elements.map(<[T]>::len), field)?;
        for element in elements.unwrap_or_default() {
            element.write(self, version, flexible, field)?;
        }
        Ok(())
    }

    pub fn array<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        elements: &[T],
        field: &'static str,
    ) -> Encoded {
        self.nullable_array(version, flexible, Some(elements), field)
    }

    /// A struct behind a byte: -1 for null, 1 for a value.
    pub fn nullable_struct<T: Element>(
        &mut self,
        version: i16,
        flexible: bool,
        value: Option<&T>,
        field: &'static str,
    ) -> Encoded {
        match value {
            Some(value) => {
                self.i8(1);
                value.write(self, version, flexible, field)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// A struct that is a tagged field: behind a varint, 0 for null, 1 for a value.
    pub fn tagged_nullable_struct<T: Element>(
        &mut self,
        version: i16,
        value: Option<&T>,
        field: &'static str,
    ) -> Encoded {
        self.uvarint(value.is_some().into());
        value.map_or(Ok(()), |value| value.write(self, version, true, field))
    }

    /// A tagged field: its tag, its size, and what `write` writes.
    pub(crate) fn tag(&mut self, tag: u32, write: impl Fn(&mut Encoder) -> Encoded) -> Encoded {
        let mut counter = Encoder::counting();
        write(&mut counter)?;
        self.uvarint(tag);
        self.uvarint(counter.len as u32);
        write(self)
    }

    /// Tagged fields as they were read, without their count.
    pub(crate) fn unknown_tags(&mut self, fields: &TaggedFields) {
        for field in fields.iter() {
            self.uvarint(field.tag);
            self.uvarint(field.data.len() as u32);
            self.put(&field.data);
        }
    }
}
