//! One node, or several ([`cluster`]), with their clients in one thread, on virtual time and over disks that lose and fail,
//! from a seed.
//!
//! What always holds: the same seed gives the same run, event for event. The node is the one that ships; the clients
//! speak the protocol to it; what must hold is checked from what they are told and from the files themselves.

pub mod cast;
pub mod clients;
pub mod cluster;
pub mod event;
pub mod log_files;
pub mod network;
pub mod node;
pub mod outcome;
pub mod properties;
pub mod remembered;
pub mod rng;
pub mod seeds;
pub mod simulation;
mod telling;

pub use outcome::{Failure, Report};
pub use simulation::{Simulation, run, run_printing};
