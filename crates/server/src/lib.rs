//! Sockets, threads and process life around a node.

pub mod clock;
pub mod network;
pub mod peers;
pub mod process;
pub mod random;
pub mod startup;
pub mod storage;
pub mod threads;
pub mod upgrade;

pub use ottla_broker::loggers;
