//! One node without sockets: request handlers over replicas, coordinators, controller and metadata.

pub mod api;
pub mod coordinator_storage;
pub mod exchange;
pub mod metadata_cache;
pub mod node;
pub mod quorum;
pub mod topic_name;

#[cfg(test)]
mod tests;
