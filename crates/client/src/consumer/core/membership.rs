//! What both kinds of membership have in common: what they are told and what they want done.
//!
//! A membership is a state machine without clock or network. It is told what happened, says what is to be done
//! as [`Effect`]s, and names the moment at which it wants to be woken.

use std::sync::Arc;

use ottla_types::{MonoMs, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use thiserror::Error;

/// A request to the group's coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRequest {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// What a membership wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Send(GroupRequest),
    /// The coordinator is another node by now, or none: look for it before the next request.
    ForgetCoordinator,
    /// The owner is to stop reading these and to commit; then the membership is to be told that it is done.
    Revoke(Vec<TopicPartition>),
    /// These belong to somebody else already.
    Lost(Vec<TopicPartition>),
    /// These may be read from now on.
    Assigned(Vec<TopicPartition>),
    /// The partitions and racks of these topics are needed to assign them.
    NeedTopics(Vec<Arc<str>>),
    /// Metadata lacks topics that the member was given by their ids.
    NeedNames,
    Failed(GroupError),
}

/// Why a member can't go on until its owner does something about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// Another member with the same `group.instance.id` took this one's place.
    #[error("another consumer with group.instance.id '{0}' took this one's place in the group")]
    Fenced(String),
    #[error("{what}: {code} ({})", message.as_deref().unwrap_or(code.description()))]
    Refused { what: &'static str, code: ErrorCode, message: Option<String> },
    /// The group's leader chose a strategy that this member didn't offer.
    #[error("the group assigns by '{0}', which is not among this consumer's partition.assignment.strategy")]
    UnknownStrategy(String),
    #[error("what another member of the group sent can't be read: {0}")]
    Unreadable(String),
    #[error("the group's coordinator can't be asked: {0}")]
    NoCoordinator(String),
}

/// What a member of the group is known by: goes into commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberIdentity {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// Generation of a classic group; member epoch of the consumer protocol.
    pub generation_or_epoch: i32,
}

/// What a transaction has to know of the group whose offsets it commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    pub group_id: String,
    /// The member that read what the offsets stand for: one that the group knows no more can't commit. `None`: partitions
    /// were assigned by hand, and nobody checks.
    pub member: Option<MemberIdentity>,
}

/// Whether a member that closes leaves its group (KIP-1092).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnClose {
    /// Static members stay, so that they find their partitions again when they are back before their session ends; others leave.
    #[default]
    AsConfigured,
    Leave,
    Stay,
}

/// Rebalances that a member goes through.
#[derive(Debug, Default)]
pub struct Rebalances {
    began: Option<MonoMs>,
    since_asked: Rebalanced,
}

/// What became of rebalances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalanced {
    /// How long each took that is over, in milliseconds.
    pub took_ms: Vec<u64>,
    /// Tries that have come to nothing.
    pub failed: u64,
}

impl Rebalances {
    /// One begins, unless one is under way.
    pub fn begin(&mut self, now: MonoMs) {
        self.began.get_or_insert(now);
    }

    /// The one that was under way, if there was one, is over.
    pub fn end(&mut self, now: MonoMs) {
        if let Some(began) = self.began.take() {
            self.since_asked.took_ms.push(now.since_ms(began));
        }
    }

    /// A try has come to nothing; what was under way still is.
    pub fn fail_once(&mut self) {
        self.since_asked.failed += 1;
    }

    /// The one that was under way, if there was one, has come to nothing.
    pub fn fail(&mut self) {
        if self.began.take().is_some() {
            self.fail_once();
        }
    }

    /// Since this was last asked.
    pub fn take(&mut self) -> Rebalanced {
        std::mem::take(&mut self.since_asked)
    }
}

/// Waits that grow with each failure in a row, without jitter: whoever keeps the time adds that.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// `retry.backoff.ms`
    pub first_ms: u64,
    /// `retry.backoff.max.ms`
    pub max_ms: u64,
    failures: u32,
}

impl Backoff {
    pub fn new(first_ms: u64, max_ms: u64) -> Backoff {
        Backoff { first_ms, max_ms, failures: 0 }
    }

    /// When to try again after one more failure.
    pub fn after_failure(&mut self, now: MonoMs) -> MonoMs {
        let wait_ms =
            self.first_ms.saturating_mul(1 << self.failures.min(16)).min(self.max_ms.max(self.first_ms));
        self.failures = self.failures.saturating_add(1);
        MonoMs(now.0.saturating_add(wait_ms))
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}
