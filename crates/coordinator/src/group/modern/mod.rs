//! What the kinds of groups have in common in which the coordinator, not one of the members, decides who reads what
//! (KIP-848, KIP-932).
//!
//! A group has an epoch, which goes up whenever who is in it, what they subscribe to, or the topics behind that change.
//! For an epoch an assignor makes a target: what each member shall have. Members go from what they have to their target
//! one heartbeat after another.

pub mod assignor;
pub(crate) mod freshness;
pub(crate) mod pace;
pub(crate) mod subscriptions;
pub(crate) mod target;
pub(crate) mod topics;

/// The epoch of a group, and of its target, before anything is known of it: members never have an epoch below.
pub(crate) const FIRST_EPOCH: i32 = 1;
/// With this epoch a member joins.
pub(crate) const JOIN_EPOCH: i32 = 0;
/// With this epoch a member leaves.
pub(crate) const LEAVE_EPOCH: i32 = -1;
/// With this epoch a static member leaves for a while: its place is kept until its session is over.
pub(crate) const LEAVE_STATIC_EPOCH: i32 = -2;
