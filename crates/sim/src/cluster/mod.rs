//! Several nodes, brokers, controllers or both in one, with their clients: on virtual time, over disks that lose what was not
//! flushed or fail, and a network that is cut as the seed wants it.
//!
//! What always holds: the same seed gives the same run. The nodes are those that ship; they reach each other through
//! [`wires`] alone, and clients find leaders and coordinators by asking. What goes wrong is planned before the run begins
//! ([`plan`]), so that a failing run can be made smaller ([`shrink`]).

mod actors;
mod cast;
mod host;
pub mod observation;
pub mod plan;
pub mod properties;
mod shape;
mod shrink;
mod simulation;
pub mod wires;

pub use shrink::{Shrunk, shrink};
pub use simulation::{
    Kind, Misfortune, SESSION_MS, Victim, create_without_room, fail_over, fence_without_room,
    is_fenced_though_needed, run, run_printing, tell_without_metadata,
};
