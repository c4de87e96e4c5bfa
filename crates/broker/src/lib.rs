//! One node without sockets: request handlers over replicas, coordinators, controller and metadata.
//!
//! A [`node::Node`] is given requests and the time, and calls back. Its metadata comes from a
//! [`metadata_driver::MetadataDriver`], which is stepped beside it. There is no thread, socket or clock in here, so that
//! the simulator runs the node that ships.

pub mod api;
mod assembly;
mod auto_topic_creation;
mod broker_probes;
mod controller_channel;
mod controller_requests;
mod coordinator_storage;
mod deadlines;
mod directory_assignments;
pub mod exchange;
pub mod ids;
pub mod lifecycle;
mod log_dir_moves;
pub mod log_maintenance;
pub mod loggers;
pub mod metadata_cache;
pub mod metadata_driver;
pub mod node;
pub mod node_settings;
pub mod peers;
mod principal;
pub mod process_identity;
mod producer_ids;
mod publisher;
pub mod quorum;
mod quorum_channel;
mod quorum_link;
mod registration;
mod replication;
mod room;
mod share;
pub mod transactions;

#[cfg(test)]
mod tests;

pub use assembly::{NodeParts, WakeDriver, assemble};
pub use publisher::PublishLater;
pub use registration::AdvertisedListener;
