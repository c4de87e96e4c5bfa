//! Requests against a node over a simulated disk: what is sent is encoded, what comes back is decoded.

mod controller_requests;
mod every_version;
mod fetch;
mod groups;
mod harness;
mod list_offsets;
mod min_insync_replicas;
mod partitions;
mod produce;
mod purgatories;
mod transactions;
