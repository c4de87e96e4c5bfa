//! Records of the metadata log: a value without a key, which is a frame version, the record's type and its version as
//! unsigned varints, then the fields.
//!
//! A type or a version that isn't known here is kept as it is, so nothing is lost by reading and writing.

use bytes::{Bytes, BytesMut};

use super::schema::*;
use crate::decode::{DecodeErrorKind, Decoded, Decoder};
use crate::encode::{EncodeError, Encoder};
use crate::json::{Json, ToJson};
use crate::message::{Message, VersionRange};

const FRAME_VERSION: u32 = 1;

/// Frame version, type and version take this much at most.
const HEADER_LEN_MAX: usize = 15;

fn write_header(e: &mut Encoder, type_id: u16, version: u16) {
    e.uvarint(FRAME_VERSION);
    e.uvarint(type_id.into());
    e.uvarint(version.into());
}

fn encode_record<M: Message>(type_id: u16, record: &M, version: i16) -> Result<Bytes, EncodeError> {
    let len_max = HEADER_LEN_MAX + record.encoded_len(version)?;
    let mut e = Encoder::appending_to(BytesMut::with_capacity(len_max));
    write_header(&mut e, type_id, version.unsigned_abs());
    record.encode(&mut e, version)?;
    Ok(e.into_parts().0.freeze())
}

/// `None`: the version isn't known.
fn decode_record<M: Message>(d: &mut Decoder, version: i16) -> Decoded<Option<M>> {
    if !M::VERSIONS.contains(version) {
        return Ok(None);
    }
    let record = M::decode(d, version)?;
    d.finish(M::NAME)?;
    Ok(Some(record))
}

/// A number that Kafka keeps in 16 bits although its varint could be longer.
fn short(d: &mut Decoder, field: &'static str) -> Decoded<i16> {
    let number = d.uvarint(field)?;
    i16::try_from(number)
        .map_err(|_| d.error(field, DecodeErrorKind::UnsupportedVersion { version: number as i32 }))
}

macro_rules! metadata_records {
    ($($type_id:literal => $variant:ident($record:ident),)*) => {
        /// A record of `__cluster_metadata`.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant)]
        pub enum MetadataRecord {
            $($variant($record),)*
            /// Of a type or a version that isn't known here: `bytes` are the fields.
            Unknown { type_id: u16, version: u16, bytes: Bytes },
        }

        impl MetadataRecord {
            /// Reads a record and the version that it was written at.
            pub fn decode(value: Bytes) -> Decoded<(MetadataRecord, i16)> {
                let mut d = Decoder::new(value);
                let frame_version = d.uvarint("MetadataRecord.frame_version")?;
                if frame_version != FRAME_VERSION {
                    let kind = DecodeErrorKind::UnsupportedVersion { version: frame_version as i32 };
                    return Err(d.error("MetadataRecord.frame_version", kind));
                }
                let type_id = short(&mut d, "MetadataRecord.type")?;
                let version = short(&mut d, "MetadataRecord.version")?;
                let known = match type_id {
                    $($type_id => decode_record(&mut d, version)?.map(MetadataRecord::$variant),)*
                    _ => None,
                };
                let record = known.unwrap_or_else(|| MetadataRecord::Unknown {
                    type_id: type_id.unsigned_abs(),
                    version: version.unsigned_abs(),
                    bytes: d.rest(),
                });
                Ok((record, version))
            }

            /// `version` doesn't matter for unknown records, which keep their own.
            pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
                match self {
                    $(MetadataRecord::$variant(record) => encode_record($type_id, record, version),)*
                    MetadataRecord::Unknown { type_id, version, bytes } => {
                        let mut e = Encoder::with_capacity(HEADER_LEN_MAX + bytes.len());
                        write_header(&mut e, *type_id, *version);
                        e.put(bytes);
                        Ok(e.into_parts().0.freeze())
                    }
                }
            }

            pub fn type_id(&self) -> u16 {
                match self {
                    $(MetadataRecord::$variant(_) => $type_id,)*
                    MetadataRecord::Unknown { type_id, .. } => *type_id,
                }
            }

            /// Kafka's name, such as `TopicRecord`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(MetadataRecord::$variant(_) => $record::NAME,)*
                    MetadataRecord::Unknown { .. } => "an unknown record",
                }
            }

            /// Its fields, as a version of it has them. `None`: not known here.
            pub fn to_json(&self, version: i16) -> Option<Json> {
                match self {
                    $(MetadataRecord::$variant(record) => Some(record.to_json(version)),)*
                    MetadataRecord::Unknown { .. } => None,
                }
            }

            /// Versions that it can be written at. `None`: not known here.
            pub fn versions(&self) -> Option<VersionRange> {
                match self {
                    $(MetadataRecord::$variant(_) => Some($record::VERSIONS),)*
                    MetadataRecord::Unknown { .. } => None,
                }
            }
        }

        $(impl From<$record> for MetadataRecord {
            fn from(record: $record) -> MetadataRecord {
                MetadataRecord::$variant(record)
            }
        })*
    };
}

include!(concat!(env!("OUT_DIR"), "/metadata_records.rs"));
