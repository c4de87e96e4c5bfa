//! The controller: operations on cluster metadata that yield records, replayed from one log.
//!
//! An operation reads the state and yields records and a response; it changes nothing. Replaying the records, which
//! the leader does at once and every other node when they are committed, is all that changes the state. The response
//! is released when the records are committed.

mod change_log;
mod cluster;
mod configs;
mod controller;
mod controllers;
mod directories;
mod effective_config;
mod elections;
mod error;
mod features;
mod isr;
mod outcome;
mod partition_change;
mod partition_index;
mod periodic;
mod producer_ids;
mod reassignment;
mod settings;
#[cfg(test)]
mod tests;
mod topic_rules;
mod topics;

pub use controller::{Controller, IdSource, QuorumVersion};
pub use error::ApiError;
pub use features::bootstrap_records;
pub use outcome::Outcome;
pub use reassignment::list_partition_reassignments;
pub use settings::ControllerSettings;
