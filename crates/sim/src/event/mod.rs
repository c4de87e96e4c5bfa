//! What happened in a run, as far as a property may depend on it.

mod group;
mod transaction;

use ottla_types::{MonoMs, TopicPartition, Uuid};

pub use group::{GroupEvent, Protocol, Word};
pub use transaction::{TransactionEvent, TransactionId};

use crate::log_files::LogFiles;
use crate::remembered::Remembered;

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

/// What has come of the question for a leader that may lack records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UncleanElection {
    Made,
    NotMade,
    /// There was no answer, or none that says it.
    Unknown,
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
        /// Nobody has taken over from who has told it.
        is_newest: bool,
    },
    /// An idempotent producer was told that its sequence has a gap, or that it is not known.
    SequenceBroken {
        producer: u32,
        partition: TopicPartition,
        code: i16,
    },
    /// A producer that wants no answers has sent so many records.
    Unanswered {
        partition: TopicPartition,
        count: u64,
    },
    /// A consumer was answered.
    Fetched {
        partition: TopicPartition,
        /// By a replica near to it (KIP-392).
        from_follower: bool,
        asked: i64,
        /// Where it reads on.
        next: i64,
        high_watermark: i64,
        last_stable_offset: i64,
        /// Nothing of transactions that are open or were aborted.
        read_committed: bool,
        records: Vec<Seen>,
    },
    /// A consumer was told that there is nothing at its offset.
    OutOfRange {
        partition: TopicPartition,
        asked: i64,
    },
    /// A client was told where the partition ends for consumers, by who leads in an epoch that is none before those that it knows.
    EndTold {
        partition: TopicPartition,
        offset: i64,
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
        /// Nobody has taken over from who has told it.
        is_newest: bool,
    },
    /// The node is gone; `logs` are its files at that moment.
    Down {
        ending: Ending,
        logs: Vec<LogFiles>,
        /// What it said last of what its coordinators know, where it could be asked.
        remembered: Option<Remembered>,
    },
    /// The node serves again, so long after the process began.
    Up {
        after_ms: u64,
        logs: Vec<LogFiles>,
        topics: Vec<TopicSeen>,
        remembered: Option<Remembered>,
    },
    /// What nothing depends on, so many times.
    Counted {
        what: &'static str,
        times: u64,
    },
    Transaction(TransactionEvent),
    Group(GroupEvent),
    /// A client's connection is gone, and what the node kept for it too.
    ConnectionLost {
        client: String,
    },
    /// What the logs hold as those have them that lead in the newest epoch.
    Files {
        logs: Vec<LogFiles>,
    },
    /// The cluster has this level from now on.
    FeatureRaised {
        feature: &'static str,
        level: i16,
    },
    /// And had a higher one before.
    FeatureLowered {
        feature: &'static str,
        level: i16,
    },
    /// Another leader than before, or the same in another epoch.
    Led {
        partition: TopicPartition,
        at: MonoMs,
    },
    /// Somebody asks for a leader, even one that lacks records.
    UncleanAsked {
        partition: TopicPartition,
    },
    UncleanAnswered {
        partition: TopicPartition,
        election: UncleanElection,
    },
    /// Of what was told of a partition up to now nothing need be so any more: somebody has asked for a leader that lacks records.
    MayHaveLost {
        partition: TopicPartition,
    },
    /// One of several nodes is gone, and what it kept in memory.
    ProcessEnded,
    /// Somebody has set a machine's clock: what it says of how long something took may be anything from now on.
    ClockSet,
    /// Everybody is done, and the node still there.
    End {
        logs: Vec<LogFiles>,
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

impl Event {
    /// What it is counted as, and how often.
    pub fn tally(&self) -> Option<(&'static str, u64)> {
        Some(match self {
            Event::Acknowledged { count, .. } => ("records acknowledged", *count),
            Event::Unanswered { count, .. } => ("records sent without an answer", *count),
            Event::Fetched { from_follower: true, records, .. } => {
                ("records fetched from followers", records.len() as u64)
            }
            Event::Fetched { records, .. } => ("records fetched", records.len() as u64),
            Event::OffsetCommitted { .. } => ("offsets committed", 1),
            Event::OffsetSeen { is_newest: true, .. } => ("partitions taken over", 1),
            Event::OffsetSeen { .. } => ("offsets told by a former coordinator", 1),
            Event::TopicCreated { .. } => ("topics created", 1),
            Event::TopicDeleted { .. } => ("topics deleted", 1),
            Event::RecordsDeleted { .. } => ("records deleted", 1),
            Event::SequenceBroken { .. } => ("sequences broken", 1),
            Event::OutOfRange { .. } => ("offsets out of range", 1),
            Event::EndTold { .. } => ("ends told", 1),
            Event::ConfigSet { .. } => ("settings changed", 1),
            Event::Down { ending: Ending::Stopped, .. } => ("stops", 1),
            Event::Down { ending: Ending::Killed, .. } => ("kills", 1),
            Event::Down { ending: Ending::PowerLost, .. } => ("losses of power", 1),
            Event::FeatureRaised { .. } => ("feature levels raised", 1),
            Event::FeatureLowered { .. } => ("feature levels lowered", 1),
            Event::UncleanAnswered { election: UncleanElection::Made, .. } => ("unclean elections", 1),
            Event::Counted { what, times } => (*what, *times),
            Event::Transaction(event) => return of_transactions(event),
            Event::Group(event) => return of_groups(event),
            _ => return None,
        })
    }
}

fn of_transactions(event: &TransactionEvent) -> Option<(&'static str, u64)> {
    Some(match event {
        TransactionEvent::Initialized { .. } => ("transactional producers begun", 1),
        TransactionEvent::Ended { committed: true, .. } => ("transactions committed", 1),
        TransactionEvent::Ended { committed: false, .. } => ("transactions aborted", 1),
        TransactionEvent::Refused { open_ms: Some(open_ms), timeout_ms, .. } if open_ms >= timeout_ms => {
            ("transactions timed out", 1)
        }
        TransactionEvent::Refused { .. } => ("producers fenced", 1),
        TransactionEvent::Hanging { .. } => ("hanging transactions ended", 1),
        TransactionEvent::Vanished { .. } => ("transactional producers vanished", 1),
        TransactionEvent::OffsetSent { .. } => ("offsets sent in transactions", 1),
        TransactionEvent::OffsetsSeen { .. } => ("offsets of transactions read", 1),
        TransactionEvent::OffsetsUnstable { .. } => ("unstable offsets met", 1),
        _ => return None,
    })
}

fn of_groups(event: &GroupEvent) -> Option<(&'static str, u64)> {
    let count_of =
        |words: &[(i64, Word)], wanted: Word| words.iter().filter(|(_, word)| *word == wanted).count() as u64;
    Some(match event {
        GroupEvent::Assigned { .. } => ("assignments", 1),
        GroupEvent::Out { .. } => ("members gone", 1),
        GroupEvent::Fenced { .. } => ("members fenced", 1),
        GroupEvent::Acquired { first, last, delivery_count: 1, .. } => {
            ("records acquired", (last - first + 1) as u64)
        }
        GroupEvent::Acquired { first, last, .. } => ("records acquired again", (last - first + 1) as u64),
        GroupEvent::Said { words, .. } => ("records accepted", count_of(words, Word::Accept)),
        GroupEvent::TooLate { .. } => ("acknowledgements too late", 1),
        GroupEvent::Unserved { .. } => ("share partitions not served", 1),
        _ => return None,
    })
}
