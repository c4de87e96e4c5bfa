//! Incremental fetch sessions (KIP-227): a client names its partitions once, and later requests and responses carry
//! only what changed.
//!
//! A session's epoch grows by one with each request. A request with another epoch than the next is refused, so that
//! client and broker never disagree for long about what the session holds.

mod cache;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ottla_types::{Offset, Uuid};
use ottla_wire::ErrorCode;

use crate::follower_state::FollowerId;

pub use cache::{FetchContext, FetchSessions};

/// `FetchRequest.SessionId` of a request outside any session, and of a response that made none.
pub const NO_SESSION: i32 = 0;
/// `FetchRequest.SessionEpoch` that asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// `FetchRequest.SessionEpoch` of a full request that wants no session, and closes the one it names.
pub const FINAL_EPOCH: i32 = -1;

/// A partition as a fetch request names it: by id (version 13 and later) or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    /// Zero where the request goes by name.
    pub topic_id: Uuid,
    /// Empty where the request goes by id.
    pub topic: Arc<str>,
    pub partition: i32,
}

/// What a request asks of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub key: PartitionKey,
    pub fetch_offset: Offset,
    /// The follower's log start offset; -1 from consumers.
    pub log_start_offset: Offset,
    pub max_bytes: i32,
    /// The leader epoch that the client knows; -1 if it does not tell.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that a follower has; -1 if it does not tell.
    pub last_fetched_epoch: i32,
}

/// The session part of a fetch request.
#[derive(Clone, Debug, Default)]
pub struct SessionRequest {
    pub session_id: i32,
    pub session_epoch: i32,
    /// In an incremental request only those that are new or changed.
    pub partitions: Vec<FetchPartition>,
    /// Partitions to drop from the session.
    pub forgotten: Vec<PartitionKey>,
    /// Version 13 and later.
    pub uses_topic_ids: bool,
    /// The replica that fetches. Sessions of followers may take the place of consumers' ones, and look at what has changed alone.
    pub follower: Option<FollowerId>,
}

/// What of a partition's answer decides whether an incremental response must carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSummary {
    pub error: ErrorCode,
    pub has_records: bool,
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
    /// A preferred read replica or a diverging epoch is told.
    pub has_redirect: bool,
    /// See [`crate::FetchedPartition::is_at_rest`].
    pub is_at_rest: bool,
}
