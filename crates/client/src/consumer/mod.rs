//! Reading records, alone or as a member of a group.
//!
//! [`Consumer`] has one owner. What has to go on by itself (heartbeats, fetching ahead, commits in intervals) goes on in a
//! task beside it; what is to happen at a certain place among the records (a rebalance) comes as an event between them.
//!
//! What always holds: all decisions are made in `core`, which is pure; here requests are sent and answers are handed in.

mod asking;
mod commits;
mod committer;

mod core;
mod driver;
mod error;
mod interceptors;
mod owner;
mod partition_streams;
mod pattern;
mod processing;
mod records;
mod settings;
#[cfg(test)]
mod tests;

pub use self::core::assignors::{
    Assignment, Assignor, CooperativeStickyAssignor, GroupMember, RangeAssignor, RebalanceProtocol,
    RoundRobinAssignor, StickyAssignor, TopicRacks,
};
pub(crate) use self::core::fetching::read_batches;
pub use self::core::fetching::{FetchError, IsolationLevel, OffsetReset, Watermarks};
pub use self::core::machine::ConsumerEvent;
pub use self::core::membership::{GroupError, GroupMetadata, MemberIdentity, OnClose};
pub use self::core::processing::ProcessingOrder;
pub use self::core::protocol::Subscription;
pub use self::core::record::{ConsumerRecord, Position};
pub use commits::{CommitLater, CommittedOffset};
pub use error::ConsumerError;
pub use interceptors::ConsumerInterceptor;
pub use ottla_record::{OwnedHeader, TimestampType};
pub use owner::{Consumer, OffsetAndTimestamp};
pub use partition_streams::{PartitionRecords, PartitionStreams};
pub use processing::{Processing, ProcessingError};
pub use records::Records;
pub use settings::{ConsumerSettings, GroupProtocol};
