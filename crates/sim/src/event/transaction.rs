//! What happened with transactions.

use ottla_types::TopicPartition;

use super::RecordId;

/// One transaction of one instance of a producer, which counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// The instance: no other one, not even of the same client, has this number.
    pub producer: u32,
    pub number: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub enum TransactionEvent {
    /// A client asks to become this instance.
    Initializing { transactional_id: String, producer: u32 },
    /// The instance was told who it is.
    Initialized { transactional_id: String, producer: u32, producer_id: i64, epoch: i16 },
    /// Records are sent for the first time.
    Sent { transaction: TransactionId, partition: TopicPartition, first: RecordId, count: u64 },
    /// A group's offset is sent, the same for each of its partitions, that no other transaction has.
    OffsetSent { transaction: TransactionId, group: String, offset: i64 },
    /// The end is asked for.
    Ending { transaction: TransactionId, committed: bool },
    /// The client was told that the transaction is decided.
    Ended { transaction: TransactionId, committed: bool },
    /// The instance was told that it may not go on, `open_ms` after its transaction began. `is_newest`: nobody has taken over
    /// from who has told it.
    Refused {
        producer: u32,
        what: &'static str,
        code: i16,
        open_ms: Option<u64>,
        timeout_ms: u64,
        is_newest: bool,
    },
    /// A transaction stays open though its time is long over.
    Hanging { partition: TopicPartition, producer_id: i64 },
    /// The client is gone, whatever it was doing.
    Vanished { producer: u32 },
    /// A reader asks for a group's offsets.
    OffsetsAsked { reader: String, group: String },
    /// It got them: one for each of the partitions. `is_stable`: it asked for such as no open transaction may change.
    /// `is_newest`: nobody has taken over from who has told it.
    OffsetsSeen { reader: String, group: String, is_stable: bool, offsets: Vec<i64>, is_newest: bool },
    /// It was told that an open transaction has offsets.
    OffsetsUnstable { reader: String },
}
