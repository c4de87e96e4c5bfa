//! Every message and record by name, so that a check can run over all of them.

use std::sync::LazyLock;

use bytes::Bytes;
use ottla_wire::messages::*;
use ottla_wire::records::*;
use ottla_wire::{Decoded, Decoder, EncodeError, Message, VersionRange, for_each_api, for_each_record};

use crate::schema;

pub struct Codec {
    pub name: &'static str,
    pub versions: VersionRange,
    pub flexible_since: Option<i16>,
    /// Reads a message, and writes what it read.
    pub rewrite: fn(Bytes, i16) -> Decoded<Rewritten>,
    /// Reads a message at one version and writes it at another.
    pub convert: fn(Bytes, i16, i16) -> Result<Bytes, EncodeError>,
    /// Writes the message with all fields at their defaults.
    pub default: fn(i16) -> Bytes,
}

pub struct Rewritten {
    /// What was left behind the message.
    pub left: usize,
    pub bytes: Bytes,
    pub encoded_len: usize,
    /// Does what was written read as the same value?
    pub is_same: bool,
}

fn rewrite<M: Message>(bytes: Bytes, version: i16) -> Decoded<Rewritten> {
    let mut d = Decoder::new(bytes);
    let message = M::decode(&mut d, version)?;
    let bytes = message.to_bytes(version).unwrap_or_else(|e| panic!("{} {version}: {e}", M::NAME));
    Ok(Rewritten {
        left: d.remaining(),
        encoded_len: message.encoded_len(version).unwrap(),
        is_same: M::from_bytes(bytes.clone(), version).as_ref() == Ok(&message),
        bytes,
    })
}

fn codec<M: Message>() -> Codec {
    Codec {
        name: M::NAME,
        versions: M::VERSIONS,
        flexible_since: M::FLEXIBLE_SINCE,
        rewrite: rewrite::<M>,
        convert: |bytes, from, to| M::from_bytes(bytes, from).unwrap().to_bytes(to),
        default: |version| M::default().to_bytes(version).unwrap_or_else(|e| panic!("{}: {e}", M::NAME)),
    }
}

macro_rules! api_codecs {
    ($(($key:ident, $request:ident, $response:ident))*) => {
        vec![$(codec::<$request>(), codec::<$response>()),*]
    };
}

macro_rules! record_codecs {
    ($($record:ident)*) => { vec![$(codec::<$record>()),*] };
}

/// Requests and responses with their schemas.
pub fn messages() -> Vec<(Codec, schema::Message)> {
    zip(
        for_each_api!(api_codecs),
        schema::messages(include_str!("../../schema/rpc.tsv"), "message", &["api_key"]),
    )
}

fn records() -> Vec<(Codec, schema::Message)> {
    zip(
        for_each_record!(record_codecs),
        schema::messages(include_str!("../../schema/records.tsv"), "record", &[]),
    )
}

/// Requests, responses and stored records with their schemas.
pub fn all() -> &'static [(Codec, schema::Message)] {
    static ALL: LazyLock<Vec<(Codec, schema::Message)>> =
        LazyLock::new(|| messages().into_iter().chain(records()).collect());
    &ALL
}

fn zip(codecs: Vec<Codec>, schemas: Vec<schema::Message>) -> Vec<(Codec, schema::Message)> {
    assert_eq!(codecs.len(), schemas.len());
    let find =
        |name: &str| schemas.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}")).clone();
    codecs.into_iter().map(|codec| (find(codec.name), codec)).map(|(schema, codec)| (codec, schema)).collect()
}
