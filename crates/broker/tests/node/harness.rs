//! The node of the simulator.

pub use ottla_sim::node::*;
