//! A record as a consumer hands it out.

use bytes::Bytes;
use ottla_record::{OwnedHeader, TimestampType};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

/// A record with where it was read. Key, value and headers are slices of what came over the network, or of its batch's
/// decompressed form: keeping one keeps that in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    pub topic_partition: TopicPartition,
    pub offset: Offset,
    /// In which epoch its leader appended it, if the log knows.
    pub leader_epoch: Option<LeaderEpoch>,
    pub timestamp: Timestamp,
    /// Whose clock the timestamp comes from.
    pub timestamp_type: TimestampType,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<OwnedHeader>,
}

impl ConsumerRecord {
    pub fn topic(&self) -> &str {
        &self.topic_partition.topic
    }

    pub fn partition(&self) -> i32 {
        self.topic_partition.partition
    }

    /// Where reading goes on after this record.
    pub fn next_position(&self) -> Position {
        Position { offset: self.offset.next(), leader_epoch: self.leader_epoch }
    }
}

/// The offset of the next record to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub offset: Offset,
    /// Of the record before, if known: tells whether the log still has what was read (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Position {
    /// An offset of which nothing else is known.
    pub fn at(offset: Offset) -> Position {
        Position { offset, leader_epoch: None }
    }
}
