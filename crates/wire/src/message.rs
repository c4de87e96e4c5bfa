//! What all generated types have in common.

use std::fmt;

use bytes::{Bytes, BytesMut};
use ottla_types::Uuid;

use crate::api::ApiKey;
use crate::decode::{DecodeErrorKind, Decoded, Decoder};
use crate::encode::{EncodeError, Encoded, Encoder};

/// Versions from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

impl VersionRange {
    pub const fn new(min: i16, max: i16) -> VersionRange {
        VersionRange { min, max }
    }

    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    pub fn iter(self) -> std::ops::RangeInclusive<i16> {
        self.min..=self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// A value that can be an array's element: numbers, strings, uuids and structs.
pub trait Element: Sized {
    /// No version needs less than this on the wire, in bytes.
    const WIRE_LEN_MIN: usize;

    /// `flexible`: with compact lengths and tagged fields.
    fn read(d: &mut Decoder, version: i16, flexible: bool, field: &'static str) -> Decoded<Self>;
    fn write(&self, e: &mut Encoder, version: i16, flexible: bool, field: &'static str) -> Encoded;
}

macro_rules! fixed {
    ($($name:ident: $ty:ty),*) => {$(
        impl Element for $ty {
            const WIRE_LEN_MIN: usize = size_of::<$ty>();

            #[inline]
            fn read(d: &mut Decoder, _: i16, _: bool, field: &'static str) -> Decoded<$ty> {
                d.$name(field)
            }

            #[inline]
            fn write(&self, e: &mut Encoder, _: i16, _: bool, _: &'static str) -> Encoded {
                e.$name(*self);
                Ok(())
            }
        }
    )*};
}

fixed!(i8: i8, i16: i16, i32: i32, i64: i64, uuid: Uuid);

impl Element for String {
    const WIRE_LEN_MIN: usize = 1;

    fn read(d: &mut Decoder, _: i16, flexible: bool, field: &'static str) -> Decoded<String> {
        d.string(flexible, field)
    }

    fn write(&self, e: &mut Encoder, _: i16, flexible: bool, field: &'static str) -> Encoded {
        e.string(flexible, self, field)
    }
}

/// A whole message or stored record.
pub trait Message: Element + Clone + Default + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// Kafka's name, such as `ProduceRequest`.
    const NAME: &'static str;
    /// Versions that it can be read and written in.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE_SINCE: Option<i16>;

    /// Does the version have compact lengths and tagged fields?
    #[inline]
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE_SINCE.is_some_and(|since| version >= since)
    }

    /// Bytes that [`Message::encode`] will write, with records outside memory.
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let mut counter = Encoder::counting();
        self.encode(&mut counter, version)?;
        Ok(counter.len())
    }

    /// Fails when the version can't carry a field that isn't at its default, unless the schema says that the field may
    /// be left out then. A failed encoder holds half a message.
    fn encode(&self, e: &mut Encoder, version: i16) -> Encoded {
        if !Self::VERSIONS.contains(version) {
            return Err(Encoder::unsupported(version, Self::NAME));
        }
        self.write(e, version, Self::is_flexible(version), Self::NAME)
    }

    /// Leaves what is behind the message unread: see [`Decoder::finish`].
    fn decode(d: &mut Decoder, version: i16) -> Decoded<Self> {
        if !Self::VERSIONS.contains(version) {
            return Err(d.error(Self::NAME, DecodeErrorKind::UnsupportedVersion { version: version.into() }));
        }
        Self::read(d, version, Self::is_flexible(version), Self::NAME)
    }

    /// The message alone in a buffer of its own. For those without records outside memory.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut e = Encoder::appending_to(BytesMut::with_capacity(self.encoded_len(version)?));
        self.encode(&mut e, version)?;
        Ok(e.into_parts().0.freeze())
    }

    /// The message that these bytes are, all of them.
    fn from_bytes(bytes: Bytes, version: i16) -> Decoded<Self> {
        let mut d = Decoder::new(bytes);
        let message = Self::decode(&mut d, version)?;
        d.finish(Self::NAME)?;
        Ok(message)
    }
}

/// A request's body.
pub trait Request: Message {
    type Response: Response;
    const API_KEY: ApiKey;

    /// 2 with tagged fields, else 1.
    fn header_version(version: i16) -> i16 {
        if Self::is_flexible(version) { 2 } else { 1 }
    }
}

/// A response's body.
pub trait Response: Message {
    const API_KEY: ApiKey;

    /// 1 with tagged fields, else 0; always 0 for ApiVersions, whose sender doesn't know yet what the other side
    /// understands (KIP-511).
    fn header_version(version: i16) -> i16 {
        if Self::is_flexible(version) && Self::API_KEY != ApiKey::ApiVersions { 1 } else { 0 }
    }
}
