//! Why a consumer can't do what it was asked.

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use thiserror::Error;

use super::core::fetching::FetchError;
use super::core::machine::Failure;
use super::core::membership::GroupError;
use crate::ClientError;

/// What went wrong, and with what.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The consumer is out of its group. It is in again once it subscribes again and the cause is gone.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// One partition can't be read; the others can.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The offsets were not committed, because the partitions may belong to somebody else by now: asking for the next event
    /// tells. What was read since the last commit may be read again.
    #[error(
        "the offsets were not committed, as this consumer is not in the group's generation any more: {0}"
    )]
    NotAMember(ErrorCode),
    #[error("the offset of {partition} was not committed: {code}")]
    NotCommitted { partition: TopicPartition, code: ErrorCode },
    #[error("this consumer does not read {0}")]
    NotAssigned(TopicPartition),
    #[error("{0}")]
    Misuse(&'static str),
    /// A setting's value can't be used.
    #[error("{key}={value}: {reason}")]
    Setting { key: &'static str, value: String, reason: String },
    #[error("the consumer is closed")]
    Closed,
}

impl ConsumerError {
    /// A later commit may succeed: nothing is wrong with this one but its time.
    pub fn is_retriable(&self) -> bool {
        match self {
            // The next event tells what has become of the partitions.
            ConsumerError::NotAMember(_) => true,
            ConsumerError::Client(error) => error.is_retriable(),
            ConsumerError::NotCommitted { code, .. } => code.is_retriable(),
            _ => false,
        }
    }
}

impl From<Failure> for ConsumerError {
    fn from(failure: Failure) -> ConsumerError {
        match failure {
            Failure::Group(error) => error.into(),
            Failure::Fetch(error) => error.into(),
        }
    }
}
