//! What happened in a run, as far as a property may depend on it.

use ottla_types::{TopicPartition, Uuid};

use crate::log_files::LogFiles;

/// A record as its producer numbered it: each producer counts its records in each partition from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    pub producer: u32,
    pub number: u64,
}

/// A record that a consumer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub offset: i64,
    pub id: RecordId,
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As a node should stop.
    Stopped,
    /// The process is gone, what it wrote is in the page cache.
    Killed,
    /// The machine was without power: what was not flushed may be lost.
    PowerLost,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A producer was told that `count` records from `first` on are in the log; at which offset, unless it was told of a
    /// duplicate only.
    Acknowledged {
        partition: TopicPartition,
        first: RecordId,
        count: u64,
        base_offset: Option<i64>,
    },
    /// An idempotent producer was told that its sequence has a gap, or that it is not known.
    SequenceBroken {
        producer: u32,
        partition: TopicPartition,
        code: i16,
    },
    /// A consumer was answered.
    Fetched {
        partition: TopicPartition,
        asked: i64,
        high_watermark: i64,
        last_stable_offset: i64,
        records: Vec<Seen>,
    },
    /// A consumer was told that there is nothing at its offset.
    OutOfRange {
        partition: TopicPartition,
        asked: i64,
    },
    /// `low_watermark` is where the log begins after DeleteRecords.
    RecordsDeleted {
        partition: TopicPartition,
        low_watermark: i64,
    },
    TopicCreated {
        name: String,
        id: Uuid,
        partitions: i32,
    },
    /// The topic may be gone from now on.
    TopicDeleting {
        name: String,
    },
    TopicDeleted {
        name: String,
    },
    /// The setting may have this value from now on.
    ConfigSetting {
        topic: String,
        key: String,
    },
    ConfigSet {
        topic: String,
        key: String,
        value: String,
    },
    /// What DescribeConfigs said.
    ConfigSeen {
        topic: String,
        key: String,
        value: Option<String>,
    },
    OffsetCommitted {
        group: String,
        generation: i32,
        partition: i32,
        offset: i64,
    },
    /// What a member was told when it became a partition's owner.
    OffsetSeen {
        group: String,
        generation: i32,
        partition: i32,
        offset: i64,
    },
    /// The node is gone; `logs` are its files at that moment.
    Down {
        ending: Ending,
        logs: Vec<LogFiles>,
    },
    /// The node serves again, so long after the process began.
    Up {
        after_ms: u64,
        logs: Vec<LogFiles>,
        topics: Vec<TopicSeen>,
    },
    /// A request was answered with an error that the client has no reason to expect.
    Unexpected {
        what: String,
    },
}

/// A topic as the metadata says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSeen {
    pub name: String,
    pub id: Uuid,
    pub partitions: i32,
}
