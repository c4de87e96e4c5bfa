//! From a configuration to a node that is about to serve.

pub mod directories;
mod error;
pub mod listeners;
pub mod quorum;

pub use error::{StartError, remedy_of_shortage};

#[cfg(test)]
mod tests;
