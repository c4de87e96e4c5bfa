//! From a configuration to a node that serves.

pub mod listeners;
