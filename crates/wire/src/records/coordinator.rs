//! Records of the coordinators' topics: the key is an int16 type and the key's fields at version 0, the value an int16
//! version and the value's fields at that version. No value: a tombstone.
//!
//! A type or a value's version that isn't known here is kept as it is, so nothing is lost by reading and writing.

use bytes::Bytes;

use super::schema::*;
use super::versioned::{encode_versioned, prefixed};
use crate::decode::{Decoded, Decoder};
use crate::encode::EncodeError;
use crate::json::{Json, ToJson};
use crate::message::{Message, VersionRange};

/// Every key is written at this version.
const KEY_VERSION: i16 = 0;

/// A value and its version. `None`: the version isn't known.
fn decode_value<V: Message>(bytes: Bytes) -> Decoded<Option<(V, i16)>> {
    let mut d = Decoder::new(bytes);
    let version = d.i16(V::NAME)?;
    if !V::VERSIONS.contains(version) {
        return Ok(None);
    }
    Ok(Some((V::decode(&mut d, version)?, version)))
}

macro_rules! coordinator_records {
    ($(#[$doc:meta])* $name:ident { $($type_id:literal => $variant:ident($key:ident, $value:ident),)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant)]
        pub enum $name {
            $($variant($key, Option<$value>),)*
            /// Of a type, or with a value of a version, that isn't known here.
            Unknown { key: Bytes, value: Option<Bytes> },
        }

        impl $name {
            /// Reads a record, and says at which version its value was written. What is behind the fields is ignored,
            /// as Kafka does.
            pub fn decode(key: Bytes, value: Option<Bytes>) -> Decoded<($name, Option<i16>)> {
                let mut d = Decoder::new(key.clone());
                match d.i16(concat!(stringify!($name), ".type"))? {
                    $($type_id => {
                        let decoded_key = $key::decode(&mut d, KEY_VERSION)?;
                        let Some(bytes) = value else { return Ok(($name::$variant(decoded_key, None), None)) };
                        Ok(match decode_value(bytes.clone())? {
                            Some((value, version)) => ($name::$variant(decoded_key, Some(value)), Some(version)),
                            None => ($name::Unknown { key, value: Some(bytes) }, None),
                        })
                    })*
                    _ => Ok(($name::Unknown { key, value }, None)),
                }
            }

            pub fn encode_key(&self) -> Result<Bytes, EncodeError> {
                match self {
                    $($name::$variant(key, _) => prefixed($type_id, key, KEY_VERSION),)*
                    $name::Unknown { key, .. } => Ok(key.clone()),
                }
            }

            /// `version` doesn't matter for tombstones and unknown records.
            pub fn encode_value(&self, version: i16) -> Result<Option<Bytes>, EncodeError> {
                match self {
                    $($name::$variant(_, value) => {
                        value.as_ref().map(|value| encode_versioned(value, version)).transpose()
                    })*
                    $name::Unknown { value, .. } => Ok(value.clone()),
                }
            }

            /// The number in front of the key. `None`: not known here.
            pub fn type_id(&self) -> Option<i16> {
                match self {
                    $($name::$variant(..) => Some($type_id),)*
                    $name::Unknown { .. } => None,
                }
            }

            /// The key's fields. `None`: not known here.
            pub fn key_to_json(&self) -> Option<Json> {
                match self {
                    $($name::$variant(key, _) => Some(key.to_json(KEY_VERSION)),)*
                    $name::Unknown { .. } => None,
                }
            }

            /// The value's fields, as a version of it has them. `None`: not known here, or a tombstone.
            pub fn value_to_json(&self, version: i16) -> Option<Json> {
                match self {
                    $($name::$variant(_, value) => value.as_ref().map(|value| value.to_json(version)),)*
                    $name::Unknown { .. } => None,
                }
            }

            /// Does a key with this number in front have a schema here?
            pub fn knows(type_id: i16) -> bool {
                matches!(type_id, $($type_id)|*)
            }

            /// Versions that the value can be written at. `None`: not known here.
            pub fn value_versions(&self) -> Option<VersionRange> {
                match self {
                    $($name::$variant(..) => Some($value::VERSIONS),)*
                    $name::Unknown { .. } => None,
                }
            }

            pub fn is_tombstone(&self) -> bool {
                match self {
                    $($name::$variant(_, value) => value.is_none(),)*
                    $name::Unknown { value, .. } => value.is_none(),
                }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/coordinator_records.rs"));
