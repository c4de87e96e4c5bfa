//! Share groups on the side of the partitions' leader (KIP-932): who has which records, share sessions, fetches and
//! acknowledgements. What survives is kept by a share coordinator, behind a [`Persister`].

mod fetch;
mod manager;
mod partition;
mod persister;
mod sessions;
mod spans;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use fetch::DelayedShareFetch;
pub use fetch::{ShareFetchParams, ShareFetched};
pub use manager::{Acknowledged, Present, SharePartitions};
pub use partition::{Change, PersistResult, SharePartition};
pub use persister::{
    DeadLetters, LettersWritten, OffsetReset, Persisted, Persister, ShareGroupSettings, ShareGroups,
};
pub use sessions::{
    ContextKind, EndedSession, FINAL_EPOCH, INITIAL_EPOCH, SessionKey, SessionPartition, ShareFetchContext,
    ShareSessionRequest, ShareSessions,
};
pub use types::{
    AcknowledgeType, AcknowledgementBatch, AcquireLimits, AcquireMode, AcquiredRecords, DeadRecords, GivenUp,
    LogBatch, MemberId, PersistedBatch, PersistedState, RecordState, SharePartitionId, ShareSettings,
    StateWrite,
};
