//! Several nodes, brokers and controllers in one each, with their clients: on virtual time, over disks that lose what was not
//! flushed, and a network that is cut as the seed wants it.
//!
//! What always holds: the same seed gives the same run. The nodes are those that ship; they reach each other through
//! [`wires`] alone, and clients find leaders by asking.

mod actors;
mod harm;
mod host;
pub mod observation;
pub mod properties;
mod simulation;
pub mod wires;

pub use simulation::{Victim, fail_over, run, run_printing};
