//! Sockets, threads and process life around a node.

pub mod clock;
pub mod network;
