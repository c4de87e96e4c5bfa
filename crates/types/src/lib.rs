//! Nouns that every room shares: offsets, leader epochs, node ids, topic partitions, time.
//!
//! They are plain values: nothing here does I/O, reads a clock or allocates more than a name.

mod ids;
mod offset;
mod time;
mod topic;
pub mod topic_name;

pub use ids::{BrokerEpoch, LeaderEpoch, NodeId, ProducerEpoch, ProducerId};
pub use offset::Offset;
pub use time::{MonoMs, Now, Timestamp};
pub use topic::{
    CONSUMER_OFFSETS_TOPIC, METADATA_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC,
    TopicIdPartition, TopicPartition, Uuid, UuidParseError, is_internal_topic, java_string_hash,
};
