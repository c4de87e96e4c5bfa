//! What keys and values are made of.

use std::borrow::Cow;

use bytes::Bytes;
use ottla_record::Record;
use ottla_wire::records::{
    ConsumerOffsetsRecord, ConsumerProtocolAssignment, ConsumerProtocolSubscription, MetadataRecord,
    ShareGroupStateRecord, TransactionStateRecord, decode_versioned,
};
use ottla_wire::{Json, Message, ToJson};

use super::remote;
use crate::coordinator_records::{CoordinatorRecord, Parts, Unreadable};
use crate::flags::{Parsed, former_class};
use crate::java;
use crate::tool::{Failure, said};

/// A record's key and value as they are printed; `None` prints nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) key: Option<String>,
    pub(super) payload: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Values { key: Primitive, value: Primitive },
    Offsets,
    Transactions,
    ClusterMetadata,
    RemoteLogMetadata,
    ShareGroupState,
}

/// What one of the classes in `org.apache.kafka.tools.api` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Primitive {
    Text,
    Integer,
    Long,
    Bytes,
}

const DECODERS: &str = "org.apache.kafka.tools.api.";

impl Primitive {
    fn of_class(name: &str) -> Result<Primitive, Failure> {
        match name.strip_prefix(DECODERS).unwrap_or(name) {
            "StringDecoder" => Ok(Primitive::Text),
            "IntegerDecoder" => Ok(Primitive::Integer),
            "LongDecoder" => Ok(Primitive::Long),
            "DefaultDecoder" => Ok(Primitive::Bytes),
            _ => {
                let word = former_class(name).map_or_else(
                    || {
                        format!(
                            "there are {DECODERS}StringDecoder, IntegerDecoder, LongDecoder and DefaultDecoder; others would need a JVM"
                        )
                    },
                    str::to_owned,
                );
                Err(said(format_args!("Failed to load decoder class {name}: {word}")))
            }
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<String, Failure> {
        let wrong = |what: &str| said(format_args!("{} bytes are no {what}", bytes.len()));
        Ok(match self {
            Primitive::Text => String::from_utf8_lossy(bytes).into_owned(),
            Primitive::Integer => match bytes.first_chunk() {
                Some(number) => i32::from_be_bytes(*number).to_string(),
                None => return Err(wrong("int of 4 bytes")),
            },
            Primitive::Long => match bytes.first_chunk() {
                Some(number) => i64::from_be_bytes(*number).to_string(),
                None => return Err(wrong("long of 8 bytes")),
            },
            Primitive::Bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl Decoder {
    /// The first of these that was asked for.
    pub(super) fn chosen(parsed: &Parsed) -> Result<Decoder, Failure> {
        let special = [
            ("--offsets-decoder", Decoder::Offsets),
            ("--transaction-log-decoder", Decoder::Transactions),
            ("--cluster-metadata-decoder", Decoder::ClusterMetadata),
            ("--remote-log-metadata-decoder", Decoder::RemoteLogMetadata),
            ("--share-group-state-decoder", Decoder::ShareGroupState),
        ];
        if let Some((_, decoder)) = special.into_iter().find(|(flag, _)| parsed.has(flag)) {
            return Ok(decoder);
        }
        let class = |flag| Primitive::of_class(parsed.value(flag).unwrap_or_default());
        Ok(Decoder::Values { key: class("--key-decoder-class")?, value: class("--value-decoder-class")? })
    }

    pub(super) fn decode(&self, record: &Record<'_>) -> Result<Shown, Failure> {
        let (key, value) = (record.key, record.value);
        match self {
            Decoder::Values { key: key_is, value: value_is } => Ok(Shown {
                key: key.map(|bytes| key_is.decode(bytes)).transpose()?,
                payload: value.map(|bytes| value_is.decode(bytes)).transpose()?,
            }),
            Decoder::Offsets => coordinator::<ConsumerOffsetsRecord>(record, refine_group),
            Decoder::Transactions => coordinator::<TransactionStateRecord>(record, |_, _| {}),
            Decoder::ShareGroupState => coordinator::<ShareGroupStateRecord>(record, |_, _| {}),
            Decoder::ClusterMetadata => {
                Ok(Shown { key: None, payload: Some(cluster_metadata(record, value.unwrap_or_default())) })
            }
            Decoder::RemoteLogMetadata => {
                let offset = record.offset;
                let payload = remote::shown(value.unwrap_or_default())
                    .unwrap_or_else(|error| format!("Error at offset {offset}, skipping. {error}"));
                Ok(Shown { key: None, payload: Some(payload) })
            }
        }
    }
}

fn cluster_metadata(record: &Record<'_>, value: &[u8]) -> String {
    let skipped = |why: Cow<'_, str>| format!("Error at {}, skipping. {why}", record.offset);
    match MetadataRecord::decode(Bytes::copy_from_slice(value)) {
        Ok((decoded, version)) => match decoded.to_json(version) {
            Some(data) => Json::Object(vec![
                ("type", Json::Text(java::constant_name(decoded.name()))),
                ("version", Json::Int(version.into())),
                ("data", data),
            ])
            .to_string(),
            None => skipped(format!("Unknown metadata id {}", decoded.type_id()).into()),
        },
        Err(error) => skipped(error.to_string().into()),
    }
}

fn coordinator<R: CoordinatorRecord>(
    record: &Record<'_>,
    refine: fn(&R, &mut Json),
) -> Result<Shown, Failure> {
    let bytes = |field: &[u8]| Bytes::copy_from_slice(field);
    let offset = record.offset;
    let Some(key) = record.key else {
        return Err(said(format_args!(
            "Failed to decode message at offset {offset} using the specified decoder (message had a missing key)"
        )));
    };
    let object = |name, number: i16, data| {
        Json::Object(vec![(name, Json::Text(number.to_string())), ("data", data)]).to_string()
    };
    Ok(match R::read(bytes(key), record.value.map(bytes)) {
        Ok(Parts { record, type_id, key, value }) => Shown {
            key: Some(object("type", type_id, key)),
            payload: Some(match value {
                Some((version, mut value)) => {
                    refine(&record, &mut value);
                    object("version", version, value)
                }
                None => "<DELETE>".to_owned(),
            }),
        },
        Err(Unreadable::UnknownType(unknown)) => Shown {
            key: Some(format!("Unknown record type {unknown} at offset {offset}, skipping.")),
            payload: None,
        },
        Err(Unreadable::Broken(why)) => {
            Shown { key: Some(format!("Error at offset {offset}, skipping. {why}")), payload: None }
        }
    })
}

/// Of a group of consumers, what its members subscribed to and have been assigned is known too.
fn refine_group(record: &ConsumerOffsetsRecord, json: &mut Json) {
    let ConsumerOffsetsRecord::GroupMetadata(_, Some(group)) = record else { return };
    let Some(Json::Array(members)) = json.get_mut("members").filter(|_| group.protocol_type == "consumer")
    else {
        return;
    };
    for (json, member) in members.iter_mut().zip(&group.members) {
        replace::<ConsumerProtocolSubscription>(json, "subscription", &member.subscription);
        replace::<ConsumerProtocolAssignment>(json, "assignment", &member.assignment);
    }
}

/// Puts what the bytes say in their place; those that say nothing stay.
fn replace<M: Message + ToJson>(json: &mut Json, name: &str, bytes: &Bytes) {
    if let (Some(member), Ok((message, version))) = (json.get_mut(name), decode_versioned::<M>(bytes.clone()))
    {
        *member = message.to_json(version);
    }
}
