//! The one change of the voter set that a leader has under way (KIP-853).

use ottla_types::{MonoMs, Offset};

use crate::messages::{Response, VoterChangeResponse};
use crate::replica::{Endpoints, ReplicaKey};

/// Which request asked for a change, and so how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoterChangeKind {
    Add,
    Remove,
}

impl VoterChangeKind {
    pub(crate) fn response(self, response: VoterChangeResponse) -> Response {
        match self {
            VoterChangeKind::Add => Response::AddRaftVoter(response),
            VoterChangeKind::Remove => Response::RemoveRaftVoter(response),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct VoterChange {
    pub(crate) kind: VoterChangeKind,
    pub(crate) voter: ReplicaKey,
    /// The request that waits for the answer; none that has been answered already.
    pub(crate) waiting: Option<u64>,
    pub(crate) deadline: MonoMs,
    pub(crate) stage: VoterChangeStage,
}

#[derive(Debug)]
pub(crate) enum VoterChangeStage {
    /// The new voter is asked which versions it supports.
    AskingVersions { correlation_id: u64, listeners: Endpoints, ack_when_committed: bool },
    /// The record with the voters is in the leader's log.
    Committing { offset: Offset },
}
