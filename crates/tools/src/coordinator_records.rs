//! Records of the coordinators' topics as JSON: the key says the type, the value its version.

use bytes::Bytes;
use ottla_wire::Json;
use ottla_wire::records::{ConsumerOffsetsRecord, ShareGroupStateRecord, TransactionStateRecord};

pub(crate) struct Parts<R> {
    pub(crate) record: R,
    pub(crate) type_id: i16,
    pub(crate) key: Json,
    /// With its version; `None`: the record deletes.
    pub(crate) value: Option<(i16, Json)>,
}

/// Why there is nothing to show.
#[derive(Debug)]
pub(crate) enum Unreadable {
    UnknownType(i16),
    Broken(String),
}

pub(crate) trait CoordinatorRecord: Sized {
    fn read(key: Bytes, value: Option<Bytes>) -> Result<Parts<Self>, Unreadable>;
}

macro_rules! coordinator_record {
    ($($record:ident),*) => {$(
        impl CoordinatorRecord for $record {
            fn read(key: Bytes, value: Option<Bytes>) -> Result<Parts<$record>, Unreadable> {
                let broken = |error: ottla_wire::DecodeError| Unreadable::Broken(error.to_string());
                let number = |bytes: &[u8]| bytes.first_chunk().map_or(-1, |two| i16::from_be_bytes(*two));
                let key_type = number(&key);
                let version = value.as_deref().map(number);
                let (record, _) = $record::decode(key, value).map_err(broken)?;
                let (Some(type_id), Some(key)) = (record.type_id(), record.key_to_json()) else {
                    return Err(match $record::knows(key_type) {
                        true => Unreadable::Broken(format!("Unknown version {} of the value", version.unwrap_or(-1))),
                        false => Unreadable::UnknownType(key_type),
                    });
                };
                let value = version.and_then(|version| Some((version, record.value_to_json(version)?)));
                Ok(Parts { record, type_id, key, value })
            }
        }
    )*};
}

coordinator_record!(ConsumerOffsetsRecord, TransactionStateRecord, ShareGroupStateRecord);
