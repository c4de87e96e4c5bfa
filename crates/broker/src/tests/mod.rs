//! Requests against a node over a simulated disk: what is sent is encoded, what comes back is decoded.

mod bounds;
mod broker_probes;
mod controller_requests;
mod coordinators;
mod every_version;
mod fetch;
mod groups;
mod harness;
mod list_offsets;
mod min_insync_replicas;
mod partitions;
pub(crate) mod played_peers;
mod produce;
mod publishing_time;
mod purgatories;
mod share_states;
mod transactions;
