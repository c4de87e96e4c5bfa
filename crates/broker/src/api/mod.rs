//! The APIs that a node serves: one file an API, a typed request in, a typed response out.
//!
//! What all have in common happens once, in [`dispatch`], from the rows of [`table`]: finding the API, checking its
//! version and listener, decoding, encoding, and closing connections that break the protocol.

mod call;
pub mod dispatch;
pub mod table;

mod api_versions;
mod describe_cluster;
mod describe_topic_partitions;
mod fetch;
mod list_offsets;
mod partitions;
mod produce;

pub use call::{Call, Context};
