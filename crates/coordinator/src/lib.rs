//! Coordinators: who is in which group, which offsets it has committed, what share groups have delivered, and which
//! transactions there are; kept in internal topics.
//!
//! [`runtime`] is shared by all kinds of coordinators; [`group`], [`share_state`] and [`transaction`] run on it.

mod gather;
pub mod group;
mod pattern;
pub mod runtime;
pub mod share_state;
pub mod transaction;

pub use gather::Gather;

#[cfg(test)]
mod testing;
