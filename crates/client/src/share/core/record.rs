//! A record that a share group has lent to one of its members, and what the member says of it.

use ottla_types::{NodeId, TopicPartition, Uuid};
use ottla_wire::ErrorCode;

use crate::consumer::ConsumerRecord;
use crate::error::ClientError;

/// What is to become of a record. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum AcknowledgeType {
    /// It is done with.
    Accept = 1,
    /// Somebody may try again, also this member.
    Release = 2,
    /// Nobody can do anything with it.
    Reject = 3,
    /// It takes longer: the record stays with this member for as long again (KIP-1222).
    Renew = 4,
}

/// A record that this member has for a while, until it says what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRecord {
    pub record: ConsumerRecord,
    /// How often it was given to somebody, with this time.
    pub delivery_count: i16,
    pub(crate) lock: Lock,
}

/// What makes a record this member's: the same record may be lent to it several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub topic_id: Uuid,
    pub node: NodeId,
    /// Counts the answers that brought records.
    pub number: u64,
}

/// What became of acknowledgements of a partition's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub partition: TopicPartition,
    /// In ascending order.
    pub offsets: Vec<i64>,
    pub result: Result<(), ClientError>,
}

pub(crate) fn lock_lost() -> ClientError {
    ClientError::broker(
        ErrorCode::InvalidRecordState,
        Some(
            "the record is not this member's any more: its time was over, or its leader has changed"
                .to_owned(),
        ),
        "acknowledging a record",
    )
}
