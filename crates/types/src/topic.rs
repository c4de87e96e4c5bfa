use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// One partition of a topic, by name. Cloning copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition of a topic, by id and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    pub topic_id: Uuid,
    pub topic_partition: TopicPartition,
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic_id, self.topic_partition)
    }
}

/// A 128-bit id, printed as Kafka prints it: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// The topic id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 22 characters carry 132 bits: the last four are zero.
        for i in 0..21 {
            let six = (bits >> (122 - 6 * i)) as usize & 63;
            fmt::Write::write_char(f, char::from(BASE64URL[six]))?;
        }
        fmt::Write::write_char(f, char::from(BASE64URL[(bits as usize & 3) << 4]))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no Kafka uuid.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not a Kafka uuid: 22 characters of URL-safe base64 are expected")]
pub struct UuidParseError(String);

impl std::str::FromStr for Uuid {
    type Err = UuidParseError;

    fn from_str(text: &str) -> Result<Uuid, UuidParseError> {
        let error = || UuidParseError(text.to_owned());
        let trimmed = text.trim_end_matches('=');
        if trimmed.len() != 22 {
            return Err(error());
        }
        let mut bits: u128 = 0;
        for (i, c) in trimmed.bytes().enumerate() {
            let six = BASE64URL.iter().position(|&b| b == c).ok_or_else(error)? as u128;
            bits = if i < 21 { bits << 6 | six } else { bits << 2 | six >> 4 };
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

/// The log of the cluster's metadata: no topic that the metadata tell of.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// What the coordinator of groups keeps.
pub const CONSUMER_OFFSETS_TOPIC: &str = "__consumer_offsets";
/// What the coordinator of transactions keeps.
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";
/// What the share coordinator keeps.
pub const SHARE_GROUP_STATE_TOPIC: &str = "__share_group_state";

/// Topics that Kafka keeps for itself and hides from `subscribe` by pattern (`Topic.INTERNAL_TOPICS`).
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS_TOPIC | TRANSACTION_STATE_TOPIC | SHARE_GROUP_STATE_TOPIC)
}

/// Java's `String.hashCode`, over UTF-16 units: the partition of an internal topic is chosen with it.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid::METADATA_TOPIC));
        let id = Uuid(*b"\xff\xee\xdd\xcc\xbb\xaa\x99\x88\x77\x66\x55\x44\x33\x22\x11\x00");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("short".parse::<Uuid>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAA!".parse::<Uuid>().is_err());
    }

    #[test]
    fn hash_is_javas() {
        assert_eq!(java_string_hash(""), 0);
        assert_eq!(java_string_hash("hello"), 99_162_322);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
    }
}
