//! Coordinators: who is in which group, and which offsets it has committed, kept in internal topics.
//!
//! [`runtime`] is shared by all kinds of coordinators; [`group`] runs on it.

pub mod group;
pub mod runtime;

#[cfg(test)]
mod testing;
