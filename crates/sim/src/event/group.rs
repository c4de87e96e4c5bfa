//! What happened in groups whose members are given partitions by the broker.

use ottla_types::{MonoMs, TopicPartition};

/// Which protocol a group's members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Each partition belongs to one member (KIP-848).
    Consumer,
    /// Each partition belongs to at least one (KIP-932).
    Share,
}

/// What a member says of a record that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// There is no record at this offset.
    Gap,
    Accept,
    Release,
    Reject,
    Renew,
}

impl Word {
    /// As acknowledgements name it.
    pub fn id(self) -> i8 {
        match self {
            Word::Gap => 0,
            Word::Accept => 1,
            Word::Release => 2,
            Word::Reject => 3,
            Word::Renew => 4,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// A client wants to be a member, and to have partitions of all these.
    Joining { protocol: Protocol, group: String, client: String, wanted: Vec<TopicPartition> },
    /// The member that a client is at present has these, in this epoch.
    Assigned { group: String, client: String, member: String, epoch: i32, partitions: Vec<TopicPartition> },
    /// The client is not a member any more, as far as it knows.
    Out { group: String, client: String },
    /// The client was told that the coordinator does not count it any more.
    Fenced { group: String, client: String, code: i16 },
    /// Records were given to a member until its lock runs out, which began with the request or later.
    Acquired {
        client: String,
        partition: TopicPartition,
        first: i64,
        last: i64,
        delivery_count: i16,
        sent: MonoMs,
        heard: MonoMs,
        /// Nobody has taken over from who has given them.
        is_newest: bool,
    },
    /// A member says something of its records.
    Saying { client: String, partition: TopicPartition, words: Vec<(i64, Word)> },
    /// And was told that it counts.
    Said { partition: TopicPartition, words: Vec<(i64, Word)>, heard: MonoMs },
    /// The partition can't be shared: what was known of it is lost, and it was not begun anew yet.
    Unserved { client: String, partition: TopicPartition },
    /// It was told that the records are not its own any more.
    TooLate { client: String },
    /// The client has let go of all records that it had.
    Forgot { client: String },
}
