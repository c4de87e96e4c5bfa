//! Coordinators: who is in which group, which offsets it has committed, and what share groups have delivered, kept in
//! internal topics.
//!
//! [`runtime`] is shared by all kinds of coordinators; [`group`] and [`share_state`] run on it.

mod gather;
pub mod group;
pub mod runtime;
pub mod share_state;

#[cfg(test)]
mod testing;
