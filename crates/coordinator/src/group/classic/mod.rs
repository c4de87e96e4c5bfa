//! Groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, with static members (KIP-345, KIP-814).
//!
//! A group that has members lives in memory, with its rebalance and the requests that wait for it. The log holds the
//! last generation whose assignment was committed, and whether the group has become empty. So:
//! - A stored group without members has no live counterpart unless somebody is just joining it.
//! - A generation's assignment is told to its members only when it is committed.
//! - A coordinator that takes over continues with the last committed generation, its members and their sessions.

mod api;
mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod pending_joins;
mod rebalance;
mod static_member;
mod sync;

pub(crate) use group::{ClassicGroup, ClassicState};
pub(crate) use join::MEMBER_ID_REQUIRED_SINCE;
pub(crate) use member::Member;
#[cfg(test)]
pub(crate) use pending_joins::PENDING_JOINS_MAX;
pub(crate) use rebalance::{keep_alive, prepare};
pub(crate) use static_member::StaticReplacement;

/// How long a new member may take to be part of its first generation, whatever its session timeout, in milliseconds
/// (`group.new.member.join.timeout.ms`, which Kafka doesn't let anybody set). It lets a first JoinGroup wait for long
/// rebalances, though its sender can't send heartbeats yet.
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60_000;

/// The protocol type of groups whose members are consumers and say what they subscribe to.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";
