//! Apache Kafka's command-line tools, by name and flag, for the one executable.
//!
//! A table says which flags each tool has; the tools say what they do, one module each. What a tool prints and how it ends is
//! as with Kafka's own tool, so that scripts keep working; help is in words of our own, and what Kafka answers with a stack trace
//! is answered with a sentence.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api_versions;
mod client_metrics;
mod cluster_tool;
mod configs;
mod consumer_groups;
mod delete_records;
mod dump_log;
mod features;
pub mod flags;
mod get_offsets;
mod group_flags;
mod group_offsets;
mod groups;
mod java;
mod leader_election;
mod link;
mod log_dirs;
mod metadata_quorum;
mod names;
mod net;
mod share_groups;
mod table;
mod time;
mod tool;
mod topics;
mod transactions;

pub use link::link;
pub use tool::{FAILED, Failure, Output, Run, Tool, Toolbox, said};

/// The tools of this crate.
pub const TOOLS: &[Tool] = &[
    api_versions::TOOL,
    client_metrics::TOOL,
    cluster_tool::TOOL,
    configs::TOOL,
    consumer_groups::TOOL,
    delete_records::TOOL,
    dump_log::TOOL,
    features::TOOL,
    get_offsets::TOOL,
    groups::TOOL,
    leader_election::TOOL,
    log_dirs::TOOL,
    metadata_quorum::TOOL,
    share_groups::TOOL,
    topics::TOOL,
    transactions::TOOL,
];

#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod testing;
