//! KRaft consensus (KIP-595, 630, 853, 996) as a state machine: messages and time in, actions out.
//!
//! [`RaftCore`] is one replica of the metadata partition. It does no I/O: messages and the results of what it asked for
//! come in as [`Event`]s, what is to be done goes out as [`Action`]s. What always holds:
//!
//! - an epoch has at most one leader;
//! - a vote or a leader once written to `quorum-state` is never contradicted in the same epoch;
//! - nothing counts as committed that isn't on the disks of a majority;
//! - what is committed stays in every later leader's log.

mod accumulator;
mod config;
mod connections;
mod control;
mod core;
mod driver;
mod election;
mod log;
mod messages;
mod quorum_state;
pub mod quorum_state_file;
pub mod record_batches;
mod replica;
mod replication;
mod snapshot;
mod voter_change;
mod voter_set;
pub mod wire;

pub use accumulator::AppendError;
pub use config::RaftConfig;
pub use control::{ControlRecord, LeaderChange};
pub use core::{Action, Event, QuorumInfo, QuorumSettings, RaftCore, RaftStart, ReplicaInfo};
pub use driver::{Delivery, ListenerId, Outgoing, RaftDriver, RaftDriverError};
pub use election::{ElectionState, EpochElection};
pub use log::{
    BatchRecords, FetchPosition, LeaderBatch, LogError, LogRead, LogStart, LogView, QuorumStateStore,
    ReplicatedLog,
};
pub use messages::*;
pub use quorum_state::{LeaderAndEpoch, RoleName};
pub use replica::{Endpoints, HostPort, LocalReplica, Node, OffsetAndEpoch, ReplicaKey};
pub use snapshot::{SnapshotPolicy, SnapshotReason};
pub use voter_set::{VoterHistory, VoterNode, VoterSet};

#[cfg(test)]
mod tests;
