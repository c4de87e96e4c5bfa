//! Connections over real sockets, with a handler that stands in for the node.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod files;
mod harness;
mod limits;
mod order;
