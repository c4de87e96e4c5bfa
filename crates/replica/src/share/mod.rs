//! Share groups on the side of the partitions' leader (KIP-932): who has which records, share sessions, fetches and
//! acknowledgements. What survives is kept by a share coordinator, behind a [`Persister`].

mod partition;
mod types;

pub use partition::{Change, PersistResult, SharePartition};
pub use types::{
    AcknowledgeType, AcknowledgementBatch, AcquireLimits, AcquireMode, AcquiredRecords, LogBatch, MemberId,
    PersistedBatch, PersistedState, RecordState, SharePartitionId, ShareSettings, StateWrite,
};
