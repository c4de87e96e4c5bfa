//! Keys and values of types of one's own, in place of bytes.
//!
//! What turns a type into bytes, or back, is an [`Encode`] or a [`Decode`]; [`Utf8`], [`BigEndian`], [`Json`] and some more
//! are there, compatible with Kafka's serializers where those exist. A [`TypedTopic`] says once which types a topic has, for
//! those who write it and those who read it.
//!
//! ```no_run
//! use ottla_client::typed::{Json, TypedTopic, Utf8};
//! use ottla_client::{Producer, ProducerSettings};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     item: String,
//!     count: u32,
//! }
//!
//! # async fn example(mut consumer: ottla_client::consumer::Consumer) -> Result<(), Box<dyn std::error::Error>> {
//! let orders = TypedTopic::<String, Order, _, _>::new("orders", Utf8, Json);
//!
//! let producer = Producer::start(ProducerSettings::new("localhost:9092"))?;
//! let order = Order { item: "apple".to_owned(), count: 2 };
//! orders.send(&producer, &"customer-7".to_owned(), &order).await?.await?;
//!
//! consumer.subscribe([orders.name()])?;
//! for record in consumer.poll(std::time::Duration::from_secs(1)).await? {
//!     match orders.decode(record) {
//!         Ok(order) => println!("{} wants {} {}", order.key, order.value.count, order.value.item),
//!         // The record is in the error: it can be put elsewhere, and reading goes on.
//!         Err(error) => eprintln!("{error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::Timestamp;
use thiserror::Error;

use crate::consumer::ConsumerRecord;
use crate::{ClientError, Delivery, Header, Producer, Record, Transaction};

/// Which part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Key,
    Value,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Key => "key",
            Part::Value => "value",
        })
    }
}

/// What a codec may need to know beside the value: registries of schemas go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub part: Part,
}

/// Why a value and its bytes don't go together.
pub type CodecError = Box<dyn Error + Send + Sync>;

/// Turns values into bytes.
pub trait Encode<T: ?Sized> {
    /// `None` is null: no key, or a tombstone.
    fn encode(&self, place: Place<'_>, value: &T) -> Result<Option<Vec<u8>>, CodecError>;
}

/// Turns bytes into values.
pub trait Decode<T> {
    /// `None` is null.
    fn decode(&self, place: Place<'_>, bytes: Option<&Bytes>) -> Result<T, CodecError>;
}

/// A record's key or value could not be turned into bytes, or could not be sent.
#[derive(Debug, Error)]
pub enum TypedSendError {
    #[error("the {part} of a record for {topic} can't be encoded: {cause}")]
    Encode { topic: Arc<str>, part: Part, cause: CodecError },
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A record's key or value is not what it should be.
#[derive(Debug, Error)]
#[error("the {part} of the record at offset {} of {} can't be decoded: {cause}", record.offset, record.topic_partition)]
pub struct DecodeError {
    pub part: Part,
    pub cause: CodecError,
    /// As it was read.
    pub record: Box<ConsumerRecord>,
}

/// A record with key and value of their types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedRecord<K, V> {
    pub key: K,
    pub value: V,
    /// As it was read.
    pub record: ConsumerRecord,
}

/// A topic whose keys are `K` and whose values are `V`, by these codecs.
pub struct TypedTopic<K, V, KC, VC> {
    name: Arc<str>,
    key_codec: KC,
    value_codec: VC,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, KC, VC> TypedTopic<K, V, KC, VC> {
    pub fn new(name: impl Into<Arc<str>>, key_codec: KC, value_codec: VC) -> TypedTopic<K, V, KC, VC> {
        TypedTopic { name: name.into(), key_codec, value_codec, types: PhantomData }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn place(&self, part: Part) -> Place<'_> {
        Place { topic: &self.name, part }
    }
}

impl<K, V, KC: Encode<K>, VC: Encode<V>> TypedTopic<K, V, KC, VC> {
    /// A record for this topic, to be sent with any producer.
    pub fn encode(&self, key: &K, value: &V) -> Result<EncodedRecord, TypedSendError> {
        let failed =
            |part| move |cause| TypedSendError::Encode { topic: Arc::clone(&self.name), part, cause };
        Ok(EncodedRecord {
            topic: Arc::clone(&self.name),
            key: self.key_codec.encode(self.place(Part::Key), key).map_err(failed(Part::Key))?,
            value: self.value_codec.encode(self.place(Part::Value), value).map_err(failed(Part::Value))?,
            timestamp: None,
        })
    }

    /// As [`Producer::send`].
    pub async fn send(&self, producer: &Producer, key: &K, value: &V) -> Result<Delivery, TypedSendError> {
        Ok(producer.send(self.encode(key, value)?.record(&[])).await?)
    }

    /// As [`Transaction::send`].
    pub async fn send_within(
        &self,
        transaction: &Transaction<'_>,
        key: &K,
        value: &V,
    ) -> Result<Delivery, TypedSendError> {
        Ok(transaction.send(self.encode(key, value)?.record(&[])).await?)
    }
}

impl<K, V, KC: Decode<K>, VC: Decode<V>> TypedTopic<K, V, KC, VC> {
    /// The record with its key and value. The error has it as it was.
    pub fn decode(&self, record: ConsumerRecord) -> Result<TypedRecord<K, V>, DecodeError> {
        let key = match self.key_codec.decode(self.place(Part::Key), record.key.as_ref()) {
            Ok(key) => key,
            Err(cause) => return Err(DecodeError { part: Part::Key, cause, record: Box::new(record) }),
        };
        match self.value_codec.decode(self.place(Part::Value), record.value.as_ref()) {
            Ok(value) => Ok(TypedRecord { key, value, record }),
            Err(cause) => Err(DecodeError { part: Part::Value, cause, record: Box::new(record) }),
        }
    }
}

impl<K, V, KC: Clone, VC: Clone> Clone for TypedTopic<K, V, KC, VC> {
    fn clone(&self) -> TypedTopic<K, V, KC, VC> {
        TypedTopic::new(Arc::clone(&self.name), self.key_codec.clone(), self.value_codec.clone())
    }
}

impl<K, V, KC: fmt::Debug, VC: fmt::Debug> fmt::Debug for TypedTopic<K, V, KC, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedTopic")
            .field("name", &self.name)
            .field("key_codec", &self.key_codec)
            .field("value_codec", &self.value_codec)
            .finish()
    }
}

/// A record whose key and value are bytes by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    pub topic: Arc<str>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// `None`: now.
    pub timestamp: Option<Timestamp>,
}

impl EncodedRecord {
    /// As a producer takes it.
    pub fn record<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record {
            topic: &self.topic,
            partition: None,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl<T: AsRef<[u8]> + ?Sized> Encode<T> for Raw {
    fn encode(&self, _: Place<'_>, value: &T) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(Some(value.as_ref().to_vec()))
    }
}

impl Decode<Bytes> for Raw {
    fn decode(&self, _: Place<'_>, bytes: Option<&Bytes>) -> Result<Bytes, CodecError> {
        Ok(present(bytes)?.clone())
    }
}

impl Decode<Vec<u8>> for Raw {
    fn decode(&self, _: Place<'_>, bytes: Option<&Bytes>) -> Result<Vec<u8>, CodecError> {
        Ok(present(bytes)?.to_vec())
    }
}

/// Text, as Kafka's `StringSerializer` has it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8;

impl<T: AsRef<str> + ?Sized> Encode<T> for Utf8 {
    fn encode(&self, _: Place<'_>, value: &T) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(Some(value.as_ref().as_bytes().to_vec()))
    }
}

impl Decode<String> for Utf8 {
    fn decode(&self, _: Place<'_>, bytes: Option<&Bytes>) -> Result<String, CodecError> {
        Ok(std::str::from_utf8(present(bytes)?)?.to_owned())
    }
}

/// Numbers and booleans, as Kafka's serializers for `Short`, `Integer`, `Long`, `Float`, `Double` and `Boolean` have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BigEndian;

macro_rules! big_endian {
    ($($number:ty),*) => {$(
        impl Encode<$number> for BigEndian {
            fn encode(&self, _: Place<'_>, value: &$number) -> Result<Option<Vec<u8>>, CodecError> {
                Ok(Some(value.to_be_bytes().to_vec()))
            }
        }

        impl Decode<$number> for BigEndian {
            fn decode(&self, _: Place<'_>, bytes: Option<&Bytes>) -> Result<$number, CodecError> {
                let bytes = present(bytes)?;
                let exact = bytes.as_ref().try_into().map_err(|_| {
                    format!("{} bytes are expected, and there are {}", size_of::<$number>(), bytes.len())
                })?;
                Ok(<$number>::from_be_bytes(exact))
            }
        }
    )*};
}

big_endian!(i16, i32, i64, u16, u32, u64, f32, f64);

impl Encode<bool> for BigEndian {
    fn encode(&self, _: Place<'_>, value: &bool) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(Some(vec![u8::from(*value)]))
    }
}

impl Decode<bool> for BigEndian {
    fn decode(&self, _: Place<'_>, bytes: Option<&Bytes>) -> Result<bool, CodecError> {
        match present(bytes)?.as_ref() {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(format!("a byte of 0 or 1 is expected, and there is {other:?}").into()),
        }
    }
}

/// JSON, of everything that serde can write or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: serde::Serialize + ?Sized> Encode<T> for Json {
    fn encode(&self, _: Place<'_>, value: &T) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(Some(serde_json::to_vec(value)?))
    }
}

impl<T: serde::de::DeserializeOwned> Decode<T> for Json {
    fn decode(&self, _: Place<'_>, bytes: Option<&Bytes>) -> Result<T, CodecError> {
        Ok(serde_json::from_slice(present(bytes)?)?)
    }
}

/// What may be null: keys that may be missing, values that may be tombstones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nullable<C>(pub C);

impl<T, C: Encode<T>> Encode<Option<T>> for Nullable<C> {
    fn encode(&self, place: Place<'_>, value: &Option<T>) -> Result<Option<Vec<u8>>, CodecError> {
        value.as_ref().map_or(Ok(None), |value| self.0.encode(place, value))
    }
}

impl<T, C: Decode<T>> Decode<Option<T>> for Nullable<C> {
    fn decode(&self, place: Place<'_>, bytes: Option<&Bytes>) -> Result<Option<T>, CodecError> {
        bytes.map(|bytes| self.0.decode(place, Some(bytes))).transpose()
    }
}

/// Nothing, whatever is there: topics without keys, for example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl Encode<()> for Nothing {
    fn encode(&self, _: Place<'_>, (): &()) -> Result<Option<Vec<u8>>, CodecError> {
        Ok(None)
    }
}

impl Decode<()> for Nothing {
    fn decode(&self, _: Place<'_>, _: Option<&Bytes>) -> Result<(), CodecError> {
        Ok(())
    }
}

fn present(bytes: Option<&Bytes>) -> Result<&Bytes, CodecError> {
    bytes.ok_or_else(|| "it is null".into())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use ottla_types::{Offset, TopicPartition};

    use super::*;
    use crate::consumer::TimestampType;

    const PLACE: Place<'_> = Place { topic: "t", part: Part::Value };

    fn check<T: PartialEq + Debug, C: Encode<T> + Decode<T>>(codec: C, value: T, bytes: Option<&[u8]>) {
        assert_eq!(codec.encode(PLACE, &value).unwrap().as_deref(), bytes, "{value:?}");
        let stored = bytes.map(Bytes::copy_from_slice);
        assert_eq!(codec.decode(PLACE, stored.as_ref()).unwrap(), value);
    }

    #[test]
    fn values_have_the_bytes_that_kafkas_serializers_give_them() {
        check(Raw, vec![1, 2], Some(&[1, 2]));
        check(Utf8, "\u{e4}".to_owned(), Some("\u{e4}".as_bytes()));
        check(BigEndian, -2_i16, Some(&[0xff, 0xfe]));
        check(BigEndian, 258_i32, Some(&[0, 0, 1, 2]));
        check(BigEndian, 1_i64 << 40, Some(&[0, 0, 1, 0, 0, 0, 0, 0]));
        check(BigEndian, 1.5_f32, Some(&[0x3f, 0xc0, 0, 0]));
        check(BigEndian, -2.0_f64, Some(&[0xc0, 0, 0, 0, 0, 0, 0, 0]));
        check(BigEndian, true, Some(&[1]));
        check(Json, vec![("a".to_owned(), 1)], Some(br#"[["a",1]]"#));
        check(Nullable(Json), Some(3), Some(b"3"));
        check::<Option<i32>, _>(Nullable(BigEndian), None, None);
        check(Nothing, (), None);
    }

    #[test]
    fn what_is_not_of_its_type_says_so_and_comes_back() {
        let topic = TypedTopic::<String, i32, _, _>::new("t", Utf8, BigEndian);
        let record = |key: Option<&'static [u8]>, value: Option<&'static [u8]>| ConsumerRecord {
            topic_partition: TopicPartition::new("t", 3),
            offset: Offset(7),
            leader_epoch: None,
            timestamp: Timestamp(0),
            timestamp_type: TimestampType::CreateTime,
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: Vec::new(),
        };
        let good = topic.decode(record(Some(b"k"), Some(&[0, 0, 0, 9]))).unwrap();
        assert_eq!((&*good.key, good.value), ("k", 9));
        for (key, value, expected) in [
            (
                Some(&b"k"[..]),
                Some(&b"short"[..]),
                "the value of the record at offset 7 of t-3 can't be decoded: 4 bytes are expected, and there are 5",
            ),
            (Some(b"k"), None, "the value of the record at offset 7 of t-3 can't be decoded: it is null"),
            (None, Some(b"four"), "the key of the record at offset 7 of t-3 can't be decoded: it is null"),
        ] {
            let error = topic.decode(record(key, value)).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(*error.record, record(key, value));
        }
    }
}
